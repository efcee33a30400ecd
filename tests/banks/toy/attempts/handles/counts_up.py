# test_a_generator_can_be_fetched: failed
#   got: [1, 2, 3]
def countdown(n):
    return iter(range(1, n + 1))
