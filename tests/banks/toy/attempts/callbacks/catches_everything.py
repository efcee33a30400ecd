# test_a_refusal_is_no_answer: failed
#   got: 0
def smallest(oracle, low, high):
    for x in range(low, high + 1):
        try:
            oracle(x)
        except ValueError:
            pass
        return x
