# test_the_bad_ones_are_found: error
#   message: AttributeError: 'function' object has no attribute 'bad'
# test_few_questions_are_asked: waiting
def find_bad(nodes, test):
    return set(test.bad)
