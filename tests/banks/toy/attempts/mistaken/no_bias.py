# test_a_layer_is_affine: failed
#   mistake: id='no_bias'
def forward(self, x):
    return x * self.weight


Layer.forward = forward
