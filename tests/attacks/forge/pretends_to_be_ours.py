"""Raises the judge's own exceptions: what is not measurable, a fault of the harness, a check that did not fail."""
# expect: double=error loss=error find=error
# process: same
from grader.errors import HarnessFault
from grader.sandbox import channel, program


def double(x):
    raise HarnessFault("ours")


def loss(x):
    raise channel.TimedOut(1, computing=False)


def find(oracle, n):
    raise program.Forbidden("nothing")
