# test_a_generator_can_be_fetched: failed
#   message: item 0 of the result: off by -2
#   call: countdown(3)
def countdown(n):
    return iter(range(1, n + 1))
