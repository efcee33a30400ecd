# only
# test_the_mean_over_ranks: failed
#   call: a probe of the checks (mean)
def mean_over_ranks(x):
    total = x.clone()
    dist.all_reduce(total)
    return total
