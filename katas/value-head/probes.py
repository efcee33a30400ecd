"""What runs inside a worker: models with drawn or given weights, rollouts, and training as seen from outside."""

import torch

EOS = 1


def drawn(module, sizes, seed, dtype=torch.float64, prepare=""):
    """ActorCritic(**sizes) with weights of this seed; "frozen", "with gradients", "steep", "flat", "raised" by 8"""
    model, generator = module.ActorCritic(**sizes).to(dtype), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            noise = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
            is_scale = weight.dim() == 1 and name.endswith("weight")
            weight.copy_(1 + 0.1 * noise if is_scale else (0.4 if weight.dim() > 1 else 0.1) * noise)
            if prepare == "with gradients":
                weight.grad = noise.to(dtype)
        model.policy.head.weight.mul_(3e3 if prepare == "steep" else 1)
        for weight in model.value_head.parameters():
            weight.mul_(prepare != "flat")
        # around 8, V and V_old are less than a factor of 2 apart: V − V_old is exact, however V is clamped
        model.value_head.bias.add_(8 if prepare == "raised" else 0)
    model.policy.requires_grad_(prepare != "frozen")
    return model


def fresh(module, sizes, seed, frozen=False):
    """ActorCritic(**sizes) as it is made after torch.manual_seed(seed), its policy frozen where asked"""
    torch.set_num_threads(1)  # more would wait for each other on tensors as small as these
    torch.manual_seed(seed)
    model = module.ActorCritic(**sizes)
    model.policy.requires_grad_(not frozen)
    return model


def loaded(module, sizes, weights):
    """ActorCritic(**sizes) with these weights"""
    model = module.ActorCritic(**sizes)
    model.load_state_dict(weights)
    return model


def weights(_module, model):
    """the weights of a model"""
    return {name: weight.detach().clone() for name, weight in model.state_dict().items()}


def counted(_module, model, ids, tell):
    """model(ids), where each call of policy.hidden is counted"""
    hidden = model.policy.hidden
    model.policy.hidden = lambda ids: (tell("hidden"), hidden(ids))[1]
    return model(ids)


def overwritten(module, name, first, second):
    """a function called with these tensors, then with the same tensors after other numbers were written into them"""
    same = {key: value.clone() if isinstance(value, torch.Tensor) else value for key, value in first.items()}
    before = getattr(module, name)(**same)
    for key, value in same.items():
        if isinstance(value, torch.Tensor):
            value.copy_(second[key])
    return getattr(module, name)(**same), before


def sampler(rows, letters, steps, seed):
    """Rollouts of up to `steps` tokens, which end with EOS or the limit; the prompt is 0 and a letter of 2, 3, …"""
    generator = torch.Generator().manual_seed(seed)

    def sample(model):
        letter = torch.randint(2, letters + 2, (rows, 1), generator=generator)
        ids, alive = torch.cat([torch.zeros_like(letter), letter], dim=1), torch.ones(rows, 1, dtype=torch.bool)
        mask = []
        with torch.no_grad():
            for _ in range(steps):
                mask.append(alive)
                chances = model.policy(ids)[:, -1].softmax(-1)
                token = torch.multinomial(chances, 1, generator=generator).masked_fill(~alive, EOS)
                ids, alive = torch.cat([ids, token], dim=1), alive & (token != EOS)
        return ids[:, :2], ids[:, 2:], torch.cat(mask, dim=1), torch.zeros(rows, dtype=torch.bool)

    return sample


def walk(_module, seed, rows, stop=0.25, steps=5, worth=(0.0, 0.0, -0.5, 0.0, 0.5, 1.0, 1.5)):
    """rollouts of a fixed policy: a token stops with this chance; its reward is what the token before it is worth"""
    generator = torch.Generator().manual_seed(seed)
    stops = torch.rand(rows, steps, generator=generator) < stop
    over = stops.cumsum(1) - stops.long() > 0
    ids = torch.randint(2, len(worth), (rows, 1 + steps), generator=generator)
    ids[:, 1:].masked_fill_(stops | over, EOS)
    rewards = torch.tensor(worth)[ids[:, :-1]].masked_fill(over, torch.nan)
    batch = {"prompts": ids[:, :1], "completions": ids[:, 1:], "mask": ~over}
    return batch | {"truncated": torch.zeros(rows, dtype=torch.bool), "rewards": rewards}


def scripted(_module, seed, rows, prompt, steps, tiny):
    """rollouts of which some ended early, some at the limit, and some were cut off there"""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, steps + 1, (rows, 1), generator=generator)
    lengths[:4, 0] = torch.tensor([steps, 1, steps, steps])
    mask, ids = torch.arange(steps) < lengths, torch.randint(7, (rows, prompt + steps), generator=generator)
    rewards = (1e-4 if tiny else 2) * torch.randn(rows, steps, generator=generator, dtype=torch.float64)
    batch = {"prompts": ids[:, :prompt], "completions": ids[:, prompt:], "mask": mask}
    truncated = torch.arange(rows) % 2 == 0  # the first and the third, of full length
    return batch | {"truncated": truncated & mask[:, -1], "rewards": rewards.masked_fill(~mask, torch.nan)}


def sampled(_module, model, rollouts):
    """rollouts of a model"""
    return sampler(**rollouts)(model.eval())


def trained(module, model, rollouts, reward_fn, settings):
    """train_actor_critic(model, sample, reward_fn, Config(**settings)), then the weights"""
    module.train_actor_critic(model, sampler(**rollouts), reward_fn, module.Config(**settings))
    return weights(module, model)


def trained_on(module, model, batches, settings, tell):
    """train_actor_critic on these rollouts, one an update -> history, weights, mode, and the rollouts afterwards"""
    coming, current, before = iter(batches), {}, torch.get_rng_state()

    def sample(given):
        current.update(next(coming))
        tell(f"sample in {'train' if given.training else 'eval'} mode" if given is model else "sample(another model)")
        return tuple(current[name] for name in ("prompts", "completions", "mask", "truncated"))

    def reward_fn(prompts, completions):
        same = torch.equal(prompts, current["prompts"]) and torch.equal(completions, current["completions"])
        tell("reward" if same else "reward of other tokens")
        return current["rewards"]

    history = module.train_actor_critic(model, sample, reward_fn, module.Config(**settings))
    untouched = torch.equal(before, torch.get_rng_state())
    return history, weights(module, model), (model.training, untouched), batches


def gae_sum(module, seed, rows, steps):
    """compute_gae on ragged rows of this seed, summed over the rows"""
    generator = torch.Generator().manual_seed(seed)
    rewards, values = torch.randn(2, rows, steps, generator=generator, dtype=torch.float64)
    mask = torch.arange(steps) < torch.randint(1, steps + 1, (rows, 1), generator=generator)
    bootstrap = torch.randn(rows, generator=generator, dtype=torch.float64)
    advantages, returns = module.compute_gae(rewards, values, mask, 0.99, 0.95, bootstrap)
    return advantages.sum(0), returns.sum(0)


def updates(module, model, seed, rows, steps, epochs):
    """train_actor_critic for one update on random rollouts of this seed -> its stats"""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, 32, (rows, 4 + steps), generator=generator)
    mask = torch.arange(steps) < torch.randint(1, steps + 1, (rows, 1), generator=generator)
    rollout = ids[:, :4], ids[:, 4:], mask, mask.all(1)
    rewards = torch.randn(rows, steps, generator=generator, dtype=torch.float64)
    config = module.Config(updates=1, epochs=epochs)
    return module.train_actor_critic(model, lambda _: rollout, lambda *_: rewards, config)
