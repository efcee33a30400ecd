"""What runs inside a worker: a model that the stub does not give, and looks at what a call left behind."""

import torch


def small_model(_module, weights, tell):
    """a model that is no Transformer, with a frozen weight; it calls `tell(ids, in train mode, builds a graph)`"""

    class Small(torch.nn.Module):
        def __init__(self):
            super().__init__()
            vocab, width = weights["words.weight"].shape
            self.words, self.norm = torch.nn.Embedding(vocab, width), torch.nn.LayerNorm(width)
            self.token_mix, self.head = torch.nn.Linear(width, width), torch.nn.Linear(width, vocab)
            self.frozen = torch.nn.Parameter(torch.full((vocab, vocab), 0.5), requires_grad=False)

        def forward(self, ids):
            h = self.token_mix(self.norm(self.words(ids)))
            logits = self.head(h) + self.frozen[ids]
            tell(ids, self.training, logits.requires_grad)
            return logits

    model = Small().double()
    model.load_state_dict(weights, strict=False)
    for weight in model.parameters():
        weight.grad = torch.ones_like(weight) if weight.requires_grad else None
    return model


def weights(_module, model):
    """the weights of the model afterwards"""
    return {name: weight.detach() for name, weight in model.named_parameters()}


def groups_by_name(module, model, weight_decay):
    """param_groups(model, weight_decay), with names for parameters"""
    names = {id(weight): name for name, weight in model.named_parameters()}
    groups = module.param_groups(model, weight_decay)
    return [{**group, "params": [names[id(weight)] for weight in group["params"]]} for group in groups]


def then_overwrite(module, name, logits, argument):
    """the filter, and then writing to what came back"""
    result = getattr(module, name)(logits, argument)
    copy = result.clone()
    result.fill_(7.0)
    return copy, logits


def random_state(_module):
    """the state of torch's own generator"""
    return torch.get_rng_state()


def trained(module, data, seed, steps):
    """the losses of a Transformer with weights of this seed, trained on a stream, and its loss on that stream"""
    generator, model = torch.Generator().manual_seed(seed), module.Transformer(32, 32, 4, 2).double()
    for name, weight in sorted(model.state_dict().items()):
        if "norm" not in name:
            weight.normal_(std=0.1, generator=generator)
    losses = module.train(model, data, steps, 1e-2, 1, 1.0, seed, 0.1, 4, 64)
    return losses, module.evaluate(model, data, 64)
