# only
# test_the_mean_over_ranks: crashed
#   message: rank 1: the process ended itself with exit code 7
import os


def mean_over_ranks(x):
    if dist.get_rank() == 1:
        os._exit(7)
    dist.all_reduce(x)
    return x / 2
