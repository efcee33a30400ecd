"""Sends bytes out of band, which a reader is woken for and never gets."""
# expect: double=timeout|error|crashed|failed loss=timeout|error|crashed|failed find=timeout|error|crashed|failed
# with: frames
# limit: 0.05


def double(x):
    sock = find_socket()
    for byte in packed(reply(0.0)):
        sock.send(bytes([byte]), socket.MSG_OOB)
    silence()


def loss(x):
    find_socket().send(b"x", socket.MSG_OOB)
    silence()


def find(oracle, n):
    sock = find_socket()
    sock.send(packed(reply(0.0)), socket.MSG_OOB)
    sock.shutdown(socket.SHUT_WR)
    silence()
