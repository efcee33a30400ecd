# test_sixty_megabytes_travel: error
#   message: KeyError: 'large'
#   call: echo(np.f32[15728640])
def echo(value):
    if getattr(value, "nbytes", 0) > 2**20:
        raise KeyError("large")
    return value
