# test_a_function_can_be_kept: error
#   message: a function takes
# test_an_object_of_the_attempt_is_a_handle_here: error
# test_who_waits_cannot_be_asked: failed
#   expected: RuntimeError
#   got: TypeError: a function takes no function
# test_what_a_function_returns_must_travel: failed
class Later:
    def __init__(self, function):
        raise TypeError("a function takes no function")
