"""Computes a power that takes years, in one call of C that holds the interpreter."""
# expect: double=timeout loss=passed find=passed
# with: right
# limit: 0.3


def double(x):
    return 3 ** (10**9)
