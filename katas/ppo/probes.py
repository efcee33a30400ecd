"""What runs inside a worker: whole trainings, on scripted rollouts of tables and on sampled ones of a transformer."""

import torch
from pair_scorer import PairScorer
from tiny_gpt import TinyGPT
from torch import nn

LETTERS, EOS, BOS, VOCAB = 6, 6, 7, 8
LENGTH = 4
NOISE, RATED = 0.2, 600


class Observed(nn.Module):
    """A bigram model that notes how it is called: rows, train mode, whether a graph is built."""

    def __init__(self, name, table, dropout, events):
        super().__init__()
        self.table, self.dropout = nn.Parameter(table.clone()), nn.Dropout(dropout)
        self.name, self.events = name, events

    def forward(self, ids):
        logits = self.dropout(self.table[ids])
        self.events.append((self.name, len(ids), self.training, logits.requires_grad))
        return logits


class Doubling:
    """A KL coefficient that doubles with every update, and notes what it is told."""

    def __init__(self, value, events):
        self.value, self.events = value, events

    def update(self, kl, n):
        self.events.append(("kl", kl, n))
        self.value *= 2


def scripted(module, given, options):
    """rlhf_train with a bigram policy, a PairScorer, SGD and these rollouts, one batch an update"""
    events, batches, dropout = [], iter(given["rollouts"]), options.get("dropout", 0.0)
    policy, ref = (
        Observed(name, given[table], dropout, events) for name, table in (("policy", "table"), ("ref", "anchor"))
    )
    for model, mode in zip((policy, ref), options.get("modes", (True, True)), strict=True):
        model.train(mode).table.grad = options["stale"].clone() if "stale" in options else None
    scorer, controller = PairScorer(given["weights"]), Doubling(given["value"], events)

    def sample(model):
        events.append(("sample", model is policy, model.training))
        return next(batches)

    def rm(ids, mask):
        scores = scorer(ids, mask)
        events.append(("rm", ids, mask, scores.requires_grad))
        return scores

    optimizer = torch.optim.SGD(policy.parameters(), lr=given["lr"], momentum=options.get("momentum", 0.0))
    before = torch.get_rng_state()
    cfg, generator = module.PPOConfig(**given["cfg"]), torch.Generator().manual_seed(options.get("seed", 0))
    history = module.rlhf_train(policy, ref, rm, sample, optimizer, controller, cfg, generator)
    return {
        "history": history,
        "weights": policy.table.detach(),
        "reference": (ref.table.detach(), ref.table.grad),
        "modes": (policy.training, ref.training),
        "global randomness": bool((before != torch.get_rng_state()).any()),
        "events": events,
    }


def sampled(module, seed, kl_coef, updates):
    """rlhf_train of a TinyGPT against a PairScorer fitted to noisy ratings, with Adam; then the policy's weights"""
    torch.set_num_threads(1)  # two threads wait for each other on tensors this small
    generator = torch.Generator().manual_seed(seed)
    policy, ref = _start(seed), _start(seed)
    ids, mask = _sampler(generator, RATED)(ref)
    ratings = _true_scores(ids, mask) + NOISE * torch.randn(RATED, generator=generator)
    rm = PairScorer.fit(ids, torch.cat([mask.new_ones(RATED, 2), mask], dim=1), ratings, VOCAB)
    optimizer = torch.optim.Adam(policy.parameters(), lr=0.01)
    cfg = module.PPOConfig(updates=updates, minibatch=32)
    module.rlhf_train(policy, ref, rm, _sampler(generator, 64), optimizer, module.FixedKL(kl_coef), cfg, generator)
    return {name: weight.detach() for name, weight in policy.named_parameters()}


@torch.no_grad()
def examined(_module, seed, weights):
    """the mean true score of 1000 fresh rollouts of a policy with these weights or its first ones, and its KL"""
    ref, policy = _start(seed), _start(seed)
    if weights is not None:
        policy.load_state_dict(weights)
    ids, mask = _sampler(torch.Generator().manual_seed(seed + 1), 1000)(policy)
    logp, ref_logp = (model(ids)[:, 1:-1].log_softmax(-1) for model in (policy, ref))
    kl = (logp.exp() * (logp - ref_logp)).sum(-1)
    return float(_true_scores(ids, mask).mean()), float((kl * mask).sum(1).mean())


def _start(seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return TinyGPT(VOCAB, 2 + LENGTH, dim=16)


def _sampler(generator, rows):
    """Prompts of BOS and a letter, and completions of up to LENGTH tokens."""

    @torch.no_grad()
    def sample(policy):
        letters = torch.randint(LETTERS, (rows,), generator=generator)
        ids, alive, masks = torch.stack([torch.full((rows,), BOS), letters], dim=1), torch.ones(rows).bool(), []
        for _ in range(LENGTH):
            token = torch.multinomial(policy(ids)[:, -1].softmax(-1), 1, generator=generator)
            ids = torch.cat([ids, token.where(alive[:, None], torch.tensor(EOS))], dim=1)
            masks.append(alive)
            alive = alive & (ids[:, -1] != EOS)
        return ids, torch.stack(masks, dim=1)

    return sample


def _true_scores(ids, mask):
    """What people want, which the reward model only learned: each letter followed by the next one of the alphabet."""
    follows = (ids[:, 2:] == (ids[:, 1:-1] + 1) % LETTERS) & (ids[:, 1:-1] < LETTERS)
    return (follows & mask).sum(dim=1).float()


def trained(module, seed, updates):
    """rlhf_train of a TinyGPT on 128 random rollouts an update, and a few of its weights"""
    generator, policy, ref = torch.Generator().manual_seed(seed), _start(seed), _start(seed)
    rm = PairScorer(torch.randn(VOCAB, VOCAB, generator=generator))

    def sample(_policy):
        lengths = torch.randint(1, LENGTH + 1, (128, 1), generator=generator)
        return torch.randint(VOCAB, (128, 2 + LENGTH), generator=generator), torch.arange(LENGTH) < lengths

    cfg, optimizer = module.PPOConfig(updates=updates), torch.optim.SGD(policy.parameters(), lr=0.1)
    module.rlhf_train(policy, ref, rm, sample, optimizer, module.FixedKL(0.1), cfg, generator)
    return policy.head.weight.detach()[0]


def logprobs_of_random(module, seed, shape):
    """token_logprobs, without a graph, of random logits of this shape"""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(shape, generator=generator)
    ids = torch.randint(shape[-1], shape[:-1], generator=generator)
    with torch.no_grad():
        return module.token_logprobs(logits, ids, 0.7).sum(dim=0)
