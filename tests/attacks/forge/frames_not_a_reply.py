"""Replies with values that are no reply: a number, an empty tuple, too few values, another word, a map."""
# expect: double=error loss=error find=error
# checks: all
# with: frames


def double(x):
    send(5 if len(x) == 4 else ["t", []])
    silence()


def loss(x):
    send(["t", ["ok"]] if len(x) == 3 else ["t", ["passed", None, ["l", []], None]])
    silence()


def find(oracle, n):
    send(["d", ["verdict", "passed"]])
    silence()
