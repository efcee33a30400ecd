"""Returns a dataclass with a field `__array_interface__` that points NumPy at memory of the judge's."""
# kata: toy-careless
# expect: careless=failed|error|passed
import dataclasses

Bait = dataclasses.make_dataclass("Bait", ["__array_interface__", "__array__", "__float__"])


def report():
    where = {"data": (8, False), "shape": (3,), "typestr": "<f8", "version": 3}
    return Bait(where, lambda *_: [1, 2, 3], 1.0)


def encode(text):
    return Bait({"data": (8, False), "shape": (3,), "typestr": "<f8", "version": 3}, lambda: 1, 1.0)


decode = square = answer = encode
