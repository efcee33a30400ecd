"""Reads address 0."""
# expect: double=crashed loss=passed find=passed
# process: same
# with: right
import ctypes


def double(x):
    return ctypes.string_at(0)
