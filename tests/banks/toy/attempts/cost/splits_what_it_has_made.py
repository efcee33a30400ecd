# test_attention_stays_small: failed
def attend(q, k, v, chunk):
    return torch.cat([torch.softmax(rows, -1) @ v for rows in (q @ k.T).split(chunk)])
