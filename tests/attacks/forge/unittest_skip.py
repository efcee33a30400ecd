"""Raises unittest's SkipTest, which pytest takes for a skip, and an exception that calls itself pytest's."""
# expect: double=error loss=error find=error
import unittest


class Skipped(BaseException):
    __module__ = "_pytest.outcomes"
    allow_module_level = True


def double(x):
    raise unittest.SkipTest("not today")


def loss(x):
    raise Skipped("not today")


def find(oracle, n):
    raise type("NotMeasurable", (Exception,), {})("this platform cannot")
