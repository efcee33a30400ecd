"""What runs inside a worker: policies of any config and weights, a look at them, and one step of an optimizer."""

import torch
from transformers import GPT2Config, GPT2LMHeadModel

TINY = {"vocab_size": 11, "n_positions": 24, "n_embd": 12, "n_layer": 2, "n_head": 3, "pad_token_id": 0}
PLAIN = {"bos_token_id": 1, "eos_token_id": 2, "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}


def policy_of(module, seed, dtype, config, scale):
    """GPT2Policy of a GPT2LMHeadModel with this config and the weights of that seed"""
    model = GPT2LMHeadModel(GPT2Config(**TINY | PLAIN | config))
    change_weights(module, model, seed, scale)
    return module.GPT2Policy(model.to(dtype))


def change_weights(_module, model, seed, scale=0.5):
    """other weights, written into the parameters of the model"""
    generator = torch.Generator().manual_seed(seed)
    for name, weight in sorted(model.named_parameters()):
        norm = "ln_" in name and name.endswith("weight")
        torch.nn.init.normal_(weight, mean=1.0 if norm else 0.0, std=scale, generator=generator)


def load_weights(_module, model, weights):
    """these weights, written into the parameters of the model"""
    for name, weight in model.named_parameters():
        weight.data.copy_(weights[name])


def settings(_module, model, names):
    """these settings of the model's config"""
    return {name: getattr(model.config, name) for name in names}


def state(_module, model):
    """weights, gradients, which weights require one, and the mode of every module inside"""
    named = dict(model.named_parameters())
    return {
        "weights": {name: weight.detach().clone() for name, weight in named.items()},
        "gradients": {name: None if weight.grad is None else weight.grad.clone() for name, weight in named.items()},
        "trainable": {name: weight.requires_grad for name, weight in named.items()},
        "training": {name: inner.training for name, inner in model.named_modules()},
    }


def library_reads(module, folder):
    """the weights that GPT2LMHeadModel.from_pretrained(folder) reads, by the names they have in a policy"""
    return state(module, module.GPT2Policy(GPT2LMHeadModel.from_pretrained(folder)))["weights"]


def logprob_gradients(_module, policy, upstream, args):
    """the gradients of (policy.token_logprobs(…) · upstream).sum() by the weights, which hold them afterwards"""
    policy.zero_grad()
    (policy.token_logprobs(*args) * upstream).sum().backward()
    return {name: weight.grad.clone() for name, weight in policy.named_parameters()}


def watched(_module, policy, args, options):
    """policy.generate(…): what it returns, the columns fed to each pass, and all (train mode, builds a graph) seen"""
    widths, modes = [], set()

    def look(_layer, args, states):
        widths.append(args[0].shape[-1])
        modes.add((policy.model.transformer.drop.training, states.requires_grad))

    hook = policy.model.transformer.wte.register_forward_hook(look)
    try:
        return policy.generate(*args, **options), widths, sorted(modes)
    finally:
        hook.remove()


def leaves_global_generator(module, owner, name, args, options):
    """the call (of `owner`, or of the module), and whether torch's global generator is where it was before"""
    before = torch.get_rng_state()
    getattr(owner or module, name)(*args, **options)
    return torch.equal(before, torch.get_rng_state())


def refused(_module, policy, args, options):
    """policy.generate(…): whether it is a ValueError, and how many forward passes went before"""
    passes = []
    hook = policy.model.transformer.wte.register_forward_hook(lambda *_: passes.append(1))
    try:
        policy.generate(*args, **options)
    except ValueError:
        return True, len(passes)
    finally:
        hook.remove()
    return False, len(passes)


def rewards(module, policy, prompts, group, count, generator):
    """of `group` completions of each prompt the shares of tokens that repeat its first letter"""
    return _rolled_out(module, policy, prompts, group, count, generator)[0]


def trained(module, model, steps, group, count, lr, generator):
    """the weights after REINFORCE with Adam: left_pad, generate and token_logprobs for the prompts of each step"""
    policy = module.GPT2Policy(model)
    optimizer = torch.optim.Adam(policy.parameters(), lr)
    for prompts in steps:
        scores, ids, mask, new = _rolled_out(module, policy, prompts, group, count, generator)
        groups = scores.view(-1, group)
        advantages = (groups - groups.mean(1, keepdim=True)) / (groups.std(1, keepdim=True) + 1e-4)
        logprobs = policy.token_logprobs(ids, torch.cat([mask, new], dim=1), mask.shape[1])
        optimizer.zero_grad()
        (-(logprobs * advantages.view(-1, 1) * new / new.sum()).sum()).backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
        optimizer.step()
    return state(module, model)["weights"]


def _rolled_out(module, policy, prompts, group, count, generator):
    """Rewards, and what token_logprobs takes: the very ids that generate returned, the mask of prompts, that behind."""
    rows = [prompt for prompt in prompts for _ in range(group)]
    ids, mask, _ = module.left_pad(rows, 0)
    out, new = policy.generate(ids, mask, count, eos_id=2, generator=generator)
    wanted = torch.tensor([row[1] for row in rows])[:, None]
    return ((out[:, -count:] == wanted) & new.bool()).float().mean(dim=1), out, mask, new.long()


def logprob_norm(module, policy, upstream, args):
    """the norm of the gradients of (policy.token_logprobs(…) · upstream).sum() by the weights"""
    grads = logprob_gradients(module, policy, upstream, args)
    return torch.stack([grad.norm() for grad in grads.values()])
