"""Reads address 0 while it is loaded."""
# expect: double=crashed loss=crashed find=crashed
import ctypes

ctypes.string_at(0)
