"""What runs inside a worker: training on a script, with notes on who was asked what, and a small policy for real."""

from dataclasses import dataclass, field
from itertools import product

import torch
from tiny_gpt import TinyGPT

EOS = 5


@dataclass
class Script:
    """A sampler and a reward function that answer from a list, and note what they were given."""

    model: torch.nn.Module
    answers: list
    sampled: list = field(default_factory=list)
    rewarded: list = field(default_factory=list)

    def sample(self, model, prompts, temperature):
        self.sampled.append((prompts.clone(), temperature, model is self.model, model.training))
        return self.answers[len(self.sampled) - 1][0]

    def reward_fn(self, ids, mask):
        self.rewarded.append((ids.clone(), mask.clone()))
        return self.answers[len(self.rewarded) - 1][1]


def noted_model(table, bias, passes, dropout, training):
    """A bigram model, steep, with an old .grad, whose passes are noted: rows, in train mode, with a graph."""

    class Noted(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.bias = torch.nn.Parameter(table), torch.nn.Parameter(bias)
            self.dropout = torch.nn.Dropout(dropout)

        def forward(self, ids):
            logits = 2 * (self.table[ids] + self.bias)
            passes.append((len(ids), self.training, logits.requires_grad))
            return self.dropout(logits)

    model = Noted().train(training)
    model.table.grad, model.bias.grad = torch.ones_like(table), -torch.ones_like(bias)
    return model


def after(model, result):
    weights = {name: weight.detach() for name, weight in model.named_parameters()}
    return {"result": result, "weights": weights, "training": model.training}


def warmed_on(module, start, demos, options, training):
    """sft_warmup(model, *demos, **options), then the model, and the demos; and the passes"""
    model = noted_model(*start, passes := [], 0.0, training)
    losses = module.sft_warmup(model, *demos, **options)
    return after(model, losses) | {"demos": demos}, passes


def trained_on(module, start, prompts, answers, config, dropout, training, calls):
    """train_grpo(model, prompts, sample, reward_fn, GRPOConfig(**config)), once or twice, then the model; and notes"""
    model = noted_model(*start, passes := [], dropout, training)
    for _ in range(calls):
        script = Script(model, answers)
        history = module.train_grpo(model, prompts, script.sample, script.reward_fn, module.GRPOConfig(**config))
    told = {"sampled": script.sampled, "rewarded": script.rewarded, "passes": passes}
    return after(model, history) | {"prompts": prompts, "answers": answers}, told


def evaluated_on(module, start, prompts, answer, options, training):
    """evaluate(model, prompts, sample, reward_fn, **options), then the model, and who was asked what"""
    model = noted_model(*start, [], 0.5, training)
    script = Script(model, [answer])
    result = module.evaluate(model, prompts, script.sample, script.reward_fn, **options)
    told = {"sampled": script.sampled, "rewarded": script.rewarded}
    return after(model, result) | {"prompts": prompts, "answer": answer} | told


def on_policy_loss(module, logp, *rest):
    """grpo_loss(logp, logp, …): one and the same tensor as logp and old_logp, then its gradient"""
    logp = logp.clone().requires_grad_()
    loss, stats = module.grpo_loss(logp, logp, *rest)
    return loss.detach(), stats, torch.autograd.grad(loss, logp)[0]


def twice(module, rewards, other):
    """group_relative_advantages(rewards), twice, the second time after `rewards` was overwritten"""
    first = module.group_relative_advantages(rewards)
    kept = first.clone()
    rewards.copy_(other)
    return first, kept, module.group_relative_advantages(rewards)


def prompt_pairs():
    """All 25 prompts of two symbols out of five."""
    return torch.tensor(list(product(range(EOS), repeat=2)))


def tiny_policy(_module, seed, state=None):
    """TinyGPT(6, 5, dim=16) with the weights of a seed, or with these"""
    torch.manual_seed(seed)
    policy = TinyGPT(EOS + 1, 5, dim=16)
    if state is not None:
        policy.load_state_dict(state)
    return policy


def warmed(module, seed):
    """a TinyGPT after sft_warmup on as many copies as reversals of two symbols"""
    policy, prompts = tiny_policy(module, seed), prompt_pairs()
    completions = torch.nn.functional.pad(torch.cat([prompts, prompts.flip(1)]), (0, 1), value=EOS)
    order = torch.randperm(len(completions), generator=torch.Generator().manual_seed(seed))
    module.sft_warmup(policy, prompts.repeat(2, 1)[order], completions[order], EOS, 80, 32, 1e-2)
    return policy


def sampler(seed):
    """`sample` that really draws, at most three tokens, with a generator of its own."""
    draws = torch.Generator().manual_seed(seed)

    @torch.no_grad()
    def sample(model, prompts, temperature):
        ids, alive, mask = prompts, torch.ones(len(prompts), dtype=torch.bool), []
        for _ in range(3):
            tokens = torch.multinomial((model(ids)[:, -1] / temperature).softmax(-1), 1, generator=draws).squeeze(-1)
            tokens = tokens.where(alive, EOS)
            ids = torch.cat([ids, tokens.unsqueeze(-1)], dim=1)
            mask.append(alive)
            alive = alive & (tokens != EOS)
        return ids, torch.stack(mask, dim=1)

    return sample


def reversed_exactly(ids, _mask):
    want = torch.nn.functional.pad(ids[:, :2].flip(1), (0, 1), value=EOS)
    return (ids[:, 2:] == want).all(dim=1).float()


def trained_to_reverse(module, policy, seed, config):
    """train_grpo(…, GRPOConfig(**config)), where a completion earns 1 if it reverses the prompt"""
    order = torch.randperm(25, generator=torch.Generator().manual_seed(seed))
    module.train_grpo(policy, prompt_pairs()[order], sampler(seed + 1), reversed_exactly, module.GRPOConfig(**config))


def chances(module, state):
    """of every completion of three tokens of all prompts: its log-probability (25, 156), and whether it reverses"""
    prompts, endings = prompt_pairs(), torch.tensor(list(product(range(EOS + 1), repeat=3)))
    settled = (endings != EOS) | (endings.roll(-1, dims=1) == EOS) | (torch.arange(3) == 2)  # EOS stays EOS
    endings = endings[settled.all(dim=1)]
    ids = torch.cat([prompts.repeat_interleave(len(endings), dim=0), endings.repeat(len(prompts), 1)], dim=1)
    with torch.no_grad():
        logps = tiny_policy(module, 0, state)(ids)[:, 1:-1].double().log_softmax(dim=-1)
    logps = logps.gather(-1, ids[:, 2:].unsqueeze(-1)).squeeze(-1) * module.completion_mask(ids[:, 2:], EOS)
    return logps.sum(dim=1).view(len(prompts), -1), reversed_exactly(ids, None).view(len(prompts), -1)


def stepped(module, config, table, prompts, completions, rewards):
    """train_grpo with completions and rewards that are known beforehand, then the sum of the weights"""
    model = torch.nn.Embedding.from_pretrained(table.clone(), freeze=False)
    ids = torch.cat([prompts.repeat_interleave(config["group_size"], dim=0), completions], dim=1)
    script = Script(model, [((ids, torch.ones_like(completions).bool()), rewards)] * config["steps"])
    history = module.train_grpo(model, prompts, script.sample, script.reward_fn, module.GRPOConfig(**config))
    return [step["loss"] for step in history], model.weight.detach().sum()


def many_advantages(module, seed):
    """group_relative_advantages(rewards), 25,000 rows of eight; what each column sums to"""
    rewards = torch.randint(0, 11, (25_000, 8), generator=torch.Generator().manual_seed(seed)).double() / 10
    rewards[::5] = 0.1
    return module.group_relative_advantages(rewards).sum(dim=0)
