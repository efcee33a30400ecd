# test_the_result_is_detached: failed
#   mistake: id='keeps_the_graph'
def detached(x):
    return x + x + x
