"""Patches pytest's reports, items and assertions, wherever they can be found, and defines conftest's hooks."""
# expect: double=failed loss=failed find=failed
# process: same
import sys

import _pytest.python
import _pytest.reports
import pytest

_pytest.reports.TestReport.from_item_and_call = classmethod(lambda *_: None)
_pytest.python.Function.runtest = lambda _self: None
_pytest.python.Function.setup = lambda _self: None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    report.outcome = "passed"
    return report


conftest = sys.modules["conftest"] = sys.modules[__name__]


def double(x):
    return x


def loss(x):
    return 0.0


def find(oracle, n):
    return -1
