"""Raises what a person at the keyboard would, and what a generator is closed with."""
# expect: double=error loss=error find=error


def double(x):
    raise KeyboardInterrupt


def loss(x):
    raise GeneratorExit


def find(oracle, n):
    raise BaseException("neither one nor the other")
