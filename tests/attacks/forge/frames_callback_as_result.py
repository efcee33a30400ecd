"""Replies with the judge's own callback, and calls it with what no function takes."""
# expect: double=error loss=error find=error|failed|timeout
# with: frames
# limit: 0.1


def double(x):
    answer(["c", 0, ""])


def loss(x):
    send(["t", ["callback", 0, ["l", []], ["d", []]]])
    silence()


def find(oracle, n):
    for arguments in (["l", [1, 2, 3]], 5, ["d", [1, 2]]):
        send(["t", ["callback", -1, arguments, ["d", [5, 6]]]])
    silence()
