# test_signs_are_kept: failed
#   mistake: id='all_signs_lost'
def double(x):
    return abs(x) + abs(x)


def scale(self):
    return 0 - abs(self.weight)


Layer.scale = scale
