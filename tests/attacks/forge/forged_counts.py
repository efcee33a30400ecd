"""Asks a hundred questions, and hides it: from another thread, through the frame, and by resetting counters."""
# expect: double=failed loss=failed find=failed
import gc


def double(x):
    return x


def loss(x):
    return 0.0


def find(oracle, n):
    answers = {}
    for guess in range(n):
        answers[guess] = oracle(guess)
    for thing in gc.get_objects():
        if isinstance(thing, list) and len(thing) == n:
            thing.clear()
    return next(guess for guess, told in answers.items() if told == 0)
