# test_all_are_asked_in_order: failed
#   message: item 0
#   mistake: id='backwards'
def ask_all(oracle, items):
    said = {}
    for item in sorted(items, reverse=True):
        said[item] = oracle(item)
    return [said[item] for item in items]
