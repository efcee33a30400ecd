"""Sleeps: its CPU clock stands still."""
# expect: double=timeout loss=passed find=passed
# with: right
# limit: 0.2
import time


def double(x):
    while True:
        time.sleep(1000)
