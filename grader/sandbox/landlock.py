"""Landlock: what of the file system, of TCP and of other processes this process may reach, by rules it cannot lift.

Denied is what no rule allows; a rule holds for everything below its path, and there is no deny below an allowed
folder. Not covered by Landlock itself: descriptors that are open already, chmod, chown and times of a path, stat,
UDP and path-named sockets. Threads other than the caller stay free: call it while there is one.
"""

import os
import stat
import struct
from collections.abc import Iterable

from grader.sandbox import libc

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every architecture
_VERSION_QUERY = 1
_PATH_BENEATH = 1
_SCOPE_ABSTRACT_SOCKETS, _SCOPE_SIGNALS = 1, 2
_TCP_BIND, _TCP_CONNECT = 1, 2
_QUIET = 1  # do not log what is denied: an attempt must not fill the machine's audit log

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _REMOVE_DIR, _REMOVE_FILE = (1 << bit for bit in range(6))
_MAKE_DIR, _MAKE_REGULAR = 1 << 7, 1 << 8
_REFER, _TRUNCATE, _DEVICE_IOCTL = 1 << 13, 1 << 14, 1 << 15
_OF_A_FILE = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _DEVICE_IOCTL

LIST = _READ_DIR
READ = _READ_FILE | _READ_DIR
RUN = _EXECUTE
MODIFY = READ | _WRITE_FILE | _TRUNCATE
DEVICE = MODIFY | _DEVICE_IOCTL
# No links, pipes or device files: whoever reads a scratch folder afterwards should find plain files in it.
POPULATE = MODIFY | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REGULAR | _REFER

TRUNCATE_ABI = 3
"""From this version on, truncating a file by its path needs MODIFY; before, nothing here stops it."""


def abi() -> int:
    """The version that the kernel offers; 0 where there is none."""
    try:
        return libc.call("syscall", _CREATE_RULESET, None, 0, _VERSION_QUERY)
    except OSError:
        return 0


def restrict(rules: Iterable[tuple[str, int]], *, tcp: bool) -> None:
    """Confine this process to `rules`, pairs of a path and its rights; a path that cannot be opened is left out.

    From then on it may signal, and meet over abstract sockets, only what is confined with it, and use TCP only with
    `tcp`: as far as the kernel's version knows of these. Raises OSError where there is no Landlock.
    Needs `no_new_privs`.
    """
    version = abi()
    handled = (1 << (13 + (version >= 2) + (version >= TRUNCATE_ABI) + (version >= 5))) - 1
    network = 0 if tcp or version < 4 else _TCP_BIND | _TCP_CONNECT
    scoped = 0 if version < 6 else _SCOPE_ABSTRACT_SOCKETS | _SCOPE_SIGNALS
    attributes = struct.pack("=QQQ", handled, network, scoped)
    ruleset = libc.call("syscall", _CREATE_RULESET, attributes, len(attributes), 0)
    try:
        for path, rights in rules:
            _add(ruleset, path, rights & handled)
        libc.call("syscall", _RESTRICT_SELF, ruleset, _QUIET if version >= 7 else 0)
    finally:
        os.close(ruleset)


def _add(ruleset: int, path: str, rights: int) -> None:
    try:
        target = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        rights &= -1 if stat.S_ISDIR(os.fstat(target).st_mode) else _OF_A_FILE
        if rights:
            libc.call("syscall", _ADD_RULE, ruleset, _PATH_BENEATH, struct.pack("=Qi", rights, target), 0)
    finally:
        os.close(target)
