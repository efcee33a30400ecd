"""Closes every descriptor it has, the one to the judge among them, and goes on."""
# expect: double=crashed loss=passed find=passed
# with: right
# within: 12
import os
import time


def double(x):
    os.closerange(0, 4096)
    while True:
        time.sleep(1)
