"""Sends back a generator whose counters point behind its state: drawing from it reads the judge's memory."""
# kata: toy-torch
# expect: double=failed loss=failed draw=error
# with: frames
import torch


def double(x):
    return x


def loss(x):
    return x.sum()


def draw(n, generator):
    numbers = torch.rand(n, generator=generator)
    state = bytearray(generator.get_state().numpy().tobytes())
    struct.pack_into("=iiQ", state, 8, 624, 1, 624)
    result = ["T", "float32", [n], None, "cpu", 0, False]
    send(["t", ["ok", result, ["l", [["G", "cpu", 1]]], None]], [numbers.numpy().tobytes(), bytes(state)])
    silence()
