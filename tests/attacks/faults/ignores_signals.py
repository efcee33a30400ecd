"""Ignores every signal that can be ignored, and waits in a lock that nobody opens."""
# expect: double=timeout loss=passed find=passed
# with: right
# limit: 0.2
import contextlib
import signal
import threading


def double(x):
    for number in signal.valid_signals():
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_IGN)
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()
