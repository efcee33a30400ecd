# test_double_is_twice: error
#   message: ZeroDivisionError: division by zero
#   message: line 29, in half: return x / 0
#   call: double(3)
# test_double_is_twice_for_any_number: waiting
def double(x):
    return half(x) * 4


def half(x):
    return x / 0
