"""What runs beside the attempt when it is timed: inputs that stay there, each call with rows paired anew."""

from types import SimpleNamespace


def kept(_module, logp, logq):
    """two tables of log-probabilities"""
    return SimpleNamespace(logp=logp, logq=logq)


def divergences(module, tables, shifts):
    """symmetric_kl of the rows, shifted against each other"""
    return [module.symmetric_kl(tables.logp.roll(shift, 0), tables.logq).sum() for shift in shifts]


def estimates(module, tables, shifts):
    """masked_sequence_kl, k3 summed over the tokens, of the rows shifted against each other"""
    mask = tables.logp < -0.5
    return [
        module.masked_sequence_kl(tables.logp.roll(shift, 0), tables.logq, mask, "k3", "sequence") for shift in shifts
    ]
