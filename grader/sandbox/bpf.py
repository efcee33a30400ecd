"""A filter of system calls as a program of classic BPF, for x86_64 and aarch64.

Made from rules by name; calls without a rule are allowed, calls newer than the table answer ENOSYS, as an older kernel
would, and a process of another machine's kind (32 bits) is killed.
"""

import errno
import struct
from collections.abc import Mapping
from dataclasses import dataclass

from grader.sandbox.syscalls import AUDIT_ARCHITECTURES, LAST, NUMBERS

_ANY = 0xFFFFFFFF
DONE = 0
"""As an answer: nothing happened, and the caller is told that all went well."""


@dataclass(frozen=True, slots=True)
class Condition:
    """Refuses a call by 32 bits of one argument: masked, they have to be, or not be, one of some values."""

    argument: int
    values: tuple[int, ...]
    among: bool
    mask: int = _ANY


def unless(argument: int, *values: int, mask: int = _ANY) -> Condition:
    """Refuse the call unless the argument is one of these."""
    return Condition(argument, values, True, mask)


def when(argument: int, *values: int, mask: int = _ANY) -> Condition:
    """Refuse the call when the argument is one of these."""
    return Condition(argument, values, False, mask)


@dataclass(frozen=True, slots=True)
class Rule:
    """What a refused call answers. With conditions it is refused by any of them, without always."""

    answer: int
    conditions: tuple[Condition, ...] = ()


Rules = Mapping[str, Rule]

# Classic BPF over `struct seccomp_data`: int nr, u32 arch, u64 instruction_pointer, u64 args[6].
_LOAD, _AND, _EQUAL, _GREATER, _RETURN = 0x20, 0x54, 0x15, 0x25, 0x06
_NUMBER_OFFSET, _ARCHITECTURE_OFFSET, _ARGUMENTS_OFFSET = 0, 4, 16
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000

INSTRUCTION = struct.Struct("=HBBI")
Instruction = tuple[int, int, int, int]
"""Operation, how far to jump when true, how far when false, operand."""


def program(refused: Rules, machine: str) -> bytes:
    """The filter for `machine`, as the kernel takes it. Raises KeyError for a machine that has no table.

    Calls judged by an argument come first, each with its conditions; then one chain for each answer.
    """
    numbers = NUMBERS[machine]
    known = {numbers[name]: rule for name, rule in refused.items() if name in numbers}
    code: list[Instruction] = [
        (_LOAD, 0, 0, _ARCHITECTURE_OFFSET),
        (_EQUAL, 1, 0, AUDIT_ARCHITECTURES[machine]),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER_OFFSET),
        (_GREATER, 0, 1, LAST),  # on x86_64 these hold the second set of calls, of the x32 ABI
        (_RETURN, 0, 0, _ERRNO | errno.ENOSYS),
    ]
    for number, rule in known.items():
        if rule.conditions:
            code += _judged(number, rule)
    for answer in sorted({rule.answer for rule in known.values() if not rule.conditions}):
        code += _chain([n for n, rule in known.items() if not rule.conditions and rule.answer == answer], answer)
    code.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(INSTRUCTION.pack(*instruction) for instruction in code)


def _judged(number: int, rule: Rule) -> list[Instruction]:
    body: list[Instruction] = []
    for condition in rule.conditions:
        body.append((_LOAD, 0, 0, _ARGUMENTS_OFFSET + 8 * condition.argument))
        if condition.mask != _ANY:
            body.append((_AND, 0, 0, condition.mask))
        last = len(condition.values) - 1
        for i, value in enumerate(condition.values):
            # A hit of `unless` jumps over the refusal, a hit of `when` onto it.
            hit = last - i + condition.among
            body.append((_EQUAL, hit, 0 if i < last or condition.among else 1, value & _ANY))
        body.append((_RETURN, 0, 0, _ERRNO | rule.answer))
    body.append((_RETURN, 0, 0, _ALLOW))
    return [(_EQUAL, 0, len(body), number), *body]


def _chain(numbers: list[int], answer: int) -> list[Instruction]:
    last = len(numbers) - 1
    jumps = [(_EQUAL, last - i, 0 if i < last else 1, number) for i, number in enumerate(numbers)]
    return [*jumps, (_RETURN, 0, 0, _ERRNO | answer)]
