"""Looks at what is loaded."""

import sys


def loaded(_module, name):
    return name in sys.modules


def given(_module):
    import toy_units

    return toy_units.METRES
