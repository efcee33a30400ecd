# test_the_bad_ones_are_found: failed
# test_few_questions_are_asked: waiting
#   message: waits for: the bad nodes are found, whatever they are called
def find_bad(nodes, test):
    return set(nodes[:1])
