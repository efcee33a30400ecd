# test_few_questions_are_asked: failed
#   message: too many questions
#   expected: at most
#   got: 64
def find_bad(nodes, test):
    return {node for node in nodes if test([node])}
