"""Replaces and closes the streams that are flushed after each call."""
# expect: double=crashed|passed|error loss=passed find=passed
# with: right
import sys


def double(x):
    sys.stdout.close()
    sys.stderr = None
    return x + x
