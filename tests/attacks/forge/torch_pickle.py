"""Returns what unpickles to a call, and leaves files that whoever loads them would run."""
# kata: toy-torch
# expect: double=failed loss=failed draw=failed
import os
import pickle

import torch


class Bomb:
    def __reduce__(self):
        return (os.system, ("touch /tmp/kata-attack-was-run",))


class Module(torch.nn.Module):
    __reduce__ = Bomb.__reduce__


torch.save(torch.zeros(1), "state.pt")
with open("state.pkl", "wb") as file:
    file.write(pickle.dumps(Bomb()))


def double(x):
    return Bomb()


def loss(x):
    return Module()


def draw(n, generator):
    return pickle.dumps(Bomb())
