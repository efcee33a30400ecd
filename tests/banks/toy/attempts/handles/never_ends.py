# test_a_generator_can_be_fetched: failed
#   got: 20000 in all
import itertools


def countdown(n):
    return itertools.count(n, -1)
