"""Asks for callbacks without waiting for their answers, each as large as travels: all are remembered."""
# expect: double=error loss=error find=error|timeout
# with: frames
# limit: 0.5


def find(oracle, n):
    call = packed(["t", ["callback", 0, ["l", ["x" * 60_000] * 60], ["d", []]]])
    sock = find_socket()
    while True:
        sock.sendall(call)
        sock.recv(2**16)


def double(x):
    find(None, 0)


loss = double
