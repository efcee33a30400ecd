"""What runs inside a worker: policies of other kinds, a look at what training left behind, and files."""

import io
import itertools
import warnings
from pathlib import Path

import torch


def policy(_module, table, reads, tell, training):
    """a policy: logits are table[token], table[place, token] or table[hash of all so far]; `tell` hears of each pass"""

    class Policy(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.rest = torch.nn.Parameter(table[:3].clone()), torch.nn.Parameter(table[3:].clone())

        def forward(self, ids):
            places, table = torch.arange(ids.shape[1]), torch.cat([self.first, self.rest])
            if reads == "all":
                logits = table[((ids + 1) * (places + 1) ** 2).cumsum(dim=1) % len(table)]
            else:
                logits = table[ids] if reads == "token" else table[places, ids]
            if tell is not None:
                tell((ids, (self.training, logits.requires_grad)))
            return logits

    return Policy().train(training)


def training_parts(_module, model, settings):
    """(optimizer, scheduler) for a policy, which has old gradients"""
    for weight in model.parameters():
        weight.grad = torch.ones_like(weight)
    optimizer = torch.optim.SGD(model.parameters(), lr=settings["lr"], momentum=settings["momentum"])
    return optimizer, torch.optim.lr_scheduler.ExponentialLR(optimizer, settings["gamma"])


def left_global_generator(module, args, settings):
    """sample_rollouts(…); did it leave torch's global generator alone?"""
    before = torch.get_rng_state()
    module.sample_rollouts(*args, **settings)
    return torch.equal(before, torch.get_rng_state())


def weights(_module, state):
    """the weights of state.model"""
    return {name: weight.detach().clone() for name, weight in state.model.named_parameters()}


def use_one_thread(_module):
    """torch.set_num_threads(1)"""
    torch.set_num_threads(1)


def seed_global_generator(_module, seed):
    """torch.manual_seed(seed)"""
    torch.manual_seed(seed)


def mean_reward(module, cfg, trained, seed):
    """the mean reward of 32 completions of every prompt, by a TinyGPT with these weights"""
    state, letters = module.make_state(cfg, 0), range(module.FIRST_LETTER, module.FIRST_LETTER + cfg.letters)
    state.model.load_state_dict(trained)
    prompts = torch.tensor([[module.BOS, *target] for target in itertools.product(letters, repeat=cfg.target_len)])
    settings = {"temperature": 1.0, "eos_id": module.EOS, "pad_id": module.PAD}
    settings["generator"] = torch.Generator().manual_seed(seed)
    ids, _ = module.sample_rollouts(state.model, prompts, 32, cfg.max_new_tokens, **settings)
    start = prompts.shape[1]
    rows = [(row[start:], row[1:start], module.EOS) for row in ids.tolist()]
    return sum(module.substring_reward(*row) for row in rows) / len(rows)


def moved(_module, old, new):
    """the checkpoint is moved to another place"""
    Path(old).rename(new)


def readable(_module, content):
    """can torch.load(…, weights_only=True) read it?"""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.load(io.BytesIO(content), weights_only=True)
    except Exception:
        return False
    return True


def rollouts_of(module, model, prompts, group_size, new):
    """the greedy sample_rollouts(model, prompts, group_size, new, …)"""
    settings = {"temperature": 0, "eos_id": None, "pad_id": 0, "generator": torch.Generator()}
    ids, mask = module.sample_rollouts(model, prompts, group_size, new, **settings)
    return ids.sum(dim=1), mask.sum()


def loss_and_gradient(module, seed, mask, prompt_len, vocab):
    """the loss of random logits, and the sum of its gradient's squares"""
    generator, (rows, count) = torch.Generator().manual_seed(seed), mask.shape
    logits = (4 * torch.rand(rows, prompt_len + count, vocab, generator=generator)).requires_grad_()
    ids = torch.randint(vocab, logits.shape[:2], generator=generator)
    advantages = torch.randn(rows, generator=generator)
    settings = {"entropy_coef": 0.1, "temperature": 0.8}
    loss, _ = module.reinforce_loss(logits, ids, mask, advantages, prompt_len, **settings)
    (grad,) = torch.autograd.grad(loss, logits)
    return loss.detach(), grad.square().sum()


def tiny_gpt(module, cfg, seed):
    """the model of make_state(cfg, seed)"""
    return module.make_state(cfg, seed).model
