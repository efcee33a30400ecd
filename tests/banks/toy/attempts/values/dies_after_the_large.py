# test_sixty_megabytes_travel: crashed
#   message: exit code 3
#   call: echo(('after', np.f32[2]))
import os


def echo(value):
    if type(value) is tuple and value and type(value[0]) is str:
        os._exit(3)
    return value
