"""Aborts, divides by zero in C and ends by a signal, one for each check."""
# expect: double=crashed loss=crashed find=crashed
import ctypes
import os
import signal


def double(x):
    os.abort()


def loss(x):
    signal.signal(signal.SIGSEGV, signal.SIG_IGN)
    return ctypes.string_at(8)


def find(oracle, n):
    return ctypes.CFUNCTYPE(ctypes.c_int)(16)()
