"""What runs inside a worker: models of kinds that the stub does not give, and looks at what a call left behind."""

import torch


def scripted_model(_module, logits_of, max_len):
    """a model whose logits are `logits_of(ids, whether in train mode, whether this pass builds a graph)`"""

    class Scripted(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.max_len = max_len
            self.zero = torch.nn.Parameter(torch.zeros((), dtype=torch.float64))

        def forward(self, ids):
            zero = self.zero + 0
            return logits_of(ids, self.training, zero.requires_grad) + zero

    return Scripted()


def bigram_model(_module, table, bias, tell_mode):
    """a model that is no TransformerLM: a table and a bias, steep; each forward pass tells whether in train mode"""

    class Bigram(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.bias = torch.nn.Parameter(table), torch.nn.Parameter(bias)

        def forward(self, ids):
            tell_mode(self.training)
            return 8 * (self.table[ids] + self.bias)

    model = Bigram()
    model.table.grad, model.bias.grad = torch.ones_like(table), -torch.ones_like(bias)
    return model


def weights(_module, model):
    """the weights of the model after training"""
    return {name: weight.detach() for name, weight in model.named_parameters()}


def random_state(_module):
    """the state of torch's own generator"""
    return torch.get_rng_state()
