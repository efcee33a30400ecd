"""Namespaces: processes, mounts and a network that only we and our children see, made without being root.

Linux only; elsewhere everything is missing. The order of use: `enter()` in a small process, fork, and in the child
`die_with_parent()` and `mount_proc()`; that child imports what it likes and forks workers inside `ChildNamespaces`.
"""

import contextlib
import fcntl
import os
import signal
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

from grader.sandbox import capabilities, libc

_NEW = {
    "mount namespace": 0x00020000,
    "network namespace": 0x40000000,
    "ipc namespace": 0x08000000,
    "pid namespace": 0x20000000,
}
_NEW_USER, _NEW_PID, _NEW_NET = 0x10000000, _NEW["pid namespace"], _NEW["network namespace"]
_NO_SETUID, _NO_DEVICES, _NO_PROGRAMS, _RECURSIVE, _PRIVATE = 2, 4, 8, 0x4000, 0x40000
_DETACH = 2
_SET_DEATH_SIGNAL = 1
_SET_INTERFACE_FLAGS, _UP_AND_RUNNING = 0x8914, 0x41


def enter() -> tuple[str, ...]:
    """Leave the namespaces of this process, which has one thread; the names of those that stay as they were.

    "user namespace", "mount namespace", "network namespace", "ipc namespace", "pid namespace". User and group keep
    their ids, mounts become private, the network has nothing up. Only children are in the new PID namespace: the
    first one forked is its process 1, with which it ends.
    """
    missing: tuple[str, ...] = () if _rehearsed(_enter_user) and _enter_user() else ("user namespace",)
    missing += tuple(name for name, flag in _NEW.items() if not _done("unshare", flag))
    if "mount namespace" not in missing and not _done("mount", b"none", b"/", None, _RECURSIVE | _PRIVATE, None):
        missing += ("mount namespace",)
    capabilities.drop_bound()
    return missing


def _rehearsed(step: Callable[[], bool]) -> bool:
    """Does it work in a child? One that fails half way would leave this process without a user id."""
    pid = os.fork()
    if not pid:
        os._exit(0 if step() else 1)
    return os.waitpid(pid, 0)[1] == 0


def _enter_user() -> bool:
    user, group = os.geteuid(), os.getegid()
    if not _done("unshare", _NEW_USER):
        return False
    try:
        # The kernel asks for this before an ordinary user may map a group.
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    except OSError:
        return False
    return True


def _done(function: str, *arguments: libc.Word) -> bool:
    try:
        libc.call(function, *arguments)
    except OSError:
        return False
    return True


def die_with_parent() -> bool:
    """Have this process killed when its parent ends; False where that cannot be asked for."""
    return _done("prctl", _SET_DEATH_SIGNAL, signal.SIGKILL)


def mount_proc() -> bool:
    """Mount a /proc that shows the PID namespace of this process; False when refused, as in many containers."""
    return _done("mount", b"proc", b"/proc", b"proc", _NO_SETUID | _NO_DEVICES | _NO_PROGRAMS, None)


def mount_scratch(path: str, size_bytes: int) -> bool:
    """Mount an empty file system of bounded size on the folder `path`, for its owner alone; False when refused."""
    options = f"size={size_bytes},nr_inodes={max(1024, size_bytes // 4096)},mode=700"
    return _done("mount", b"scratch", os.fsencode(path), b"tmpfs", _NO_SETUID | _NO_DEVICES, options.encode())


def unmount(path: str) -> None:
    """Take it away now, and free it when the last process has left it. No error when nothing is mounted there."""
    _done("umount2", os.fsencode(path), _DETACH)


class ChildNamespaces:
    """Fresh namespaces for children, made by a process that is itself in namespaces of `enter()`.

    Holds two descriptors, which its children should close.
    """

    def __init__(self) -> None:
        self._process = os.pidfd_open(os.getpid())
        self._network = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    @contextlib.contextmanager
    def fresh(self, *, network: bool = False) -> Iterator[None]:
        """What is forked inside shares one fresh PID namespace, and with `network` a network of nothing but `lo`.

        The first child is process 1: when it ends, the others are killed, and it is not gone before they are reaped:
        wait for all, in any order. Raises OSError when the kernel refuses.
        """
        libc.call("unshare", _NEW_PID | (_NEW_NET if network else 0))
        try:
            if network:
                _bring_up_loopback()
            yield
        finally:
            # A process may not unshare again before it has come back: a pidfd names the namespace it is itself in.
            libc.call("setns", self._process, _NEW_PID)
            if network:
                libc.call("setns", self._network, _NEW_NET)


def _bring_up_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SET_INTERFACE_FLAGS, struct.pack("16sH14x", b"lo", _UP_AND_RUNNING))
