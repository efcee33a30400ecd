"""Looks at checkpoints and at the process."""

import sys

import torch


def contents(_module, path):
    return sorted(torch.load(path, weights_only=True))


def leave_a_mark(_module):
    sys.marked = True


def marked(_module):
    return hasattr(sys, "marked")
