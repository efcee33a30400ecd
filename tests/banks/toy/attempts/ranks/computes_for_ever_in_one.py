# only
# limit 0.5 s
# test_the_mean_over_ranks: timeout
#   message: rank 1: still computing after 0.5 s
def mean_over_ranks(x):
    while dist.get_rank() == 1:
        pass
    dist.all_reduce(x)
    return x / 2
