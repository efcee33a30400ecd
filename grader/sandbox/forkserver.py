"""A warm process that forks judges and workers, and holds nothing of any kata or attempt.

Run as `python -I -B -m grader.sandbox.forkserver CONTROL PRELOAD JUDGE`. Its requests are four bytes and descriptors:
no source, path, seed or reply ever passes through it, so none can be found in the memory of a later child. Once its
rehearsal is over, which starts no thread, it computes nothing: forking it is safe.

    (OP_JUDGE, 0)          [link]                              fork a process that runs JUDGE
    (OP_WORKERS, flags, n) [socket, output] × n, [status]      fork n workers into namespaces of their own

On `status` it says which processes were started and how each ended; when the other side hangs up, or says anything,
they are killed.
"""

import contextlib
import gc
import importlib
import os
import selectors
import signal
import socket
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from grader.preloads import PRELOADS
from grader.sandbox import confine, dynamo, namespaces, scratch

OP_JUDGE, OP_WORKERS = 1, 2
LOOPBACK = 1
MAX_WORKERS = 8
REQUEST = struct.Struct("<BBH")
STATUS = struct.Struct("<cii")
STARTED, ENDED, REFUSED = b"S", b"E", b"R"


@dataclass(frozen=True, slots=True)
class Grounds:
    """What this machine gives every worker: found once, before anything of a kata is known."""

    missing: tuple[str, ...] = ()
    """Layers of isolation that could not be made."""
    readable: tuple[str, ...] = ()
    """Files and folders that Python and its libraries need."""
    scratch: str = ""
    """The folder in which scratch folders are made; private to this forkserver where mounts are allowed."""


Judge = Callable[[socket.socket, socket.socket, Grounds], None]
"""(link to who asked, control to this forkserver, the grounds)"""


class Group:
    """Workers that were asked for together, and the socket on which their fate is told."""

    def __init__(self, status: socket.socket) -> None:
        self.status, self.alive = status, dict[int, int]()

    def tell(self, kind: bytes, index: int, value: int) -> None:
        with contextlib.suppress(OSError):
            self.status.send(STATUS.pack(kind, index, value))

    def kill(self) -> None:
        for pid in self.alive:
            os.kill(pid, signal.SIGKILL)


class Forkserver:
    """The loop: requests, hang-ups, children that ended."""

    def __init__(self, control: socket.socket, judge: Judge, grounds: Grounds) -> None:
        self.control, self.judge, self.grounds = control, judge, grounds
        self.selector = selectors.DefaultSelector()
        self.namespaces = None if "pid namespace" in grounds.missing else namespaces.ChildNamespaces()
        self.groups: dict[int, Group] = {}
        self.sockets = {control}
        self.selector.register(control, selectors.EVENT_READ, self.request)
        self.wakeup, wakeup_end = socket.socketpair()
        self.sockets |= {self.wakeup, wakeup_end}
        wakeup_end.setblocking(False)
        self.selector.register(self.wakeup, selectors.EVENT_READ, self.reap)
        signal.set_wakeup_fd(wakeup_end.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def run(self) -> None:
        while self.control in self.sockets:
            for key, _ in self.selector.select():
                key.data(key.fileobj)

    def request(self, control: socket.socket) -> None:
        data, descriptors, _, _ = socket.recv_fds(control, REQUEST.size, 2 * MAX_WORKERS + 1)
        if not data:
            self.forget(control)
            return
        op, flags, count = REQUEST.unpack(data)
        if op == OP_JUDGE:
            self.fork_judge(descriptors)
        else:
            self.fork_workers(descriptors, count, bool(flags & LOOPBACK))
        for descriptor in descriptors:
            os.close(descriptor)

    def fork_judge(self, descriptors: list[int]) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        if os.fork() == 0:
            link = os.dup(descriptors[0])
            self.become_child({link, theirs.fileno()})
            namespaces.die_with_parent()
            run_child(lambda: self.judge(socket.socket(fileno=link), theirs, self.grounds))
        theirs.close()
        self.sockets.add(ours)
        self.selector.register(ours, selectors.EVENT_READ, self.request)

    def fork_workers(self, descriptors: list[int], count: int, loopback: bool) -> None:
        group = Group(socket.socket(fileno=os.dup(descriptors[-1])))
        self.sockets.add(group.status)
        self.selector.register(group.status, selectors.EVENT_READ, self.hang_up)
        fresh = self.namespaces.fresh(network=loopback) if self.namespaces else contextlib.nullcontext()
        try:
            with fresh:
                for index in range(count):
                    self.fork_worker(group, index, descriptors[2 * index : 2 * index + 2])
        except OSError as error:
            group.tell(REFUSED, 0, error.errno or 0)
            group.kill()

    def fork_worker(self, group: Group, index: int, descriptors: list[int]) -> None:
        pid = os.fork()
        if pid == 0:
            data, output = descriptors
            self.become_child({data, output})
            become_quiet(output)
            run_child(lambda: serve_worker(data, self.grounds.missing))
        group.alive[pid] = index
        self.groups[pid] = group
        group.tell(STARTED, index, pid)

    def hang_up(self, status: socket.socket) -> None:
        for group in {id(g): g for g in self.groups.values()}.values():
            if group.status is status:
                group.kill()
        self.forget(status)

    def reap(self, wakeup: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError):
            wakeup.recv(4096, socket.MSG_DONTWAIT)
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            group = self.groups.pop(pid, None)
            if group is not None:
                group.tell(ENDED, group.alive.pop(pid), os.waitstatus_to_exitcode(status))

    def forget(self, sock: socket.socket) -> None:
        if sock in self.sockets:
            self.selector.unregister(sock)
            self.sockets.discard(sock)
            sock.close()

    def become_child(self, keep: set[int]) -> None:
        """Hold no descriptor of the forkserver but those; Python must not close them again by its objects."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self.selector.close()
        for sock in self.sockets:
            if sock.fileno() not in keep:
                sock.detach()
        limit = max(keep) + 1
        for descriptor in range(3, limit):
            if descriptor not in keep:
                with contextlib.suppress(OSError):
                    os.close(descriptor)
        os.closerange(limit, 4096)


def serve_worker(data: int, missing: tuple[str, ...]) -> None:
    from grader.sandbox import worker  # needs numpy, which main() imports only once the namespaces are made

    worker.serve(data, missing)


def become_quiet(output: int) -> None:
    """Standard input is empty; what is printed goes to the judge."""
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(null)
    os.close(output)


def run_child(body: Callable[[], None]) -> NoReturn:
    """Run it and end at once: nothing of the forkserver above this frame may go on in a child."""
    status = 70
    try:
        body()
        status = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        with contextlib.suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def main(control_fd: int, preload: str, judge_name: str) -> int:
    missing = namespaces.enter()
    pid = os.fork()
    if pid:
        os.close(control_fd)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    namespaces.die_with_parent()
    if not namespaces.mount_proc():
        missing += ("proc",)
    base, mounted = scratch.prepare_base("mount namespace" not in missing)
    if not mounted:
        missing += ("scratch size",)
    module, _, function = judge_name.partition(":")
    judge = getattr(importlib.import_module(module), function)
    warm_up(preload)
    importlib.import_module("grader.sandbox.rehearsal").rehearse()
    gc.freeze()
    grounds = Grounds(missing, confine.readable_python(exclude=(package_folder(),)), base)
    with socket.socket(fileno=control_fd) as control:
        Forkserver(control, judge, grounds).run()
    return 0


def package_folder() -> str:
    """The folder of this package, which in a wheel holds a bank."""
    return str(Path(__file__).resolve().parents[1])


def warm_up(preload: str) -> None:
    for name in PRELOADS[preload]:
        importlib.import_module(name)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
        dynamo.stand_in()
    confine.prepare()
    importlib.import_module("grader.sandbox.worker").harness()


if __name__ == "__main__":
    # Under its own name: others import this module, and there shall be one of it.
    os._exit(importlib.import_module("grader.sandbox.forkserver").main(int(sys.argv[1]), sys.argv[2], sys.argv[3]))
