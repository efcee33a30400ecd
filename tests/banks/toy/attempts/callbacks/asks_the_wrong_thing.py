# test_the_bad_ones_are_found: error
#   message: TypeError: object of type 'int' has no len()
#   call: find_bad(
# test_few_questions_are_asked: waiting
def find_bad(nodes, test):
    return {node for node in nodes if test(len(nodes))}
