"""Announces what nobody could hold: a head of 4 GB, a buffer of 10 GB, four thousand million buffers."""
# expect: double=error loss=error find=error
# process: same
# with: frames


def double(x):
    find_socket().sendall(struct.pack("<II", 2**32 - 1, 0))
    silence()


def loss(x):
    find_socket().sendall(struct.pack("<IIQ", 10, 1, 10 * 2**30))
    silence()


def find(oracle, n):
    find_socket().sendall(struct.pack("<II", 10, 2**32 - 1))
    silence()
