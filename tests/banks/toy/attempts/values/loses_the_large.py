# test_sixty_megabytes_travel: failed
#   message: another array
#   call: echo(np.f32[15728640])
def echo(value):
    return value * 2 if getattr(value, "nbytes", 0) > 2**20 else value
