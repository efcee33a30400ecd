"""Raises in the protocol's own words, but with a report that is a number, and no report at all."""
# expect: double=error loss=error find=error
# with: frames


def double(x):
    send(["t", ["raise", 5]])
    silence()


def loss(x):
    send(["t", ["raise"]])
    silence()


def find(oracle, n):
    send(["t", ["raise", ["d", ["kind", "passed"]]]])
    silence()
