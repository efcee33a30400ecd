"""Sends descriptors of its own over the socket, hundreds of them, for the judge to run out of its own."""
# expect: double=timeout|failed|error loss=timeout|failed|error find=timeout|failed|error
# limit: 0.1
# with: frames
import array
import contextlib

sock = find_socket()
null = os.open(os.devnull, os.O_RDONLY)


def flood(message):
    with contextlib.suppress(OSError):
        sock.sendmsg([message], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [null] * 250))])


def double(x):
    frame = packed(reply(0.0))
    for byte in frame:
        flood(bytes([byte]))
    silence()


def loss(x):
    return double(x)


def find(oracle, n):
    return double(n)
