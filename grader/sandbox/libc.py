"""The C library of Linux by ctypes: functions that `os` lacks, and `syscall` for what has no function at all.

A call that fails raises OSError, as in `os`; on another platform it raises it with ENOSYS. All are looked up on
import, once: with torch loaded that takes a tenth of a millisecond each.
"""

import ctypes
import errno
import os
import sys

_ARITIES = {"syscall": 7, "prctl": 5, "capset": 2, "unshare": 1, "setns": 2, "mount": 5, "umount2": 2}
_library = ctypes.CDLL(None, use_errno=True)
# None elsewhere: macOS has a `syscall`, with other numbers.
_functions = {name: getattr(_library, name) for name in _ARITIES if sys.platform == "linux"}
for _name, _function in _functions.items():
    # What a pointer's place takes: a number of 64 bits, the bytes behind a pointer, or NULL.
    _function.argtypes = (ctypes.c_void_p,) * _ARITIES[_name]

Word = int | bytes | None


def call(function: str, *arguments: Word) -> int:
    """Call `function` of the C library: `call("unshare", flags)`, `call("syscall", number, …)`.

    Arguments that are not given are 0; bytes have to live only for the call.
    """
    if function not in _functions:
        raise OSError(errno.ENOSYS, f"no {function} on this platform")
    result: int = _functions[function](*arguments, *[0] * (_ARITIES[function] - len(arguments)))
    if result == -1:
        code = ctypes.get_errno()
        raise OSError(code, f"{function}: {os.strerror(code)}")
    return result


def address(data: bytes) -> int:
    """Where `data` lies, as long as something else keeps it alive."""
    return ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value or 0
