# test_a_layer_is_affine: failed
#   mistake: id='bias_twice'
def forward(self, x):
    return self.weight * x + 2 * self.bias


Layer.forward = forward
