"""Replies a byte at a time, often enough that the judge always has something to read, for hours."""
# expect: double=timeout loss=timeout find=timeout
# process: same
# with: frames
# limit: 0.1
# within: 8


def double(x):
    sock = find_socket()
    for byte in packed(reply(["B", 0]), [bytes(2**20)]):
        sock.send(bytes([byte]))
        time.sleep(0.02)


loss = double


def find(oracle, n):
    double(0)
