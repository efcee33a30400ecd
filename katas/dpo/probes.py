"""What runs inside a worker: it returns data, and holds no expected value."""

import torch


def table_state(_module, model):
    """The parameter of a `TabularPolicy` and what its .grad holds."""
    return {"table": model.table.detach().clone(), "grad": model.table.grad}


def train_against_oracle(module, table, logits_of, batch, beta, lr, steps):
    """Train a fresh policy against a reference whose weights are elsewhere: its forward pass asks `logits_of(ids)`."""

    class Oracle(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.table = torch.nn.Parameter(torch.zeros_like(table))

        def forward(self, ids):
            return logits_of(ids)

    return module.train_dpo(module.TabularPolicy(table), Oracle(), batch, beta=beta, lr=lr, steps=steps)
