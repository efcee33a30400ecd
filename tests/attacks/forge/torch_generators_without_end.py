"""Replies with a million generators that share one state: each would be made anew, of five kilobytes."""
# kata: toy-torch
# expect: double=error loss=error draw=error
# with: frames
import torch

STATE = torch.Generator().get_state().numpy().tobytes()


def double(x):
    answer(["l", [["G", "cpu", 0]] * 500_000], [STATE])


def loss(x):
    send(["t", ["ok", ["G", "cpu", 0], True, ["l", [["G", "cpu", 0]] * 500_000]]], [STATE])
    silence()


def draw(n, generator):
    send(["t", ["ok", None, ["l", [["G", "cpu", 0]] * 500_000], None]], [STATE])
    silence()
