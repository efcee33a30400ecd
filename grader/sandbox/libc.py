"""The C library of Linux by ctypes: functions that `os` lacks, and `syscall` for what has no function at all.

A call that fails raises OSError, as in `os`; on another platform it raises it with ENOSYS. All are looked up on
import, once: with torch loaded that takes a tenth of a millisecond each.
"""

import ctypes
import errno
import os
import sys

# None elsewhere: macOS has a `syscall`, with other numbers.
_NAMES = ("syscall", "prctl", "capset", "unshare", "setns", "mount", "umount2")
_libc = ctypes.CDLL(None, use_errno=True)
_functions = {name: getattr(_libc, name) for name in _NAMES if sys.platform == "linux"}

Word = int | bytes | None
"""What fits an argument: a number, the bytes behind a pointer (alive for the call), or NULL."""


def call(function: str, *arguments: Word) -> int:
    """Call `function` of the C library: `call("unshare", flags)`, `call("syscall", number, …)`."""
    if function not in _functions:
        raise OSError(errno.ENOSYS, f"no {function} on this platform")
    result: int = _functions[function](*(_word(argument) for argument in arguments))
    if result == -1:
        code = ctypes.get_errno()
        raise OSError(code, f"{function}: {os.strerror(code)}")
    return result


def prctl(option: int, *arguments: Word) -> int:
    """prctl(2); the arguments that are not given are 0, as several of its options insist."""
    return call("prctl", option, *arguments, *[0] * (4 - len(arguments)))


def _word(argument: Word) -> ctypes.c_ulong | ctypes.c_char_p:
    # A bare int would travel as 32 bits: the C functions called here are variadic.
    return ctypes.c_ulong(argument) if isinstance(argument, int) else ctypes.c_char_p(argument)
