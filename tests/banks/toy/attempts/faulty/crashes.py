# only
# test_ignores_a_crash: crashed
#   message: exit code 9
#   call: encode('boom')
import os


def encode(text):
    os._exit(9)
