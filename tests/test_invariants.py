"""The invariants of the design, each with a test that fails when it is broken.

1 no attempt where the answers are · 2 a fresh worker for every check · 3 data alone comes back · 4 the judge owns clock
and list · 5 our faults are no verdicts · 6 confined before the first line · 7 read once, and nothing beside it.
"""

import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import hostile
import observed
import pytest
import starved

from grader.errors import BadAttempt, HarnessFault, UsageError
from grader.grading import Grader, Options, Template
from grader.judge.protocol import End, Event, Plan, PlannedCheck, line
from grader.verdict import Seconds, State, Verdict
from grader.workspace import altered_given, read_attempt

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="isolation by namespaces, Landlock and seccomp")

RIGHT = (hostile.CORPUS / "tools" / "right.py").read_text()
DOUBLE = "test_double_adds_x_to_itself"
ONE = Options(exactly=(DOUBLE,))


@pytest.fixture(scope="module")
def processes() -> Iterator[Grader]:
    with Grader(fork=False) as grader:
        yield grader


def graded(grader: Grader, source: str, options: Options | None = None, slug: str = "toy") -> Verdict:
    return grader.grade(hostile.kata(slug), hostile.attempt(source), options).verdict


def states(verdict: Verdict) -> set[str]:
    return {str(check.state) for check in verdict.checks}


def printed(verdict: Verdict, word: str) -> list[str]:
    """What stands after that word in the output, check by check."""
    return [found for check in verdict.checks for found in re.findall(f"^{word} (.*)$", check.output, re.MULTILINE)]


def say_nothing_of(checks: list[PlannedCheck], link: socket.socket) -> None:
    """As a judge that answers none of the checks that it has planned."""
    _, (descriptor, *_), _, _ = socket.recv_fds(link, 1, 2)
    with socket.socket(fileno=descriptor) as events:
        for event in (Plan(checks), End([], Seconds(0.0, 0.0, 0.0), "full", [])):
            events.sendall(line(event))


class TestInvariant1NoAttemptWhereTheAnswersAre:
    def test_invariant_1_what_an_attempt_makes_is_in_its_worker_alone(self, grader: Grader) -> None:
        if os.geteuid():
            pytest.skip("only root reads the memory of others")
        made = {"made": "MADE-BY-THE-ATTEMPT-ITSELF"}
        source = (
            "import time\n\nmade = 'MADE-BY-' + 'the-attempt-itself'.upper()\n\n\ndef double(x):\n    time.sleep(60)\n"
        )
        where: dict[str, set[str]] = {}

        def look(event: Event) -> None:
            if isinstance(event, Plan):
                time.sleep(0.5)
                for role in (observed.workers, observed.judges, observed.templates, observed.forkservers):
                    found = [observed.found_in(process.pid, made) for process in role(grader)]
                    where[role.__name__] = set().union(*found)

        options = Options(exactly=(DOUBLE,), cpu_seconds=0.3)
        grader.grade(hostile.kata("toy"), hostile.attempt(source), options, look)
        assert where == {"workers": {"made"}, "judges": set(), "templates": set(), "forkservers": set()}

    def test_invariant_1_no_attempt_can_write_a_verdict(self, grader: Grader) -> None:
        """Nothing that it may write to is a way to the command line: not even its own socket is."""
        source = (hostile.CORPUS / "tools" / "frames.py").read_text() + (
            hostile.CORPUS / "forge" / "frames_of_a_verdict.py"
        ).read_text()
        verdict = graded(grader, source)
        assert states(verdict) == {"error"}
        assert (verdict.score, verdict.passed) == (0, False)


class TestInvariant2AFreshWorkerForEveryCheck:
    TOKENS = "import os, sys\n\nprint('TOKEN', os.urandom(8).hex(), getattr(sys, 'seen', 'new'), os.listdir('.'))\n"
    LEAVES = "sys.seen = 'used'\nopen('left', 'w').close()\n\n"

    def test_invariant_2_every_check_has_a_worker_of_its_own(self, grader: Grader) -> None:
        verdict = graded(grader, self.TOKENS + self.LEAVES + RIGHT)
        tokens = [token.split() for token in printed(verdict, "TOKEN")]
        assert len({token[0] for token in tokens}) == len(verdict.checks)
        assert {tuple(token[1:]) for token in tokens} == {("new", "[]")}
        assert verdict.passed

    def test_invariant_2_at_level_process_what_failed_is_tried_again_alone(self, processes: Grader) -> None:
        """An attempt that only works in a fresh interpreter is right; where it stays, its next check would fail."""
        spoiled = "import sys\n\nuses = sys.uses = getattr(sys, 'uses', 0) + 1\n\n"
        source = spoiled + RIGHT.replace("return x + x", "return x + x if uses == 1 else x")
        verdict = graded(processes, source, Options(only="double"))
        assert [check.state for check in verdict.checks if check.part == "double"] == [State.PASSED, State.PASSED]

    def test_invariant_2_at_level_process_a_wrong_one_stays_wrong(self, processes: Grader) -> None:
        assert states(graded(processes, "def double(x):\n    return x\n", ONE)) == {"failed", "not_selected"}


class TestInvariant4TheJudgeOwnsClockAndList:
    def test_invariant_4_a_check_that_leaves_early_has_not_passed(self, grader: Grader) -> None:
        verdict = graded(grader, RIGHT, slug="broken-check")
        by_id = {check.id: check.state for check in verdict.checks}
        assert by_id["test_double_skips_itself"] == State.HARNESS_FAULT
        assert by_id["test_double_is_expected_to_fail"] == State.HARNESS_FAULT
        assert not verdict.passed

    def test_invariant_4_a_check_that_is_deselected_has_not_passed(self, grader: Grader) -> None:
        verdict = graded(grader, RIGHT, Options(only="loss"))
        assert states(verdict) == {"passed", "not_selected"}
        assert not verdict.passed

    def test_invariant_4_a_check_that_waits_has_not_passed(self, grader: Grader) -> None:
        verdict = graded(grader, RIGHT.replace("return x + x", "raise KeyError"), slug="toy-waiting")
        assert [check.state for check in verdict.checks] == [State.ERROR, State.WAITING]
        assert not verdict.passed

    @pytest.mark.parametrize("planned", [2, 0])
    def test_invariant_4_a_check_that_is_never_answered_has_not_passed(self, planned: int) -> None:
        checks = [PlannedCheck(f"test_{number}", "double", "A sentence", 50, None, False) for number in range(planned)]
        link, judge = socket.socketpair()
        with link, judge, ThreadPoolExecutor(1) as pool:
            template = Template(link, hostile.kata("toy"), str, forks=True)
            judge.recv(10_000)
            pool.submit(say_nothing_of, checks, judge)
            verdict = template.grade(hostile.attempt(""), Options()).verdict
        assert [check.state for check in verdict.checks] == [State.HARNESS_FAULT] * planned
        assert (verdict.score, verdict.passed) == (0, False)

    @pytest.mark.parametrize("body", ["while True: pass", "__import__('time').sleep(1000)"])
    def test_invariant_4_the_deadline_is_kept_outside(self, grader: Grader, body: str) -> None:
        clocks = "import time\n\ntime.monotonic = time.perf_counter = time.process_time = lambda: 0.0\n\n"
        start = time.monotonic()
        verdict = graded(grader, f"{clocks}def double(x):\n    {body}\n", Options(exactly=(DOUBLE,), cpu_seconds=0.2))
        assert states(verdict) == {"timeout", "not_selected"}
        assert time.monotonic() - start < 5 * 0.2 + 2

    def test_invariant_4_exit_codes_prove_nothing(self, grader: Grader) -> None:
        source = "import atexit, os\n\natexit.register(os._exit, 0)\n\n\ndef double(x):\n    os._exit(0)\n"
        assert states(graded(grader, source, ONE)) == {"crashed", "not_selected"}


class TestInvariant5OurFaultsAreNoVerdicts:
    def test_invariant_5_a_broken_check_is_no_failure_and_no_pass(self, grader: Grader) -> None:
        for double in ("return x + x", "return x"):
            verdict = graded(grader, RIGHT.replace("return x + x", double), slug="broken-check")
            broken, *_, sound = verdict.checks
            assert broken.state == State.HARNESS_FAULT
            assert "a fault of the check's own" in broken.message
            assert sound.state == State.PASSED
            assert not verdict.passed

    def test_invariant_5_checks_that_cannot_be_compiled_grade_nothing(self, grader: Grader) -> None:
        with pytest.raises(UsageError, match="the checks of broken-checks could not be collected"):
            graded(grader, RIGHT, slug="broken-checks")
        assert graded(grader, RIGHT).passed

    @pytest.mark.parametrize("role", [observed.judges, observed.templates, observed.forkservers])
    def test_invariant_5_a_process_of_ours_that_dies_is_our_fault(self, role: Any) -> None:
        def kill(event: Event) -> None:
            if isinstance(event, Plan):
                for process in role(grader):
                    process.send_signal(signal.SIGKILL)

        sleeper = hostile.attempt("import time\n\n\ndef double(x):\n    time.sleep(60)\n")
        with Grader() as grader, pytest.raises(HarnessFault, match="has gone"):
            grader.grade(hostile.kata("toy"), sleeper, Options(exactly=(DOUBLE,), cpu_seconds=0.5), kill)

    @pytest.mark.skipif(Path(sys.executable).is_relative_to("/tmp"), reason="the small disk would hide this Python")
    @pytest.mark.parametrize(
        ("fork", "told"),
        [
            # Scratch folders are a file system of their own there.
            pytest.param(True, "{'error'}", id="full"),
            pytest.param(False, "HarnessFault the judge failed", id="process"),
        ],
    )
    def test_invariant_5_no_room_for_a_scratch_folder_is_our_fault(self, fork: bool, told: str) -> None:
        argv = [sys.executable, "-c", DRIVER, str(fork), str(hostile.BANK / "katas" / "toy")]
        run = starved.run_on_small_disk(argv, Path("/tmp"), "1m,nr_inodes=3")
        assert run.stdout.startswith(told), run.stdout + run.stderr


DRIVER = """
import sys, tempfile
from pathlib import Path
from grader.bank import load_kata
from grader.errors import KataError
from grader.grading import Grader
from grader.workspace import Attempt
tempfile.tempdir = "/var/tmp"  # only the judge's folder is small
try:
    with Grader(fork=sys.argv[1] == "True") as grader:
        verdict = grader.grade(load_kata(Path(sys.argv[2])), Attempt(Path("toy.py"), b"", "")).verdict
        print({str(check.state) for check in verdict.checks})
except KataError as error:
    print(type(error).__name__, error)
"""


class TestInvariant6ConfinedBeforeTheFirstLine:
    NOSY = """
def tried(what, *args):
    try:
        what(*args)
        return "done"
    except PermissionError:
        return "refused"

import os, socket
print("FIRST", tried(open, "/etc/passwd"), tried(os.listdir, "/"), tried(socket.socket), tried(os.fork))
"""

    @pytest.mark.parametrize("level", ["full", "process"])
    def test_invariant_6_it_holds_while_the_file_is_loaded(self, grader: Grader, processes: Grader, level: str) -> None:
        verdict = graded(grader if level == "full" else processes, self.NOSY + RIGHT, ONE)
        assert printed(verdict, "FIRST") == ["refused refused refused refused"]
        assert verdict.isolation == level

    def test_invariant_6_what_is_missing_is_reported(self, grader: Grader, processes: Grader) -> None:
        assert graded(grader, RIGHT, ONE).isolation_missing == []
        verdict = graded(processes, RIGHT, ONE)
        assert {"pid namespace", "network namespace", "scratch size"} <= set(verdict.isolation_missing)

    def test_invariant_6_less_than_full_is_refused_where_full_is_required(
        self, grader: Grader, processes: Grader
    ) -> None:
        required = Options(exactly=(DOUBLE,), require_full=True)
        assert graded(grader, RIGHT, required).checks[0].state == State.PASSED
        with pytest.raises(UsageError, match="full isolation was required"):
            graded(processes, RIGHT, required)

    def test_invariant_6_a_bank_among_the_libraries_is_not_full(self, tmp_path: Path) -> None:
        """Landlock allows by folder: what lies in one that may be read cannot be hidden."""
        bank = next(Path(path) for path in sys.path if path.endswith("site-packages"))
        run = subprocess.run(
            [sys.executable, "-c", HIDDEN, str(bank)], capture_output=True, text=True, timeout=30, cwd=tmp_path
        )
        assert json.loads(run.stdout) == {"inside": ["hidden bank"], "outside": []}, run.stderr


HIDDEN = """
import dataclasses, json, sys
from pathlib import Path
from types import SimpleNamespace
from grader.judge.workshop import Workshop
from grader.sandbox.confine import readable_python
from grader.sandbox.forkserver import Grounds
from grader.bank.kata import Limits
readable = readable_python(exclude=())
def missing(bank):
    kata = SimpleNamespace(bank=Path(bank), limits=Limits(), forbidden=())
    return Workshop(kata, Grounds((), readable, ""), SimpleNamespace(renew=lambda: None)).missing
print(json.dumps({"inside": missing(sys.argv[1] + "/numpy"), "outside": missing("/somewhere/else")}))
"""


class TestInvariant7ReadOnceAndNothingBesideIt:
    def test_invariant_7_what_is_swapped_afterwards_does_not_count(self, grader: Grader, tmp_path: Path) -> None:
        path = tmp_path / "toy.py"
        path.write_text(RIGHT)
        attempt = read_attempt(path)

        def swap(_event: Event) -> None:
            path.write_text("raise SystemExit")

        verdict = grader.grade(hostile.kata("toy"), attempt, watch=swap).verdict
        assert verdict.passed
        assert verdict.attempt.sha256 == hashlib.sha256(RIGHT.encode()).hexdigest()
        assert path.read_text() == "raise SystemExit"

    def test_invariant_7_a_link_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "link.py").symlink_to(hostile.kata("toy").reference)
        with pytest.raises(BadAttempt, match="symbolic link"):
            read_attempt(tmp_path / "link.py")

    def test_invariant_7_no_compiled_file_is_trusted(self, grader: Grader, tmp_path: Path) -> None:
        path = tmp_path / "toy.py"
        path.write_text(RIGHT)
        subprocess.run(
            [sys.executable, "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", path], check=True
        )
        path.write_text(RIGHT.replace("return x + x", "return x"))
        assert list(tmp_path.glob("__pycache__/*.pyc"))
        verdict = grader.grade(hostile.kata("toy"), read_attempt(path), ONE).verdict
        assert states(verdict) == {"failed", "not_selected"}

    @pytest.mark.parametrize("fork", [True, False])
    def test_invariant_7_a_neighbour_cannot_be_imported(
        self, grader: Grader, processes: Grader, tmp_path: Path, fork: bool
    ) -> None:
        (tmp_path / "helper.py").write_text("def twice(x):\n    return 2 * x\n")
        (tmp_path / "toy.py").write_text("from helper import twice as double\n")
        attempt = read_attempt(tmp_path / "toy.py")
        verdict = (grader if fork else processes).grade(hostile.kata("toy"), attempt, ONE).verdict
        (check,) = (check for check in verdict.checks if check.state != State.NOT_SELECTED)
        assert check.state == State.ERROR
        assert "No module named 'helper'" in check.message
        assert "your file may import" in check.message

    def test_invariant_7_an_edited_copy_of_given_code_is_told_and_not_used(
        self, grader: Grader, tmp_path: Path
    ) -> None:
        kata = hostile.kata("toy")
        (tmp_path / "scale.py").write_text("FACTOR = 3.0\n")
        (tmp_path / "toy.py").write_text(RIGHT.replace("return x + x", "import scale\n    return scale.FACTOR * x"))
        assert grader.grade(kata, read_attempt(tmp_path / "toy.py")).verdict.passed
        assert altered_given(kata, tmp_path) == ["scale.py"]
