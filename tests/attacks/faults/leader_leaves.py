"""Ends its first thread alone; another one computes for ever, and the process is neither dead nor alive."""
# expect: double=timeout|crashed loss=passed find=passed
# with: right
# limit: 0.3
import ctypes
import threading


def double(x):
    def forever():
        while True:
            pass

    threading.Thread(target=forever, daemon=True).start()
    ctypes.CDLL(None).syscall(60, 0)
