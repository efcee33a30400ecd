"""Seccomp: the system calls that a worker may not make.

Allowed by default, since Python with torch needs many; refused is what reaches other processes, other sockets, other
people's files or the kernel's rarer doors.
"""

import errno
import functools
import os
import struct
from dataclasses import dataclass

from grader.sandbox import libc
from grader.sandbox.bpf import DONE, INSTRUCTION, Rule, Rules, program, unless, when
from grader.sandbox.syscalls import NUMBERS


@dataclass(frozen=True, slots=True)
class Allowances:
    """What may pass in which worker."""

    processes: bool
    """Starting processes and running programs, and then signals to them."""
    loopback: bool
    """Sockets of the internet families."""
    devices: bool
    """Any ioctl but the dangerous ones, and anonymous memory files."""
    truncate: bool
    """Truncating a file by its path."""
    pid: int
    """The process that signals may go to."""


_REFUSED = (
    # Other processes: their memory, their descriptors, their place in the machine.
    "ptrace process_vm_readv process_vm_writev process_madvise process_mrelease pidfd_open pidfd_getfd "
    "pidfd_send_signal kcmp move_pages migrate_pages perf_event_open tkill setsid setpgid ioprio_set "
    # Namespaces and mounts.
    "unshare setns mount umount2 pivot_root chroot open_tree open_tree_attr move_mount fsopen fsconfig fsmount fspick "
    "mount_setattr "
    # What outlives a worker and is shared with the next one.
    "shmget shmat shmctl shmdt semget semop semctl semtimedop msgget msgsnd msgrcv msgctl mq_open mq_unlink "
    "mq_timedsend mq_timedreceive mq_notify mq_getsetattr add_key request_key keyctl "
    # Ways around what is refused here, and code of the kernel that nobody needs.
    "io_uring_setup io_uring_enter io_uring_register bpf userfaultfd seccomp personality modify_ldt memfd_secret "
    "name_to_handle_at open_by_handle_at fanotify_init lookup_dcookie file_setattr "
    # The machine.
    "reboot swapon swapoff init_module finit_module delete_module kexec_load kexec_file_load iopl ioperm acct quotactl "
    "quotactl_fd syslog vhangup settimeofday clock_settime sethostname setdomainname"
)
# Landlock does not cover these, and an attempt has the learner's own user id. They answer as if done, for the sake of
# shutil.copy and Path.touch, which nothing else in a scratch folder depends on.
_PRETENDED = "chmod fchmod fchmodat fchmodat2 chown fchown lchown fchownat utime utimes utimensat futimesat"
_EXTENDED_ATTRIBUTES = "setxattr lsetxattr fsetxattr setxattrat removexattr lremovexattr fremovexattr removexattrat"
_SIGNALS = ("kill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo")

_CLONE_THREAD, _CLONE_NEW_NAMESPACE = 0x10000, 0x7E020000
_UNIX, _INTERNET, _ROUTING = 1, (2, 10), 16
_STREAM, _DATAGRAM, _RAW, _TYPE = 1, 2, 3, 0xF
_TCP = (0, 6)
_SET_DEATH_SIGNAL, _SET_DUMPABLE, _SET_SECCOMP, _FILTER_MODE = 1, 4, 22, 2
_SET_OWNER, _SET_SIGNAL, _SET_OWNER_EX, _SET_LEASE, _NOTIFY = 8, 10, 15, 1024, 1026
_PUSH_INPUT, _CONSOLE, _SET_FILE_OWNER, _SET_SOCKET_OWNER = 0x5412, 0x541C, 0x8901, 0x8902
# TCGETS (isatty), TIOCGPGRP, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX
_ORDINARY_IOCTLS = (0x5401, 0x540F, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
# Gloo lists the interfaces, by a raw routing socket and a datagram one. Raw ones of the internet need a capability.
_LOOPBACK = (
    unless(0, *_INTERNET, _ROUTING),
    unless(1, _STREAM, _DATAGRAM, _RAW, mask=_TYPE),
    unless(2, *_TCP),
)


def rules(allowed: Allowances) -> Rules:
    """What is refused to such a worker, by the name of the call."""
    refused: dict[str, Rule] = {name: Rule(errno.EPERM) for name in _REFUSED.split()}
    refused |= {name: Rule(DONE) for name in _PRETENDED.split()}
    refused |= {name: Rule(errno.ENOTSUP) for name in _EXTENDED_ATTRIBUTES.split()}
    refused |= _by_argument(allowed.devices)
    refused |= _processes() if allowed.processes else _no_processes(allowed.pid)
    refused["socket"] = Rule(errno.EPERM, _LOOPBACK if allowed.loopback else ())
    if not allowed.devices:
        refused["memfd_create"] = Rule(errno.EPERM)  # its pages count towards no limit
    if not allowed.truncate:
        refused["truncate"] = Rule(errno.EPERM)
    return refused


def _by_argument(devices: bool) -> dict[str, Rule]:
    other = Rule(errno.EPERM, (unless(0, 0),))  # 0 is the caller itself
    ioctls = when(1, _PUSH_INPUT, _CONSOLE, _SET_FILE_OWNER, _SET_SOCKET_OWNER)
    return {
        "clone3": Rule(errno.ENOSYS),  # its flags lie in memory, out of a filter's sight: the C library uses clone
        # asyncio needs a connected pair; of another type than stream, one could be pointed at a path-named socket.
        "socketpair": Rule(errno.EPERM, (unless(0, _UNIX), unless(1, _STREAM, mask=_TYPE))),
        "prctl": Rule(errno.EPERM, (when(0, _SET_DEATH_SIGNAL, _SET_DUMPABLE, _SET_SECCOMP),)),
        # A descriptor's owner is sent signals when it becomes ready.
        "fcntl": Rule(errno.EPERM, (when(1, _SET_OWNER, _SET_SIGNAL, _SET_OWNER_EX, _SET_LEASE, _NOTIFY),)),
        "ioctl": Rule(errno.ENOTTY, (ioctls if devices else unless(1, *_ORDINARY_IOCTLS),)),
        "setpriority": Rule(errno.EPERM, (unless(0, 0), unless(1, 0))),
        "prlimit64": other,
        "sched_setaffinity": other,
        "sched_setparam": other,
        "sched_setscheduler": other,
        "sched_setattr": other,
    }


def _no_processes(pid: int) -> dict[str, Rule]:
    signals = {name: Rule(errno.EPERM, (unless(0, pid),)) for name in _SIGNALS}
    refused = {name: Rule(errno.EPERM) for name in ("fork", "vfork", "execve", "execveat")}
    namespaces, thread = unless(0, 0, mask=_CLONE_NEW_NAMESPACE), unless(0, _CLONE_THREAD, mask=_CLONE_THREAD)
    return signals | refused | {"clone": Rule(errno.EPERM, (namespaces, thread))}


def _processes() -> dict[str, Rule]:
    everybody = Rule(errno.EPERM, (when(0, 0xFFFFFFFF),))
    return {"clone": Rule(errno.EPERM, (unless(0, 0, mask=_CLONE_NEW_NAMESPACE),)), "kill": everybody}


@functools.cache
def worker_program(allowed: Allowances, machine: str) -> bytes:
    """The filter for such a worker; kept, so that one made before a fork costs nothing after it."""
    return program(rules(allowed), machine)


def install(allowed: Allowances) -> None:
    """Put the filter in force for this process and all it starts. Needs `no_new_privs`; raises OSError."""
    machine = os.uname().machine
    if machine not in NUMBERS:
        raise OSError(errno.ENOSYS, f"no table of system calls for {machine}")
    code = worker_program(allowed, machine)
    filter_program = struct.pack("HP", len(code) // INSTRUCTION.size, libc.address(code))
    libc.call("prctl", _SET_SECCOMP, _FILTER_MODE, filter_program)
