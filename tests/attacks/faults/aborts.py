"""Aborts, kills and terminates its process, a signal for each check."""
# expect: double=crashed loss=crashed find=crashed
import os
import signal


def double(x):
    os.abort() if len(x) == 4 else os.kill(os.getpid(), signal.SIGKILL)


def loss(x):
    os.kill(os.getpid(), signal.SIGTERM if len(x) == 3 else signal.SIGFPE)


def find(oracle, n):
    signal.raise_signal(signal.SIGXCPU)
