"""Closes, shuts down and duplicates over the socket, so that a missing reply may be taken for a good one."""
# expect: double=crashed loss=crashed find=crashed|error
# process: same
# with: frames


def double(x):
    find_socket().shutdown(socket.SHUT_RDWR)


def loss(x):
    null = os.open(os.devnull, os.O_RDWR)
    for number in range(3, 256):
        if number != null:
            os.dup2(null, number) if number < 64 else None


def find(oracle, n):
    os.closerange(0, 256)
    return 3
