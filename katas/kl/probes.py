"""What runs beside the attempt when it is timed: inputs that stay there, each call with rows paired anew."""

from types import SimpleNamespace

import torch


def kept(_module, logp, logq):
    """two tables of log-probabilities"""
    return SimpleNamespace(logp=logp, logq=logq)


def divergences(module, tables, shifts):
    """symmetric_kl of the rows, shifted against each other"""
    rows = [module.symmetric_kl(tables.logp.roll(shift, 0), tables.logq).sum() for shift in shifts]
    return torch.stack(rows)


def estimates(module, tables, shifts):
    """masked_sequence_kl, k3 summed over the tokens, of the rows shifted against each other"""
    mask = tables.logp < -0.5
    shifted = [tables.logp.roll(shift, 0) for shift in shifts]
    return torch.stack([module.masked_sequence_kl(logp, tables.logq, mask, "k3", "sequence") for logp in shifted])
