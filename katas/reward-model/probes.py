"""What runs inside a worker: scorers with given weights, scorers that tell what they see, and looks at what is left."""

import torch


def loaded(module, sizes, weights, training=True):
    """RewardModel(**sizes) with these weights, in their dtype"""
    model = module.RewardModel(**sizes).to(weights["head.weight"].dtype).train(training)
    model.load_state_dict(weights)
    return model


def drawn(module, sizes, seed):
    """RewardModel(**sizes) with the weights of that seed"""
    model, generator = module.RewardModel(**sizes).double(), torch.Generator().manual_seed(seed)
    for _, weight in sorted(model.named_parameters()):
        torch.nn.init.normal_(weight, std=0.2, generator=generator)
    return model


def scored_in_modes(_module, model, ids, mask):
    """the scores in train and in eval mode, with a graph, under no_grad and in inference_mode; the mode afterwards"""
    results = {}
    for mode in ("train", "eval"):
        for name, grad in (
            ("grad", torch.enable_grad),
            ("no_grad", torch.no_grad),
            ("inference", torch.inference_mode),
        ):
            model.train(mode == "train")
            with grad():
                results[f"{mode}, {name}"] = model(ids, mask).detach().clone(), model.training
    return results


def scored_again(_module, model, ids, mask, other_ids, other_mask, weights):
    """the scores of one and the same ids and mask: at first, with new content, with new weights"""
    ids, mask = ids.clone(), mask.clone()
    first = model(ids, mask)
    ids.copy_(other_ids)
    mask.copy_(other_mask)
    second = model(ids, mask)
    model.load_state_dict(weights)
    return first.detach(), second.detach(), model(ids, mask).detach()


def parameter_gradients(_module, model, ids, mask, upstream):
    """the gradients of (model(ids, mask) * upstream).sum() by the model's parameters"""
    model.zero_grad()
    (model(ids, mask) * upstream).sum().backward()
    return {name: weight.grad for name, weight in model.named_parameters()}


def told_scorer(_module, table, bias, tell=None, grad=None):
    """a scorer that is no RewardModel: the worth of the tokens, summed and bent, + head.bias; it tells what it sees"""

    class Told(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.table = torch.nn.Parameter(table.clone())
            self.head = torch.nn.Linear(1, 1)
            self.head.weight, self.head.bias = torch.nn.Parameter(bias[:, None] * 0 + 1), torch.nn.Parameter(bias)

        def forward(self, ids, mask):
            worth = self.head((self.table[ids] * mask).sum(dim=1, keepdim=True).tanh()).squeeze(-1)
            if tell is not None:
                tell(ids, mask, self.training, worth.requires_grad)
            return worth

    model = Told()
    for weight in model.parameters():
        weight.grad = None if grad is None else torch.full_like(weight, grad)
    return model


def left_behind(_module, model):
    """the weights and .grad of a model, and whether it is in train mode"""
    named = dict(model.named_parameters())
    weights = {name: weight.detach() for name, weight in named.items()}
    return {"weights": weights, "grad": {name: w.grad for name, w in named.items()}, "training": model.training}


def bias_kept(module, model, seqs, frozen):
    """calibrate(model, seqs, pad_id=0): whether head.bias is the object it was, and requires a gradient as before"""
    bias = model.head.bias
    bias.requires_grad_(not frozen)
    module.calibrate(model, seqs, pad_id=0)
    return model.head.bias is bias, bias.requires_grad, bias.is_leaf


def learned(module, model, seed, rows, width):
    """the loss of pairs of random lengths drawn from that seed, and the squared norm of its gradient by each weight"""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(model.embed.num_embeddings, (2 * rows, width), generator=generator)
    lengths = torch.randint(1, width + 1, (2 * rows, 1), generator=generator)
    model.zero_grad()
    loss = module.bt_loss(*model(ids, torch.arange(width) >= width - lengths).chunk(2))
    loss.backward()
    return torch.stack([loss.detach(), *(w.grad.square().sum() for _, w in sorted(model.named_parameters()))])


def scored(_module, model, seed, rows, width):
    """the scores of rows of random lengths drawn from that seed, in eval mode and without a graph"""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(model.embed.num_embeddings, (rows, width), generator=generator)
    lengths = torch.randint(1, width + 1, (rows, 1), generator=generator)
    with torch.no_grad():
        return model.eval()(ids, torch.arange(width) >= width - lengths)
