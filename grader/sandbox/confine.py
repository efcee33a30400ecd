"""Confinement: what this process gives up, for good, before it runs the first line of an attempt.

On Linux: a session of its own, limits, capabilities, the file system and the network (`landlock`), and system calls
(`seccomp`). Namespaces are made by whoever forks (`namespaces`), descriptors and the environment are the caller's.
Known limits: any path may be stat'ed, and without a user namespace only memory bounds the number of threads.
"""

import contextlib
import os
import resource
import sys
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from grader.errors import HarnessFault
from grader.sandbox import capabilities, landlock, namespaces, seatbelt, seccomp


@dataclass(frozen=True, slots=True)
class Policy:
    """What a confined process may still do."""

    scratch: str
    """The only folder that may be written; it becomes the current one."""
    readable: tuple[str, ...]
    """Files and folders that may be read and mapped; what ends in "/" may only be listed. Missing ones are skipped."""
    cpu_seconds: int
    """A backstop that kills: whoever judges owns the deadline."""
    memory_bytes: int | None
    """Private memory beyond what there is now (and address space: 1 GiB more). None: no limit, as CUDA needs."""
    file_bytes: int
    """Largest size of one file."""
    open_files: int
    processes: bool = False
    """May it start processes and run programs? Threads it may always start."""
    network: str = "none"
    """Or "loopback": sockets of the internet families, for a network namespace that holds only `lo`."""
    devices: tuple[str, ...] = ()
    """Device files, or folders, that may be written and controlled besides: what CUDA needs."""


_LOOPBACK = "loopback"
_LOOPBACK_FILES = (
    *("/etc/hosts", "/etc/host.conf", "/etc/nsswitch.conf", "/etc/gai.conf"),
    *("/sys/bus/pci", "/sys/devices", "/sys/class/net"),  # gloo looks for its network card before it connects
)
_ADDRESS_SPACE_MARGIN = 1 << 30
_TASKS = 1024
"""Threads and processes of all workers together, in a user namespace of our own; root is exempt."""


def confine(policy: Policy) -> tuple[str, ...]:
    """Apply the policy to this process, which has one thread; the names of the layers that could not be applied.

    They are "memory limit", "capabilities", "landlock" and "seccomp", and on macOS also "seatbelt".
    Raises HarnessFault when the scratch folder cannot be entered.
    """
    _leave(policy.scratch)
    _limit(policy)
    layers: dict[str, Callable[[], None]] = {
        "memory limit": lambda: _limit_memory(policy.memory_bytes),
        "capabilities": capabilities.drop,
        "landlock": lambda: landlock.restrict(_rules(policy), tcp=policy.network == _LOOPBACK),
        "seccomp": lambda: seccomp.install(_allowances(policy)),
    }
    if sys.platform == "darwin":
        layers["seatbelt"] = lambda: seatbelt.apply(_profile(policy))
    return tuple(name for name, apply in layers.items() if not _applied(apply))


def _applied(apply: Callable[[], None]) -> bool:
    try:
        apply()
    except OSError:
        return False
    return True


def prepare() -> None:
    """Make ahead, before forking, what most workers need: each is then confined half a millisecond faster."""
    usual = seccomp.Allowances(
        processes=False, loopback=False, devices=False, truncate=landlock.abi() >= landlock.TRUNCATE_ABI, pid=1
    )
    with contextlib.suppress(KeyError):
        seccomp.worker_program(usual, os.uname().machine)


def _leave(scratch: str) -> None:
    """Enter the scratch folder and a session of our own, to die with the parent, first of all when memory runs out."""
    try:
        os.chdir(scratch)
    except OSError as error:
        raise HarnessFault(f"the scratch folder {scratch} cannot be entered: {error.strerror}; check again") from error
    os.umask(0o077)
    with contextlib.suppress(OSError):
        os.setsid()
    namespaces.die_with_parent()
    with contextlib.suppress(OSError):
        _write("/proc/self/oom_score_adj", b"1000")


def _limit(policy: Policy) -> None:
    _set_limit(resource.RLIMIT_CORE, 0)
    _set_limit(resource.RLIMIT_CPU, policy.cpu_seconds)
    _set_limit(resource.RLIMIT_FSIZE, policy.file_bytes)
    _set_limit(resource.RLIMIT_NOFILE, policy.open_files)
    with contextlib.suppress(OSError):
        # Elsewhere it would count all that the learner runs.
        if _read("/proc/self/uid_map").split()[-1] == b"1":
            _set_limit(resource.RLIMIT_NPROC, _TASKS)


def _set_limit(kind: int, value: int) -> None:
    hard = resource.getrlimit(kind)[1]
    limit = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (limit, limit))


def _limit_memory(extra: int | None) -> None:
    if extra is None:
        return
    pages = _read("/proc/self/statm").split()
    size, data = int(pages[0]) * resource.getpagesize(), int(pages[5]) * resource.getpagesize()
    _set_limit(resource.RLIMIT_DATA, data + extra)
    # Shared mappings count as address space only.
    _set_limit(resource.RLIMIT_AS, size + extra + _ADDRESS_SPACE_MARGIN)


# By descriptors: in a fresh fork, the first use of Python's text files costs half a millisecond.
def _read(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, 4096)
    finally:
        os.close(descriptor)


def _write(path: str, text: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text)
    finally:
        os.close(descriptor)


def _rules(policy: Policy) -> Iterator[tuple[str, int]]:
    run = landlock.RUN if policy.processes else 0
    for path in policy.readable:
        yield path, landlock.LIST if path.endswith("/") else landlock.READ | run
    if policy.network == _LOOPBACK:
        for path in _LOOPBACK_FILES:
            yield path, landlock.READ
    for path in policy.devices:
        yield path, landlock.DEVICE
    yield os.devnull, landlock.MODIFY
    yield policy.scratch, landlock.POPULATE | run


def _allowances(policy: Policy) -> seccomp.Allowances:
    return seccomp.Allowances(
        processes=policy.processes,
        loopback=policy.network == _LOOPBACK,
        devices=bool(policy.devices),
        truncate=landlock.abi() >= landlock.TRUNCATE_ABI,
        pid=os.getpid(),
    )


def _profile(policy: Policy) -> str:
    return seatbelt.profile(
        scratch=policy.scratch,
        readable=policy.readable,
        processes=policy.processes,
        loopback=policy.network == _LOOPBACK,
    )


_SHARED_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/nix/store", "/gnu/store")
_SYSTEM_FILES = (
    "/dev/null",
    "/dev/urandom",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/usr/share/locale",
    "/usr/share/zoneinfo",
    # Without these torch takes the processor for one that has no vector units, and rounds differently from the judge.
    "/proc/cpuinfo",
    "/sys/devices/system/cpu",
    "/sys/devices/system/node",
)
_LIBRARY_FOLDERS = ("site-packages", "dist-packages", "lib-dynload")


def readable_python(exclude: tuple[str, ...]) -> tuple[str, ...]:
    """What `Policy.readable` should hold so that Python and its libraries work: never this package, nor the excluded.

    A folder that holds something excluded is given entry by entry, and may be listed as a whole. What an editable
    install points at is left out. Takes milliseconds at worst: call it once, before forking.
    """
    excluded = {os.path.realpath(path) for path in (*exclude, str(Path(__file__).parents[1]))}
    stdlib, purelib, platlib = (sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib"))
    libraries = (path for path in sys.path if Path(path).name in _LIBRARY_FOLDERS)
    shared = (str(sysconfig.get_config_var("LIBDIR") or ""), f"{sys.base_prefix}/lib", *_SHARED_LIBRARIES)
    own = (os.path.realpath(sys.executable), f"{sys.prefix}/pyvenv.cfg")
    roots = dict.fromkeys((stdlib, purelib, platlib, *libraries, *shared, *own, *_SYSTEM_FILES))
    return tuple(dict.fromkeys(entry for root in roots if Path(root).exists() for entry in _cover(root, excluded)))


def _cover(path: str, excluded: set[str]) -> Iterator[str]:
    """The fewest entries that hold all of `path` but the excluded."""
    real = os.path.realpath(path)
    if any(Path(real).is_relative_to(outside) for outside in excluded):
        return
    if not any(Path(outside).is_relative_to(real) for outside in excluded):
        yield path
        return
    yield f"{path}/"
    with os.scandir(path) as entries:
        for entry in entries:
            # A link to a folder above would lead here again.
            if not entry.is_symlink() or entry.is_file():
                yield from _cover(entry.path, excluded)
