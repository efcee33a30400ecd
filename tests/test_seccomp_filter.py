"""The filter's machine code, run by a small interpreter: for machines other than this one too."""

import errno
import struct
from dataclasses import replace

import pytest

from grader.sandbox import seccomp
from grader.sandbox.bpf import INSTRUCTION, program
from grader.sandbox.syscalls import AUDIT_ARCHITECTURES, LAST, NUMBERS

LOAD, AND, EQUAL, GREATER, RETURN = 0x20, 0x54, 0x15, 0x25, 0x06
ALLOWED, ERRNO, KILLED = 0x7FFF0000, 0x00050000, 0x80000000
WORKER = seccomp.Allowances(processes=False, loopback=False, devices=False, truncate=True, pid=4711)
INTERNET, UNIX, NETLINK, STREAM, DATAGRAM, NON_BLOCKING = 2, 1, 16, 1, 2, 0o4000
THREAD, NEW_USER, CHILD_SIGNAL = 0x3D0F00, 0x10000000, 17


def interpret(code: bytes, data: bytes) -> int:
    """What the kernel would do with one call, described by `struct seccomp_data`."""
    instructions = list(INSTRUCTION.iter_unpack(code))
    position = accumulator = 0
    while True:
        operation, if_true, if_false, operand = instructions[position]
        position += 1
        if operation == RETURN:
            return int(operand)
        if operation == LOAD:
            (accumulator,) = struct.unpack_from("=I", data, operand)
        elif operation == AND:
            accumulator &= operand
        else:
            hit = accumulator == operand if operation == EQUAL else accumulator > operand
            position += if_true if hit else if_false


@pytest.fixture(params=sorted(NUMBERS))
def machine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def verdict(machine: str, name: str, *arguments: int, allowed: seccomp.Allowances = WORKER) -> str:
    return answer(machine, NUMBERS[machine][name], *arguments, allowed=allowed)


def answer(machine: str, number: int, *arguments: int, allowed: seccomp.Allowances = WORKER) -> str:
    words = [argument % (1 << 64) for argument in arguments]
    data = struct.pack("=IIQ6Q", number, AUDIT_ARCHITECTURES[machine], 0, *words, *[0] * (6 - len(words)))
    action = interpret(program(seccomp.rules(allowed), machine), data)
    if action == ALLOWED:
        return "allowed"
    return errno.errorcode[action - ERRNO] if action != ERRNO else "pretended"


def test_every_name_of_a_rule_is_in_the_table() -> None:
    assert not set(seccomp.rules(WORKER)) - NUMBERS["x86_64"].keys()


@pytest.mark.parametrize(
    ("name", "arguments", "wanted"),
    [
        pytest.param("ptrace", (0,), "EPERM", id="always refused"),
        pytest.param("fchmod", (3, 0), "pretended", id="modes are pretended to change"),
        pytest.param("clone3", (), "ENOSYS", id="clone3 is not there"),
        pytest.param("clone", (THREAD,), "allowed", id="a thread"),
        pytest.param("clone", (CHILD_SIGNAL,), "EPERM", id="a process"),
        pytest.param("clone", (THREAD | NEW_USER,), "EPERM", id="a thread in a new namespace"),
        pytest.param("kill", (4711, 15), "allowed", id="a signal to itself"),
        pytest.param("kill", (1, 15), "EPERM", id="a signal to another"),
        pytest.param("kill", (-1, 15), "EPERM", id="a signal to all"),
        pytest.param("kill", (0, 15), "EPERM", id="a signal to the group"),
        pytest.param("socket", (INTERNET, STREAM), "EPERM", id="a socket"),
        pytest.param("socketpair", (UNIX, STREAM | NON_BLOCKING), "allowed", id="a pair"),
        pytest.param("socketpair", (UNIX, DATAGRAM), "EPERM", id="a pair that could be pointed elsewhere"),
        pytest.param("prlimit64", (0, 0, 1), "allowed", id="limits of its own"),
        pytest.param("prlimit64", (1, 0, 1), "EPERM", id="limits of another"),
        pytest.param("setpriority", (0, 0, 5), "allowed", id="priority of its own"),
        pytest.param("setpriority", (2, 0, 5), "EPERM", id="priority of the user"),
        pytest.param("setpriority", (0, 1, 5), "EPERM", id="priority of another"),
        pytest.param("ioctl", (0, 0x5401), "allowed", id="is it a terminal"),
        pytest.param("ioctl", (0, 0x5412), "ENOTTY", id="typing into the terminal"),
        pytest.param("ioctl", (0, 0x1_0000_5412), "ENOTTY", id="the same with bits that the kernel drops"),
        pytest.param("fcntl", (0, 3), "allowed", id="flags of a descriptor"),
        pytest.param("fcntl", (0, 8, 1), "EPERM", id="owner of a descriptor"),
        pytest.param("prctl", (15,), "allowed", id="name of a thread"),
        pytest.param("prctl", (22, 2), "EPERM", id="a filter of its own"),
        pytest.param("memfd_create", (), "EPERM", id="memory file"),
    ],
)
def test_a_worker_may(machine: str, name: str, arguments: tuple[int, ...], wanted: str) -> None:
    assert verdict(machine, name, *arguments) == wanted


def test_numbers_beyond_the_table_do_not_exist(machine: str) -> None:
    assert answer(machine, LAST + 1) == "ENOSYS"
    assert answer(machine, 0x40000000 | NUMBERS[machine]["ptrace"]) == "ENOSYS"


def test_another_kind_of_machine_is_killed(machine: str) -> None:
    data = struct.pack("=IIQ6Q", 1, 0x40000003, 0, *[0] * 6)
    assert interpret(program(seccomp.rules(WORKER), machine), data) == KILLED


def test_calls_without_a_rule_are_allowed(machine: str) -> None:
    refused = {NUMBERS[machine][name] for name in seccomp.rules(WORKER) if name in NUMBERS[machine]}
    assert all(answer(machine, number) == "allowed" for number in set(range(LAST + 1)) - refused)


def test_each_allowance_lifts_its_own_rules(machine: str) -> None:
    processes, loopback = replace(WORKER, processes=True), replace(WORKER, loopback=True)
    devices, no_truncate = replace(WORKER, devices=True), replace(WORKER, truncate=False)
    assert verdict(machine, "execve", allowed=processes) == "allowed"
    assert verdict(machine, "clone", CHILD_SIGNAL, allowed=processes) == "allowed"
    assert verdict(machine, "clone", NEW_USER, allowed=processes) == "EPERM"
    assert verdict(machine, "kill", 1, 15, allowed=processes) == "allowed"
    assert verdict(machine, "kill", -1, 15, allowed=processes) == "EPERM"
    assert verdict(machine, "socket", INTERNET, STREAM, allowed=loopback) == "allowed"
    assert verdict(machine, "socket", UNIX, STREAM, allowed=loopback) == "EPERM"
    assert verdict(machine, "socket", NETLINK, 3, 1, allowed=loopback) == "EPERM"
    assert verdict(machine, "ioctl", 0, 0xC0DE, allowed=devices) == "allowed"
    assert verdict(machine, "ioctl", 0, 0x5412, allowed=devices) == "ENOTTY"
    assert verdict(machine, "memfd_create", allowed=devices) == "allowed"
    assert verdict(machine, "truncate", allowed=no_truncate) == "EPERM"
