"""A small forkserver for the tests: warm, in namespaces of its own, it runs scripts in forked children, confined or not.

One JSON object a line in: `{"script", "names", "policy" or null, "fresh", "network", "children"}`.
One a line out: how each child ended, `{"outcome", "missing", "status"}`; an outcome is "done", the value that the script
left in `result`, or the exception that it ended with.
"""

import contextlib
import errno
import gc
import json
import os
import signal
import sys
import time

from grader.sandbox import libc, namespaces, seccomp, syscalls
from grader.sandbox.confine import Policy, confine, prepare


def main():
    missing = namespaces.enter()
    pid = os.fork()
    if pid:
        os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    namespaces.die_with_parent()
    if not namespaces.mount_proc():
        missing += ("proc",)
    import numpy  # noqa: F401 - the scripts need it warm
    import torch  # noqa: F401 - likewise

    prepare()
    gc.freeze()
    children = None if "pid namespace" in missing else namespaces.ChildNamespaces()
    print(json.dumps({"missing": missing}), flush=True)
    for line in sys.stdin:
        print(json.dumps(serve(json.loads(line), children)), flush=True)


def serve(request, children):
    if "mount" in request:
        return namespaces.mount_scratch(*request["mount"])
    if "unmount" in request:
        return namespaces.unmount(request["unmount"])
    victim = fork_victim()
    fresh = children.fresh(network=request["network"]) if request["fresh"] else contextlib.nullcontext()
    with fresh:
        started = [fork_child(request, rank, victim) for rank in range(request["children"])]
    # The last one first: process 1 of a namespace is not gone before all others have been waited for.
    answers = [collect(*child) for child in reversed(started)][::-1]
    alive = os.waitpid(victim, os.WNOHANG)[0] == 0
    with contextlib.suppress(ProcessLookupError):
        os.kill(victim, signal.SIGKILL)
    if alive:
        os.waitpid(victim, 0)
    return {"children": answers, "victim_alive": alive}


def fork_victim():
    pid = os.fork()
    if pid == 0:
        while True:
            time.sleep(60)
    return pid


def fork_child(request, rank, victim):
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        try:
            os.write(writer, json.dumps(run(request, rank, victim)).encode())
        finally:
            sys.excepthook(*sys.exc_info()) if sys.exc_info()[0] else None
            os._exit(0)
    os.close(writer)
    return pid, reader


def run(request, rank, victim):
    source = open(request["script"]).read()
    policy = request["policy"] and Policy(**request["policy"])
    os.chdir(request["scratch"])
    before = time.perf_counter()
    missing = confine(policy) if policy else ()
    seconds = time.perf_counter() - before
    names = {"rank": rank, "victim": victim, "libc": libc, "numbers": syscalls.NUMBERS[os.uname().machine]}
    names |= {"seccomp": seccomp, "result": "done", **request["names"]}
    try:
        exec(compile(source, request["script"], "exec"), names)
        outcome = names["result"]
    except OSError as error:
        outcome = f"{type(error).__name__} {errno.errorcode.get(error.errno, error.errno)}"
    except BaseException as error:
        outcome = f"{type(error).__name__}: {error}"
    return {"outcome": outcome, "missing": missing, "seconds": seconds}


def collect(pid, reader):
    with open(reader, "rb") as stream:
        data = stream.read()
    answer = json.loads(data) if data else {"outcome": None, "missing": [], "seconds": 0}
    return answer | {"status": os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}


main()
