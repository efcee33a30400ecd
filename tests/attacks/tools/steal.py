# What a thief says: a line for each thing that it got. A test puts PATHS, PIDS, PORT, … and what to look for before it.
import contextlib
import os

GOT = []
HIDDEN = [bytes(byte ^ 0x5A for byte in canary) for canary in CANARIES]
"""The canaries themselves are never in this process, unless they were before."""


def got(what):
    GOT.append(str(what))


def canaries(data):
    """Which canaries are in these bytes, by number."""
    return [number for number, canary in enumerate(HIDDEN) if bytes(byte ^ 0x5A for byte in canary) in data]


def canaries_masked(data):
    """The same of a large piece of memory, without ever writing a canary down."""
    masked = data.translate(bytes(byte ^ 0x5A for byte in range(256)))
    return [number for number, canary in enumerate(CANARIES) if canary in masked]


@contextlib.contextmanager
def trying(what):
    """What raises inside was not got."""
    try:
        yield
    except (OSError, ImportError, AttributeError, ValueError, TypeError, LookupError, SyntaxError, MemoryError):
        return
    got(what)


def tell():
    print("TRIED", *(f"GOT {what}" for what in GOT), sep="\n", flush=True)


def double(x):
    steal()
    tell()
    return x


loss = find = double
if __name__ == "__main__":
    import atexit

    atexit.register(lambda: double(0))
