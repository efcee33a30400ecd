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


def generated_by_torch(module, model, ids, count, seed):
    """generate(…) by torch's own generator, seeded anew where there is a seed"""
    if seed is not None:
        torch.manual_seed(seed)
    return module.generate(model, ids, count)


def seeded(module, sizes, seed):
    """TransformerLM(**sizes) in float64 with the weights of that seed"""
    made, generator = module.TransformerLM(**sizes).double(), torch.Generator().manual_seed(seed)
    for _, weight in sorted(made.named_parameters()):
        torch.nn.init.normal_(weight, std=0.1, generator=generator)
    return made


def learned(module, model, seed, size):
    """the loss of ids drawn from that seed, and the squared norm of its gradient by each parameter"""
    ids = torch.randint(model.tokens.num_embeddings, size, generator=torch.Generator().manual_seed(seed))
    model.zero_grad()
    loss = module.lm_loss(model(ids), ids)
    loss.backward()
    return torch.stack([loss.detach(), *(weight.grad.square().sum() for _, weight in sorted(model.named_parameters()))])
