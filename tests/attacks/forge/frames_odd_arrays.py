"""Replies with arrays whose shape, strides, size or dtype do not belong together."""
# expect: double=error loss=error find=error
# checks: all
# with: frames

ODD = (
    ["n", "<f8", [5], [10**9], 0],
    ["n", "<f8", [2**47], [0], 0],
    ["n", "<f8", [-1], None, 0],
    ["n", "<f8", [1] * 33, None, 0],
    ["n", "<f8", [2], [1, 1], 0],
    ["n", "<f8", [1], None, 7],
    ["n", "<f8", [1], None, -1],
    ["n", "V8", [1], None, 0],
    ["n", "M8[s]", [1], None, 0],
    ["n", "(2,2)<f2", [1], None, 0],
    ["n", "f8,f8", [1], None, 0],
    ["n", "<U0", [2**47], [0], 0],
    ["n", "no such dtype" * 99, [1], None, 0],
    ["n", {"names": ["a"]}, [1], None, 0],
    ["T", "float32", [2], None, "cpu", 0, False],
)


def double(x):
    answer(ODD[len(x) % len(ODD)], [bytes(8)])


def loss(x):
    answer(ODD[(len(x) + 2) % len(ODD)], [bytes(8)])


def find(oracle, n):
    oracle(["odd"])
    answer(ODD[1], [bytes(8)])
