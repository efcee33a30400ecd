# only
# test_the_mean_over_ranks: error
#   message: rank 1: ValueError: not me
#   call: a probe of the checks (mean)
def mean_over_ranks(x):
    if dist.get_rank() == 1:
        raise ValueError("not me")
    dist.all_reduce(x)
    return x / 2
