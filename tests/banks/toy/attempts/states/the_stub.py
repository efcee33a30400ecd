# whole
# test_double_is_twice: not_attempted
#   message: not attempted yet: double: multiply
#   call: double(3)
# test_double_is_twice_for_any_number: waiting
#   message: waits for: double is twice
# test_inverse_divides: not_attempted
# test_total_is_the_sum: not_attempted
#   message: not attempted yet
# test_total_of_nothing: waiting


def double(x):
    """Twice x."""
    raise NotImplementedError("double: multiply")


def inverse(x):
    """One over x."""
    raise NotImplementedError("inverse: divide")


def total(values):
    """The sum of a list."""
    raise NotImplementedError
