"""The pytest side of a judge: the fixtures of checks, collection under our own names, a lean plugin list."""

from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import pytest
from _pytest.runner import runtestprotocol

from grader.bank import Kata
from grader.judge.loading import load_file
from grader.judge.run import Check, Run, planned

LEAN = (
    *("cacheprovider", "capture", "debugging", "doctest", "faulthandler", "junitxml", "legacypath", "logging"),
    *("monkeypatch", "pastebin", "recwarn", "setuponly", "setupplan", "stepwise", "subtests", "terminal"),
    *("threadexception", "tmpdir", "unittest", "unraisableexception", "warnings"),
)


class ChecksModule(pytest.Module):
    """checks.py of one kata, loaded under a name that no other kata's has."""

    name_of_module: str

    def _getobj(self) -> ModuleType:
        return load_file(self.name_of_module, self.path)


class JudgePlugin:
    """Collects one checks.py and runs its checks for the current `Run`."""

    def __init__(self, kata: Kata) -> None:
        self.kata = kata
        self.run: Run | None = None
        self.raised: BaseException | None = None
        self.problems: list[str] = []
        self.checks: tuple[Check, ...] = ()

    @pytest.fixture
    def attempt(self) -> Any:
        """The learner's module, in a confined worker."""
        return self._staff.attempt

    @pytest.fixture
    def reference(self) -> Any:
        """Our module, behind the same interface."""
        return self._staff.reference

    @pytest.fixture
    def rng(self) -> Any:
        """This check's own stream of randomness."""
        return self._staff.rng

    @property
    def _staff(self) -> Any:
        assert self.run is not None
        return self.run.staff

    @pytest.hookimpl(tryfirst=True)
    def pytest_pycollect_makemodule(self, module_path: Path, parent: pytest.Collector) -> pytest.Module:
        module: ChecksModule = ChecksModule.from_parent(parent, path=module_path)
        module.name_of_module = f"kata_{self.kata.module_name}_checks"
        return module

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        checks = [(item, planned(item.name, getattr(item, "obj", None))) for item in items]
        self.problems += [f"{item.name} has no @check" for item, check in checks if check is None]
        self.checks = tuple(check for _, check in checks if check is not None)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.problems.append(str(report.longrepr))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool:
        assert self.run is not None
        check = next(check for check in self.checks if check.id == item.name)
        self.run.do(check, lambda: self._execute(item, nextitem))
        return True

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> pytest.TestReport:
        """A report that does not show what was raised: to do so pytest looks into every module, for half a second."""
        if call.excinfo is not None and self.raised is None:
            self.raised = call.excinfo.value
        outcome: Literal["passed", "failed"] = "passed" if call.excinfo is None else "failed"
        assert call.when != "collect"
        return pytest.TestReport(item.nodeid, item.location, {}, outcome, None, call.when)

    def _execute(self, item: pytest.Item, nextitem: pytest.Item | None) -> BaseException | None:
        """Run the item with its fixtures: what it raised, or None only when all three phases passed."""
        self.raised = None
        reports = runtestprotocol(item, log=False, nextitem=nextitem)
        if self.raised is None and [(r.when, r.outcome) for r in reports] != [
            (when, "passed") for when in ("setup", "call", "teardown")
        ]:
            return RuntimeError("the check did not run to its end")
        return self.raised


def arguments(kata: Kata) -> list[str]:
    """What pytest is started with: no configuration, plugin or conftest of anybody's, no rewriting of asserts."""
    lean = [argument for name in LEAN for argument in ("-p", f"no:{name}")]
    return ["-c", "/dev/null", f"--rootdir={kata.folder}", "--noconftest", "--assert=plain", *lean, str(kata.checks)]
