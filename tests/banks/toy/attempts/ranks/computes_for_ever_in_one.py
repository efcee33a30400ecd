# only
# limit 1 s
# test_the_mean_over_ranks: timeout
#   message: rank 
def mean_over_ranks(x):
    while dist.get_rank() == 1:
        pass
    dist.all_reduce(x)
    return x / 2
