# test_attention_is_exact: failed
# test_attention_stays_small: waiting
# test_numpy_attention_stays_small: waiting
# test_the_backward_pass_can_be_measured: waiting
def attend(q, k, v, chunk):
    return torch.zeros_like(q)
