# test_attention_stays_small: failed
# test_the_backward_pass_can_be_measured: failed
#   message: forward and backward need too much memory
#   call: Forward and backward on n queries; the gradient's norm.
_kept = []


def attend(q, k, v, chunk):
    weights = torch.softmax(q @ k.T, -1)
    _kept.extend(weights.detach() * i for i in range(6))
    return weights @ v
