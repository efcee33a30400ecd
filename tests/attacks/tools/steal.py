# What a thief says: a line for each thing that it got. A test puts PATHS, PIDS, PORT, … and what to look for before it.
import contextlib
import os

GOT = []


def got(what):
    GOT.append(str(what))


def canaries(data):
    """Which canaries are in these bytes, by number. None is ever written down here: of each, the rest is masked."""
    return [number for number, canary in enumerate(CANARIES) if any(matches(data, *canary))]


def matches(data, beginning, rest):
    place = data.find(beginning)
    while place >= 0:
        after = data[place + len(beginning) : place + len(beginning) + len(rest)]
        yield len(after) == len(rest) and all(a ^ 0x5A == b for a, b in zip(after, rest))
        place = data.find(beginning, place + 1)


@contextlib.contextmanager
def trying(what):
    """What raises inside was not got."""
    try:
        yield
    except Exception:
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
