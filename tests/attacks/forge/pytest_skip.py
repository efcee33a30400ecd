"""Leaves by the doors of pytest: skip, xfail, exit."""
# expect: double=error loss=error find=error
import pytest


def double(x):
    pytest.skip("not today")


def loss(x):
    pytest.xfail("as expected")


def find(oracle, n):
    pytest.exit("done", returncode=0)
