# test_numpy_attention_stays_small: failed
#   message: attend_numpy needs too much memory
def attend_numpy(q, k, v, chunk):
    scores = q @ k.T
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights @ v / weights.sum(-1, keepdims=True)
