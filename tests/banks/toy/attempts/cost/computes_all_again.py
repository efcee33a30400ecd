# test_work_grows_with_length_and_not_faster: failed
#   message: the work grows too fast
#   got: times
class Cache:
    def __init__(self):
        self.tokens = []


def advance(weights, cache, token):
    cache.tokens.append(token)
    rows = torch.stack([(token @ weights).tanh() for token in cache.tokens])
    return torch.softmax(rows @ token, 0) @ rows
