"""A small forkserver for the tests: warm, in namespaces of its own, it runs scripts in children, confined or not.

Its arguments are the libraries to import first.

One JSON object a line in: a request of `Request`, `{"mount": [path, size]}` or `{"unmount": path}`.
One a line out: how each child ended, `{"outcome", "missing", "status"}`. An outcome is the value that the script left
in `result`, "done", or the exception that it ended with; None when it had no time to say.
"""

import contextlib
import errno
import gc
import importlib
import io
import json
import os
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from grader.sandbox import landlock, libc, namespaces, seccomp, syscalls
from grader.sandbox.confine import Policy, confine, prepare


@dataclass
class Request:
    script: str
    scratch: str
    names: dict[str, Any] = field(default_factory=dict)
    """What the script finds defined, besides what `run` gives it."""
    policy: dict[str, Any] | None = None
    """None: not confined."""
    fresh: bool = False
    """In namespaces of its own?"""
    network: bool = False
    children: int = 1


def main() -> None:
    missing = namespaces.enter()
    pid = os.fork()
    if pid:
        os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    namespaces.die_with_parent()
    if not namespaces.mount_proc():
        missing += ("proc",)
    for library in sys.argv[1:]:
        importlib.import_module(library)
    prepare()
    gc.freeze()
    children = None if "pid namespace" in missing else namespaces.ChildNamespaces()
    print(json.dumps({"missing": missing}), flush=True)
    for line in sys.stdin:
        print(json.dumps(serve(json.loads(line), children)), flush=True)


def serve(request: dict[str, Any], children: namespaces.ChildNamespaces | None) -> Any:
    if "mount" in request:
        return namespaces.mount_scratch(*request["mount"])
    if "unmount" in request:
        return namespaces.unmount(request["unmount"])
    return run_children(Request(**request), children)


def run_children(request: Request, children: namespaces.ChildNamespaces | None) -> dict[str, Any]:
    victim = fork_victim()
    fresh = children.fresh(network=request.network) if children and request.fresh else contextlib.nullcontext()
    leave, stay = os.pipe()
    with fresh:
        first, *others = [fork_child(request, rank, victim, leave, stay) for rank in range(request.children)]
    # The first one last: with process 1 of a namespace all others end, and it is not gone before they were waited for.
    answers = [collect(*child) for child in others]
    os.close(stay)
    answers.insert(0, collect(*first))
    os.close(leave)
    os.kill(victim, signal.SIGKILL)
    unharmed = os.waitpid(victim, 0)[1] == signal.SIGKILL and os.getpriority(os.PRIO_PROCESS, 0) == 0
    return {"children": answers, "unharmed": unharmed}


def fork_victim() -> int:
    """A process of the same user that can be attacked without harm to us."""
    pid = os.fork()
    if pid == 0:
        time.sleep(60)
        os._exit(0)
    return pid


def fork_child(request: Request, rank: int, victim: int, leave: int, stay: int) -> tuple[int, int]:
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(stay)
            os.write(writer, json.dumps(run(request, rank, victim)).encode())
            if rank == 0:
                os.read(leave, 1)
        finally:
            os._exit(0)
    os.close(writer)
    return pid, reader


def run(request: Request, rank: int, victim: int) -> dict[str, Any]:
    source = Path(request.script).read_text()
    os.chdir(request.scratch)
    os.environ.update(HOME=request.scratch, TMPDIR=request.scratch)
    truncate = landlock.abi() >= landlock.TRUNCATE_ABI
    names = {
        "rank": rank,
        "victim": victim,
        "libc": libc,
        "seccomp": seccomp,
        "numbers": syscalls.NUMBERS[os.uname().machine],
        "allowances": seccomp.Allowances(False, False, False, truncate, os.getpid()),
        "status_file": io.StringIO(),
        "result": "done",
        **request.names,
    }
    policy = Policy(**request.policy) if request.policy else None
    missing: tuple[str, ...] = ()
    if policy:
        names |= {"policy": policy, "status_file": Path("/proc/self/status").open()}
        missing = confine(policy)
    try:
        exec(compile(source, request.script, "exec"), names)
        outcome = names["result"]
    except OSError as error:
        outcome = f"{type(error).__name__} {errno.errorcode.get(error.errno or 0, error)}"
    except BaseException as error:
        outcome = f"{type(error).__name__}: {error}"
    return {"outcome": outcome, "missing": missing}


def collect(pid: int, reader: int) -> dict[str, Any]:
    with open(reader, "rb") as stream:
        data = stream.read()
    answer = json.loads(data) if data else {"outcome": None, "missing": []}
    return {**answer, "status": os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}


main()
