# test_noise_is_new: failed
#   message: the same again
#   mistake: None
_drawn = torch.rand(3)


def noise():
    return _drawn
