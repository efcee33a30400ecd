# test_attention_stays_small: failed
def attend(q, k, v, chunk):
    weights = [torch.softmax(rows @ k.T, -1) for rows in q.split(chunk)]
    return torch.cat(weights) @ v
