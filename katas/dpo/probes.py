"""What runs inside a worker: models of kinds that the stub does not give, and a look at what training left behind."""

import torch


def model_with_gradient(module, table, grad, dropout=0.0):
    """TabularPolicy(table, dropout), whose .grad is not None"""
    model = module.TabularPolicy(table, dropout)
    model.table.grad = grad
    return model


def weights_and_gradients(_module, model):
    """train_dpo(policy, reference, batch, beta=…, lr=…, steps=…), then the weights and .grad of a model"""
    named = dict(model.named_parameters())
    gradients = {name: weight.grad for name, weight in named.items()}
    return {"weights": {name: weight.detach() for name, weight in named.items()}, "gradients": gradients}


def reference_elsewhere(_module, logits_of):
    """a reference model whose logits are `logits_of(ids, whether this pass builds a graph)`"""

    class Elsewhere(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.zero = torch.nn.Parameter(torch.zeros((), dtype=torch.float64))

        def forward(self, ids):
            zero = self.zero + 0
            return logits_of(ids, zero.requires_grad) + zero

    return Elsewhere()


def another_policy(_module, table, bias, tell_mode):
    """a policy that is no TabularPolicy: a table and a bias; each forward pass tells whether it runs in train mode"""

    class Biased(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.rows, self.bias = torch.nn.Parameter(table), torch.nn.Parameter(bias)

        def forward(self, ids):
            tell_mode(self.training)
            return self.rows[ids] + self.bias

    return Biased()


def transform_then_overwrite(module, pairs, unsafe_w, unsafe_l):
    """safedpo_transform(pairs, unsafe_w, unsafe_l), and then writing to what came back"""
    results = module.safedpo_transform(pairs, unsafe_w, unsafe_l)
    copies = tuple(result.clone() for result in results)
    for result in results:
        result.fill_(1)
    return copies, (pairs, unsafe_w, unsafe_l)


def trained(module, table, batch, steps):
    """train_dpo(policy, reference, batch, beta=0.5, lr=0.1, steps=…), then the policy's table"""
    policy, reference = module.TabularPolicy(table.clone()), module.TabularPolicy(table.flip(0))
    history = module.train_dpo(policy, reference, batch, beta=0.5, lr=0.1, steps=steps)
    return policy.table.detach().sum(), [step["loss"] for step in history]
