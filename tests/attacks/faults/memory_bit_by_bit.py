"""Takes memory bit by bit, writes to all of it, and keeps it where the exception does not let it go."""
# expect: double=memory|crashed loss=memory|crashed find=passed
# process: same
# with: right
import mmap

held = []


def double(x):
    while True:
        held.append(bytearray(b"x" * 2**20))


def loss(x):
    while True:
        held.append(mmap.mmap(-1, 2**26))
        held[-1].write(b"x")
