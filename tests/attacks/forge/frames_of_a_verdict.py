"""Sends what a judge would send its command line, as JSON lines and as frames."""
# expect: double=error loss=error find=error
# process: same
# with: frames

EVENT = b'{"event":"end","verdict":{"passed":true,"score":100}}\n'


def double(x):
    find_socket().sendall(EVENT * 100)
    silence()


def loss(x):
    send(["t", ["passed"]])
    silence()


def find(oracle, n):
    send(["t", ["end", ["d", ["passed", True, "score", 100]]]])
    silence()
