# test_all_are_asked_in_order: failed
#   mistake: None
def ask_all(oracle, items):
    return [oracle(item) for item in items for _ in range(2)][::2]
