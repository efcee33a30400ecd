# test_attention_stays_small: failed
#   message: attend needs too much memory
#   expected: at most
#   got: MiB
def attend(q, k, v, chunk):
    return torch.softmax(q @ k.T, -1) @ v
