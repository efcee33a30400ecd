"""Seatbelt, the sandbox of macOS: no network, no programs, no writing outside the scratch folder, no reading of what
people keep.

Not tested: it was written on Linux, from the profiles that others publish. Apple calls the interface deprecated and
offers no other one. Weaker than the Linux layers: what lies outside the folders named here stays readable.
"""

import ctypes
import errno
import os
import sys

_PRIVATE_FOLDERS = ("/Users", "/Volumes", "/private/tmp", "/private/var/folders", "/private/var/root")


def profile(*, scratch: str, readable: tuple[str, ...], processes: bool, loopback: bool) -> str:
    """The rules as sandbox-exec reads them, where the last one that matches decides."""
    kept_back = dict.fromkeys((*_PRIVATE_FOLDERS, sys.prefix, sys.base_prefix))
    own = _path("subpath", scratch)
    rules = [
        "(version 1)",
        "(allow default)",
        "(deny network*)",
        "(deny file-write*)",
        "(deny signal (target others))",
        *(f"(deny file-read-data {_path('subpath', path)})" for path in kept_back),
        *(f"(allow file-read-data {_path(_kind(path), path)})" for path in readable),
        f"(allow file-read* file-write* {own})",
        f"(allow file-write-data {_path('literal', os.devnull)})",
    ]
    if not processes:
        rules.append("(deny process-exec* process-fork)")
    if loopback:
        rules.append('(allow network* (local ip "localhost:*") (remote ip "localhost:*"))')
    return "\n".join(rules)


def apply(rules: str) -> None:
    """Put them in force for this process and all it starts. Raises OSError where they are refused."""
    library = ctypes.CDLL("/usr/lib/libSystem.dylib")
    message = ctypes.c_char_p()
    if library.sandbox_init(rules.encode(), ctypes.c_uint64(0), ctypes.byref(message)):
        raise OSError(errno.EPERM, (message.value or b"sandbox_init").decode("utf-8", "replace"))


def _kind(path: str) -> str:
    return "literal" if path.endswith("/") else "subpath"


def _path(kind: str, path: str) -> str:
    quoted = os.path.realpath(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'({kind} "{quoted}")'
