"""Ends itself, and leaves the socket to a child that never says anything."""
# kata: toy-processes
# expect: double=crashed|timeout loss=passed
# limit: 0.4
import os
import time


def double(x):
    if os.fork():
        os._exit(0)
    while True:
        time.sleep(1)


def loss(x):
    return float((x * x).mean())
