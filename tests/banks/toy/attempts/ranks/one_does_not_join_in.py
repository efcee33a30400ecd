# only
# limit 0.5 s
# test_the_mean_over_ranks: timeout
#   message: rank 0: no answer after 2.5 s
def mean_over_ranks(x):
    if dist.get_rank() == 0:
        dist.all_reduce(x)
    return x / 2
