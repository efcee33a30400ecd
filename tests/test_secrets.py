"""What an attempt cannot get, however it tries: each thief is a file of tests/attacks/steal.

The same code, not confined, gets a decoy: so it is the confinement that keeps it from the rest.
"""

import contextlib
import ctypes
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import Any

import hostile
import numpy
import observed
import pytest

from grader.bank import load_kata
from grader.grading import Grader, Options
from grader.verdict import CheckResult

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="isolation by namespaces, Landlock and seccomp")

ROOT = Path(__file__).parents[1]
SEED = "c0ffee5eedc0ffee"
CANARIES = {
    "environment": "CANARY-ENVIRONMENT-81c2",
    "previous attempt": "CANARY-PREVIOUS-4e21",
    "reference": "CANARY-REFERENCE-9f3a",
    "checks": "CANARY-CHECKS-5b1d",
    "expected value": "CANARY-EXPECTED-c0de",
    "mistakes": "CANARY-MISTAKES-77aa",
    "seed": SEED,
}
CHECK = "test_double_adds_x_to_itself"
SLEEPER = "import time\n\n\ndef double(x):\n    while True:\n        time.sleep(1)\n"


@dataclass(slots=True)
class Haunt:
    """What a thief is told before it begins."""

    paths: list[str] = field(default_factory=list)
    """To be read."""
    folders: list[str] = field(default_factory=list)
    """To be listed."""
    decoys: list[str] = field(default_factory=list)
    """Files of nobody's, to be changed as well."""
    pids: list[int] = field(default_factory=list)
    port: int = 1
    socket_path: str = "/nowhere"
    abstract: str = "kata-attack"
    segment: tuple[int, int] = (1, -1)
    """Key and number."""
    shared: str = "kata-attack"
    largest: int = 2**27
    """Bytes of its own memory that it reads."""

    def told(self) -> str:
        texts = [text.encode() for text in CANARIES.values()]
        canaries = [(text[:6], bytes(byte ^ 0x5A for byte in text[6:])) for text in texts]
        values = {
            "CANARIES": canaries,
            "PATHS": self.paths,
            "FOLDERS": self.folders,
            "DECOYS": self.decoys,
            "PIDS": self.pids,
            "PORT": self.port,
            "SOCKET_PATH": self.socket_path,
            "ABSTRACT": self.abstract,
            "SEGMENT": self.segment[0],
            "SEGMENT_ID": self.segment[1],
            "SHARED": self.shared,
            "LARGEST": self.largest,
        }
        return "".join(f"{name} = {value!r}\n" for name, value in values.items())

    def source(self, name: str) -> str:
        tool, thief = hostile.CORPUS / "tools" / "steal.py", hostile.CORPUS / "steal" / f"{name}.py"
        return "\n".join([self.told(), tool.read_text(), thief.read_text()])


@pytest.fixture(scope="module")
def grader() -> Iterator[Grader]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KATA_CANARY", CANARIES["environment"])
        with Grader() as grader:
            before = hostile.read(hostile.CORPUS / "leaves_things.py")
            assert grader.grade(before.kata, before.attempt).verdict.passed
            yield grader


@pytest.fixture(scope="module")
def victim() -> Iterator[int]:
    process = subprocess.Popen(["sleep", "1000"])
    yield process.pid
    process.kill()
    process.wait()


def loot(grader: Grader, source: str) -> list[str]:
    """What an attempt got in a worker."""
    verdict = grader.grade(hostile.kata("toy"), hostile.attempt(source), Options(exactly=(CHECK,), seed=SEED)).verdict
    assert verdict.isolation == "full"
    return _got(verdict.checks[0])


def _got(check: CheckResult) -> list[str]:
    assert "TRIED" in check.output, (check.state, check.message, check.output)
    return re.findall("^GOT (.*)$", check.output, re.MULTILINE)


def loot_unconfined(source: str, folder: Path) -> list[str]:
    """What the same code gets in a process of the same user."""
    (folder / "thief.py").write_text(source + "\nimport sys\nsys.exit(0)\n")
    environment = {"KATA_CANARY": CANARIES["environment"], "PATH": os.defpath, "OMP_NUM_THREADS": "1"}
    run = subprocess.run(
        [sys.executable, "-I", "thief.py"], cwd=folder, env=environment, capture_output=True, text=True, timeout=60
    )
    assert "TRIED" in run.stdout, run.stderr
    return re.findall("^GOT (.*)$", run.stdout, re.MULTILINE)


def kernel_paths() -> list[str]:
    own = ["environ", "cmdline", "maps", "mem", "status", "root/etc/passwd", "task/1/environ"]
    return ["/etc/passwd", "/proc/1/environ", "/proc/1/mem", "/dev/mem", *(f"/proc/self/{name}" for name in own)]


def bank_paths(bank: Path, slug: str = "toy") -> list[str]:
    return [str(path) for folder in ("katas", "solutions") for path in sorted((bank / folder / slug).rglob("*.*"))]


class TestFiles:
    @pytest.fixture
    def history(self, tmp_path: Path) -> str:
        path = tmp_path / "history.db"
        path.write_bytes(b"SQLite format 3\0" + bytes(84))
        return str(path)

    def test_nothing_of_a_checkout_can_be_read(self, grader: Grader, tmp_path: Path, history: str) -> None:
        other, decoy = tmp_path / "other.py", tmp_path / "decoy"
        for path in (other, decoy):
            path.write_text("# another attempt")
        caches = [str(path) for path in sorted((ROOT / "grader").rglob("*.pyc"))[:3]]
        ours = [str(ROOT / name) for name in (".git/HEAD", "pyproject.toml", "grader/errors.py", "tests/hostile.py")]
        haunt = Haunt(
            paths=[*bank_paths(hostile.BANK), *ours, *caches, *kernel_paths(), str(other), history],
            folders=["/", "/tmp", "/proc", "/proc/self/fd", "..", *map(str, (ROOT, hostile.BANK, tmp_path))],
            decoys=[str(decoy)],
        )
        assert len(haunt.paths) > 20
        assert loot(grader, haunt.source("files")) == []
        assert decoy.read_text() == "# another attempt"

    def test_the_same_code_reads_a_file_where_it_may(self, tmp_path: Path) -> None:
        decoy = tmp_path / "decoy.py"
        decoy.write_text("decoy = 1\n")
        found = loot_unconfined(Haunt(decoys=[str(decoy)], folders=[str(tmp_path)]).source("files"), tmp_path)
        ways = ["open", "map", "descriptor", "path", "numpy", "tokenize", "program", "lines", "write", "move", "remove"]
        assert [way for way in ways if not any(what.startswith(f"{way} ") for what in found)] == []

    def test_no_link_leads_out_of_the_scratch_folder(self, grader: Grader, tmp_path: Path) -> None:
        decoy = tmp_path / "decoy"
        decoy.write_text("outside")
        haunt = Haunt(paths=bank_paths(hostile.BANK), decoys=[str(decoy)])
        assert loot(grader, haunt.source("links")) == []
        assert decoy.read_text() == "outside"
        scratch = tmp_path / "scratch"
        scratch.mkdir()
        found = loot_unconfined(Haunt(decoys=[str(decoy)]).source("links"), scratch)
        assert {"a pipe", f"symbolic link to {decoy}", f"moved {decoy}"} <= set(found)

    def test_nothing_of_an_installed_wheel_can_be_read(self, tmp_path: Path) -> None:
        """The bank lies inside the package, and the package among the libraries that an attempt may import."""
        python, package = installed(tmp_path)
        bank = package / "_bank"
        caches = [str(path) for path in package.rglob("*.pyc")][:2]
        haunt = Haunt(paths=[*bank_paths(bank), str(package / "errors.py"), str(package / "checking.py"), *caches])
        (tmp_path / "thief.py").write_text(haunt.source("files"))
        verdict = graded_by(python, bank / "katas" / "toy", tmp_path / "thief.py")
        assert verdict["isolation"] == "full", verdict["isolation_missing"]
        output = verdict["checks"][0]["output"]
        assert "TRIED" in output
        assert re.findall("^GOT (.*)$", output, re.MULTILINE) == []


def installed(folder: Path) -> tuple[Path, Path]:
    """A virtual environment that has the package as a wheel brings it, and borrows the libraries of this one."""
    environment = folder / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True, timeout=60)
    libraries = next(environment.glob("lib/python*/site-packages"))
    (libraries / "borrowed.pth").write_text(f"{Path(numpy.__file__).parents[1]}\n")
    package = libraries / "grader"
    shutil.copytree(ROOT / "grader", package)
    shutil.copytree(hostile.BANK, package / "_bank")
    return environment / "bin" / "python", package


DRIVER = """
import sys, msgspec
from pathlib import Path
from grader.bank import load_kata
from grader.grading import Grader, Options
from grader.workspace import read_attempt
with Grader() as grader:
    graded = grader.grade(load_kata(Path(sys.argv[1])), read_attempt(Path(sys.argv[2])), Options(only="double"))
    sys.stdout.buffer.write(msgspec.json.encode(graded.verdict))
"""


def graded_by(python: Path, kata: Path, attempt: Path) -> dict[str, Any]:
    run = subprocess.run(
        [python, "-I", "-c", DRIVER, kata, attempt], capture_output=True, timeout=60, cwd=attempt.parent, check=False
    )
    assert run.returncode == 0, run.stderr.decode()
    return dict(json.loads(run.stdout))


class TestMemory:
    """Not even what nobody points at any more is left in the memory of a worker."""

    def test_no_object_module_frame_or_variable_holds_a_secret(self, grader: Grader) -> None:
        assert loot(grader, Haunt().source("objects")) == []

    def test_the_same_code_finds_them_where_they_are(self, tmp_path: Path) -> None:
        planted = "".join(f"class Planted{n}:\n    text = {text!r}\n" for n, text in enumerate(CANARIES.values()))
        found = loot_unconfined(planted + Haunt().source("objects"), tmp_path)
        for number in range(len(CANARIES)):
            assert any(what.startswith(f"canary {number} in ") for what in found)

    def test_no_page_that_it_can_reach_holds_a_secret(self, grader: Grader) -> None:
        assert loot(grader, Haunt().source("memory")) == []

    def test_the_same_code_finds_one_in_the_initial_stack(self, tmp_path: Path) -> None:
        assert "canary 0 in memory" in loot_unconfined(Haunt().source("memory"), tmp_path)

    @pytest.mark.parametrize("slug", ["toy", "toy-torch"])
    def test_no_page_at_all_holds_a_secret(self, grader: Grader, slug: str) -> None:
        """Read from outside, by whoever may read everything; the judge of the same attempt holds them."""
        if os.geteuid():
            pytest.skip("only root reads the memory of others")
        options = Options(exactly=(CHECK,), seed=SEED, cpu_seconds=6.0)
        with graded_meanwhile(grader, slug, SLEEPER, options):
            judge, workers = wait_for_a_call(grader)
            in_workers = {found for worker in workers for found in observed.found_in(worker, CANARIES)}
            in_judge = observed.found_in(judge, CANARIES)
        assert in_workers == set()
        assert {"reference", "seed"} <= in_judge
        if slug == "toy":
            assert {"checks", "expected value", "mistakes"} <= in_judge


@contextlib.contextmanager
def graded_meanwhile(grader: Grader, slug: str, source: str, options: Options) -> Iterator[None]:
    kata = hostile.kata(slug)
    thread = threading.Thread(target=lambda: grader.grade(kata, hostile.attempt(source), options))
    grader.template(kata)
    thread.start()
    try:
        yield
    finally:
        for worker in observed.workers(grader):
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker.pid, 9)
        thread.join()


def wait_for_a_call(grader: Grader) -> tuple[int, list[int]]:
    """A judge and its workers, once one of them sleeps in a call."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        judges, workers = observed.judges(grader), observed.workers(grader)
        if judges and workers:
            time.sleep(0.3)
            return judges[0].pid, [worker.pid for worker in workers]
        time.sleep(0.02)
    raise TimeoutError("no worker was seen")


class TestDescriptors:
    def test_it_holds_its_socket_and_its_output_alone(self, grader: Grader) -> None:
        kata, source = hostile.kata("toy"), Haunt().source("descriptors")
        (check, *_) = grader.grade(kata, hostile.attempt(source), Options(exactly=(CHECK,))).verdict.checks
        assert _got(check) == []
        held = re.findall(r"^HOLDS (\d+) (\w+)$", check.output, re.MULTILINE)
        assert [(int(number) < 3, kind) for number, kind in held] == [
            (True, "device"),
            (True, "pipe"),
            (True, "pipe"),
            (False, "socket"),
        ]


class TestOtherProcesses:
    def test_none_can_be_seen_signalled_traced_or_read(self, grader: Grader, victim: int) -> None:
        judges = [template.pid for template in observed.templates(grader)]
        haunt = Haunt(pids=[victim, os.getpid(), *judges])
        assert loot(grader, haunt.source("processes")) == []

    def test_the_same_code_reaches_a_victim(self, victim: int, tmp_path: Path) -> None:
        found = loot_unconfined(Haunt(pids=[victim]).source("processes"), tmp_path)
        ways = ("signal", "handle of", "trace", "limits of", "priority of", "environ of")
        reached = {f"{way} {victim}" for way in ways}
        assert reached | {"a parent", "a list of processes", "a child", "another program"} <= set(found)

    def test_former_attempts_left_nothing(self, grader: Grader) -> None:
        assert loot(grader, Haunt().source("former_attempts")) == []


class TestNetwork:
    @pytest.fixture
    def listening(self, tmp_path: Path) -> Iterator[Haunt]:
        path, name = str(tmp_path / "socket"), f"kata-attack-{os.getpid()}"
        with contextlib.ExitStack() as stack:
            server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            for address in (path, f"\0{name}"):
                listener = stack.enter_context(socket.socket(socket.AF_UNIX))
                listener.bind(address)
                listener.listen()
            yield Haunt(port=server.getsockname()[1], socket_path=path, abstract=name)

    def test_nothing_can_be_reached(self, grader: Grader, listening: Haunt) -> None:
        assert loot(grader, listening.source("network")) == []

    def test_the_same_code_connects(self, listening: Haunt, tmp_path: Path) -> None:
        found = loot_unconfined(listening.source("network"), tmp_path)
        assert {"TCP", "a socket with a path", "an abstract socket", "netlink", "a socket of its own"} <= set(found)


class TestSharedThings:
    @pytest.fixture
    def planted(self) -> Iterator[Haunt]:
        libc = ctypes.CDLL(None, use_errno=True)
        key = 0x6B617461
        number = libc.shmget(key, 4096, 0o1600)
        memory = SharedMemory(create=True, size=4096)
        yield Haunt(segment=(key, number), shared=memory.name)
        memory.close()
        with contextlib.suppress(FileNotFoundError):  # the control's own Python may have removed it
            memory.unlink()
        libc.shmctl(number, 0, None)

    def test_none_is_in_reach(self, grader: Grader, planted: Haunt) -> None:
        assert loot(grader, planted.source("shared")) == []

    def test_the_same_code_finds_them(self, planted: Haunt, tmp_path: Path) -> None:
        found = loot_unconfined(planted.source("shared"), tmp_path)
        assert {"System V memory", "POSIX memory", "a memory file", "list /tmp"} <= set(found)


def test_the_bank_in_these_tests_is_the_one_that_is_graded() -> None:
    assert load_kata(hostile.BANK / "katas" / "toy").reference.read_text().count(CANARIES["reference"]) == 1
