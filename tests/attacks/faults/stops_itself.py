"""Stops its own process, which then neither runs nor ends."""
# expect: double=timeout loss=passed find=passed
# process: double=timeout|crashed
# with: right
# limit: 0.2
import os
import signal


def double(x):
    os.kill(os.getpid(), signal.SIGSTOP)
    while True:
        pass
