"""Sends itself the signals that end a process. As process 1 of its namespace it does not hear them."""
# expect: double=crashed|failed loss=crashed|failed find=crashed|failed
# checks: all
import os
import signal


def double(x):
    os.kill(os.getpid(), signal.SIGKILL)


def loss(x):
    os.kill(os.getpid(), signal.SIGTERM if len(x) == 3 else signal.SIGXCPU)


def find(oracle, n):
    signal.raise_signal(signal.SIGKILL)
