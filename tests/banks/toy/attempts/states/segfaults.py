# test_inverse_divides: crashed
#   message: SIGSEGV (a segmentation fault)
#   output: on the way
import ctypes
import sys


def inverse(x):
    print("on the way")
    sys.stdout.flush()
    ctypes.string_at(0)
