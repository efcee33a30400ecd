"""Replies before it is asked: to its own loading, and to every call that may come."""
# expect: double=error|failed loss=error|failed find=error|failed
# process: same
# with: frames

for _ in range(20):
    send(["t", ["ok"]])
    send(reply(0.0))


def double(x):
    return x


loss = find = double
