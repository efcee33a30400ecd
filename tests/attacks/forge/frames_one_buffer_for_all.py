"""Replies with one large buffer to which a hundred thousand values refer: each would be a copy."""
# expect: double=error loss=error find=error
# with: frames


def double(x):
    answer(["l", [["B", 0]] * 100_000], [bytes(4 * 2**20)])


loss = double


def find(oracle, n):
    double(0)
