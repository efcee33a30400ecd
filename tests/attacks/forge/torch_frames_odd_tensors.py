"""Replies with tensors of dtypes that cannot be, sizes that overflow, gradients on integers, and devices elsewhere."""
# kata: toy-torch
# expect: double=error|failed loss=error|failed draw=error|failed
# checks: all
# with: frames


def double(x):
    names = {(): "quint8", (5,): "nn", (2, 3): "bits8", (4,): "float4_e2m1fn_x2"}
    answer(["T", names[tuple(x.shape)], [8], None, "cpu", 0, False], [bytes(8)])


def loss(x):
    send(["t", ["ok", ["T", "int64", [1], None, "cpu", 0, True], True, ["l", ["x"]]]], [bytes(8)])
    silence()


def draw(n, generator):
    answer(["T", "float32", [2**47, 2**47], [0, 0], "cuda:7", 0, False], [bytes(4)])
