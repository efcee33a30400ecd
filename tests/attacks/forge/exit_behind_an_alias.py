"""Finds os._exit by pasted names and calls it through ctypes, past any filter of the text."""
# expect: double=crashed loss=crashed find=crashed
import ctypes


def double(x):
    getattr(__import__("o" + "s"), "_ex" + "it")(0)


def loss(x):
    ctypes.CDLL(None)._exit(0)


def find(oracle, n):
    ctypes.CDLL(None).exit_group(0) if hasattr(ctypes.CDLL(None), "exit_group") else ctypes.CDLL(None).quick_exit(0)
