"""Announces buffers whose sizes add up to little in 64 bits."""
# expect: double=error loss=error find=error
# with: frames


def double(x):
    find_socket().sendall(struct.pack("<II4Q", 10, 4, *[2**62] * 4))
    silence()


def loss(x):
    find_socket().sendall(struct.pack("<IIQQ", 10, 2, 2**64 - 1, 11))
    silence()


def find(oracle, n):
    find_socket().sendall(struct.pack("<IIQ", 2**22 + 1, 1, 0))
    silence()
