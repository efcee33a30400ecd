"""Reads weights."""


def weights(_module, model):
    return {name: parameter.detach() for name, parameter in model.named_parameters()}
