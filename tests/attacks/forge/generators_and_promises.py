"""Returns what computes only when it is looked at: generators, properties, partial functions, the argument itself."""
# expect: double=failed loss=failed find=failed
import functools


def double(x):
    yield from 2 * x


def loss(x):
    return functools.partial(lambda: float((x**2).mean()))


def find(oracle, n):
    return oracle
