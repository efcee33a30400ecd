"""Starts threads until it cannot, each with a stack of its own, and never ends one."""
# expect: double=error|memory|crashed|timeout loss=passed find=passed
# with: right
# limit: 1
import threading


def double(x):
    threading.stack_size(2**26)
    while True:
        threading.Thread(target=threading.Event().wait, daemon=True).start()
