"""Attacks from inside a confined worker, each as a script: confined it is refused, not confined it succeeds.

The scripts are in tests/confine, and so is host.py, which forks and confines real processes and runs them there.
"""

import fcntl
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import grader.errors
from grader.errors import HarnessFault
from grader.sandbox import landlock
from grader.sandbox.confine import Policy, confine, readable_python

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="confinement by Landlock and seccomp")

SCRIPTS = Path(__file__).parent / "confine"
ENVIRONMENT = {"PATH": os.defpath, "OMP_NUM_THREADS": "1", "TORCH_CPP_LOG_LEVEL": "ERROR"}
REFUSALS = ("PermissionError EPERM", "PermissionError EACCES", "OSError ENOTSUP", "OSError EXDEV")


class Host:
    """The other end of host.py."""

    def __init__(self, *libraries: str) -> None:
        command = [sys.executable, "-I", "-B", str(SCRIPTS / "host.py"), *libraries]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT
        )
        self.missing = self.answer()["missing"]

    def answer(self) -> Any:
        assert self.process.stdout
        return json.loads(self.process.stdout.readline())

    def send(self, **request: Any) -> None:
        assert self.process.stdin
        print(json.dumps(request), file=self.process.stdin, flush=True)

    def ask(self, **request: Any) -> Any:
        self.send(**request)
        return self.answer()

    def close(self) -> None:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()


class Bench:
    """A scratch folder, something outside it that is worth attacking, and a host to run scripts."""

    def __init__(self, host: Host, folder: Path, readable: tuple[str, ...]) -> None:
        self.host, self.readable = host, readable
        self.scratch, self.outside = folder / "scratch", folder / "outside"
        self.scratch.mkdir()
        self.outside.mkdir()
        self.secret = self.outside / "secret"
        self.secret.write_text("the expected values")

    def policy(self, **changes: Any) -> dict[str, Any]:
        usual = {"cpu_seconds": 20, "memory_bytes": 1 << 30, "file_bytes": 1 << 24, "open_files": 64}
        return {"scratch": str(self.scratch), "readable": self.readable, **usual, **changes}

    def request(self, script: str, policy: dict[str, Any] | None, **request: Any) -> dict[str, Any]:
        given = {
            "secret": str(self.secret),
            "outside": str(self.outside),
            "grader_file": grader.errors.__file__,
            "library_file": json.__file__,
        }
        names = given | request.pop("names", {})
        place = {"script": str(SCRIPTS / f"{script}.py"), "scratch": str(self.scratch)}
        return {**place, "policy": policy, "names": names, **request}

    def run(self, script: str, policy: dict[str, Any] | None, **request: Any) -> list[dict[str, Any]]:
        """How each child ended; the test is skipped where this machine cannot confine."""
        answer = self.host.ask(**self.request(script, policy, **request))
        assert answer["unharmed"] or policy is None
        for child in answer["children"]:
            if policy and child["missing"]:
                pytest.skip(f"this machine lacks {', '.join(child['missing'])}")
        children: list[dict[str, Any]] = answer["children"]
        return children

    def outcome(self, script: str, policy: dict[str, Any] | None, **request: Any) -> Any:
        return self.run(script, policy, **request)[0]["outcome"]


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    host = Host("numpy", "torch")
    yield host
    host.close()


@pytest.fixture(scope="module")
def readable() -> tuple[str, ...]:
    return readable_python(())


@pytest.fixture
def bench(host: Host, readable: tuple[str, ...], tmp_path: Path) -> Bench:
    return Bench(host, tmp_path, readable)


@pytest.fixture
def fresh_namespaces(host: Host) -> None:
    if host.missing:
        pytest.skip(f"this machine lacks {', '.join(host.missing)}")


def scripts(folder: str) -> list[str]:
    return sorted(f"{folder}/{path.stem}" for path in (SCRIPTS / folder).glob("*.py"))


@pytest.mark.parametrize("script", scripts("attacks"))
def test_a_confined_process_is_refused_what_a_free_one_may_do(bench: Bench, script: str) -> None:
    assert bench.outcome(script, bench.policy()) in REFUSALS
    assert bench.secret.read_text() == "the expected values"
    assert [path.name for path in bench.outside.iterdir()] == ["secret"]
    control = bench.outcome(script, None)
    if control != "done":
        pytest.skip(f"no control: this machine refuses it to everybody, {control}")


@pytest.mark.parametrize("script", scripts("works"))
def test_a_confined_process_can_still_work(bench: Bench, script: str) -> None:
    assert bench.outcome(script, bench.policy()) == bench.outcome(script, None)


@pytest.mark.parametrize(
    ("script", "outcome"),
    [
        pytest.param("private_memory", "MemoryError: ", id="private memory"),
        pytest.param("shared_memory", "OSError ENOMEM", id="shared memory"),
        pytest.param("a_large_file", "OSError EFBIG", id="size of a file"),
        pytest.param("many_open_files", "OSError EMFILE", id="open files"),
    ],
)
def test_a_limit_is_met_as_an_error(bench: Bench, script: str, outcome: str) -> None:
    assert bench.outcome(f"limits/{script}", bench.policy(memory_bytes=1 << 27)) == outcome
    assert bench.outcome(f"limits/{script}", None) == "done"


def test_no_memory_limit_means_none(bench: Bench) -> None:
    assert bench.outcome("limits/private_memory", bench.policy(memory_bytes=None)) == "done"


@pytest.mark.usefixtures("fresh_namespaces")
@pytest.mark.skipif(os.getuid() == 0, reason="the kernel counts no threads of root")
def test_threads_are_limited_in_a_user_namespace(bench: Bench) -> None:
    assert 500 < bench.outcome("limits/many_threads", bench.policy(memory_bytes=None)) < 1024


@pytest.mark.usefixtures("fresh_namespaces")
def test_cpu_time_ends_even_process_1_of_a_namespace(bench: Bench) -> None:
    (child,) = bench.run("limits/endless_loop", bench.policy(cpu_seconds=1), fresh=True)
    assert child["status"] == -9


@pytest.mark.usefixtures("fresh_namespaces")
def test_a_scratch_folder_has_a_total_size_and_leaves_nothing(bench: Bench, host: Host) -> None:
    assert bench.outcome("limits/many_files", bench.policy()) == "done"
    for path in bench.scratch.iterdir():
        path.unlink()
    assert host.ask(mount=[str(bench.scratch), 4 << 20]) is True
    assert bench.outcome("limits/many_files", bench.policy()) == "OSError ENOSPC"
    host.ask(unmount=str(bench.scratch))
    assert bench.outcome("limits/many_files", bench.policy()) == "done"


def test_metadata_outside_stays_as_it_was(bench: Bench) -> None:
    touched = (bench.outside, bench.secret, Path(json.__file__))
    before = [path.stat() for path in touched]
    assert bench.outcome("others/change_metadata", bench.policy()) == "done"
    assert [path.stat() for path in touched] == before


def test_every_refused_call_answers_what_its_rule_says(bench: Bench) -> None:
    assert bench.outcome("others/refused_calls", bench.policy()) == []


@pytest.mark.usefixtures("fresh_namespaces")
def test_a_confined_process_is_nobody_in_particular(bench: Bench) -> None:
    identity = bench.outcome("others/identity", bench.policy(), fresh=True)
    assert identity == {
        "cwd": str(bench.scratch),
        "pid": 1,
        "user": os.getuid(),
        "leads_its_session": True,
        "capabilities": True,
    }


def test_what_cannot_be_applied_is_named(bench: Bench) -> None:
    assert bench.outcome("others/confine_again", bench.policy()) == ["memory limit", "seccomp"]


def test_a_scratch_folder_that_is_not_there_is_our_fault(tmp_path: Path) -> None:
    with pytest.raises(HarnessFault, match="the scratch folder"):
        confine(Policy(str(tmp_path / "gone"), (), 1, None, 1, 1))


class TestProcesses:
    def test_children_run_where_they_are_allowed(self, bench: Bench) -> None:
        assert bench.outcome("processes/run_python", bench.policy(processes=True)) == "done"

    def test_children_are_confined_as_well(self, bench: Bench) -> None:
        outcome = bench.outcome("processes/child_reads_a_secret", bench.policy(processes=True))
        assert "returned non-zero exit status 1" in outcome
        assert bench.outcome("processes/child_reads_a_secret", None) == "done"

    @pytest.mark.parametrize("script", ["kill_everybody", "clone_in_a_new_namespace", "new_user_namespace"])
    def test_what_reaches_beyond_them_stays_refused(self, bench: Bench, script: str) -> None:
        assert bench.outcome(f"attacks/{script}", bench.policy(processes=True)) in REFUSALS

    @pytest.mark.skipif(landlock.abi() < 6, reason="signals are scoped from version 6 of Landlock on")
    def test_signals_stay_in_the_family(self, bench: Bench) -> None:
        assert bench.outcome("attacks/kill_another", bench.policy(processes=True)) in REFUSALS


@pytest.mark.usefixtures("fresh_namespaces")
class TestLoopback:
    def ranks(self, bench: Bench, script: str, children: int = 2, **names: Any) -> list[Any]:
        policy = bench.policy(network="loopback")
        ended = bench.run(f"loopback/{script}", policy, names=names, fresh=True, network=True, children=children)
        return [child["outcome"] for child in ended]

    def test_ranks_talk(self, bench: Bench) -> None:
        assert self.ranks(bench, "ranks_talk") == ["hello", "done"]

    def test_ranks_make_a_gloo_group(self, bench: Bench) -> None:
        assert self.ranks(bench, "ranks_sum") == [[3], [3]]

    def test_the_machine_is_out_of_reach(self, bench: Bench) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            assert self.ranks(bench, "reach_the_machine", 1, port=port) == ["ConnectionRefusedError ECONNREFUSED"]

    def test_so_are_sockets_with_a_path(self, bench: Bench) -> None:
        with socket.socket(socket.AF_UNIX) as server:
            address = str(bench.outside / "socket")
            server.bind(address)
            server.listen()
            assert self.ranks(bench, "path_named_socket", 1, address=address) == ["PermissionError EPERM"]
            assert bench.outcome("loopback/path_named_socket", None, names={"address": address}) == "done"


@pytest.mark.usefixtures("fresh_namespaces")
class TestNamespaces:
    def test_children_get_fresh_ones_every_time(self, bench: Bench) -> None:
        pids = [bench.outcome("others/identity", bench.policy(), fresh=True)["pid"] for _ in range(30)]
        assert pids == [1] * 30
        assert bench.outcome("others/identity", bench.policy())["pid"] > 1

    def test_orphans_end_with_the_worker(self, bench: Bench) -> None:
        def seconds(fresh: bool, asleep: int) -> float:
            before = time.monotonic()
            names = {"seconds": asleep}
            bench.run("processes/leave_an_orphan", bench.policy(processes=True), names=names, fresh=fresh)
            return time.monotonic() - before

        assert seconds(fresh=True, asleep=30) < 20
        assert seconds(fresh=False, asleep=1) >= 1

    def test_workers_end_with_the_forkserver(self, bench: Bench) -> None:
        host = Host()
        bench.host = host
        host.send(**bench.request("others/hold_a_lock", bench.policy(), fresh=True))
        lock = bench.scratch / "lock"
        while not lock.exists():
            time.sleep(0.01)
        host.process.kill()
        with lock.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX)
        host.close()

    def test_without_user_namespaces_all_are_named(self, bench: Bench) -> None:
        assert bench.outcome("others/without_user_namespaces", None) == [
            "user namespace",
            "mount namespace",
            "network namespace",
            "ipc namespace",
            "pid namespace",
        ]


class TestReadable:
    def test_never_this_package(self, readable: tuple[str, ...]) -> None:
        package = Path(grader.__file__).resolve().parent
        assert not [entry for entry in readable if package.is_relative_to(os.path.realpath(entry))]

    def test_what_is_excluded_splits_the_folder_above_it(self, readable: tuple[str, ...]) -> None:
        libraries = Path(pytest.__file__).parents[1]
        assert str(libraries) in readable
        split = readable_python((pytest.__file__,))
        assert f"{libraries}/" in split
        assert str(libraries / "msgspec") in split
        assert not {str(libraries), str(libraries / "pytest"), pytest.__file__} & set(split)

    def test_an_excluded_library_is_listed_but_not_read(self, bench: Bench) -> None:
        library = Path(pytest.__file__)
        policy = bench.policy(readable=readable_python((str(library),)))
        names = {"secret": str(library)}
        assert bench.outcome("attacks/read_a_secret", policy, names=names) == "PermissionError EACCES"
        assert bench.outcome("works/imports_not_made_yet", policy) == "done"
