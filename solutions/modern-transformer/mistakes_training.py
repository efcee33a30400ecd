"""Known wrong ways to train, each with the advice that belongs to it."""

import math

import torch
from torch import nn

from grader.checking import mistake


def _clip(model, bound):
    nn.utils.clip_grad_norm_(model.parameters(), bound)


def _trained(
    model, data, steps, lr, warmup, grad_clip, seed, weight_decay=0.0, batch_size=16, length=32, *,
    groups=None, betas=(0.9, 0.95), rate=lr_at, mode=True, clears=True, clip=_clip, impatient=False,
):  # fmt: skip
    """The usual loop, but for what is said otherwise. impatient: nothing is learned after seven steps."""
    generator, losses = torch.Generator().manual_seed(seed), []
    optimizer = torch.optim.AdamW((groups or param_groups)(model, weight_decay), betas=betas)
    model.train(mode)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate(step, steps, lr, warmup)
        loss = _next_token_loss(model, sample_batch(data, batch_size, length, generator))
        if clears:
            optimizer.zero_grad()
        loss.backward()
        clip(model, grad_clip)
        if not (impatient and step > 6):
            optimizer.step()
        losses.append(loss.item())
    return losses


@mistake(
    "zero_at_the_first_step",
    replaces="lr_at",
    caught_by="test_learning_rate_rises_and_falls",
    advice="Steps count from 0, and the first is no empty one: lr·(step + 1)/warmup.",
)
def lr_at(step, steps, lr, warmup, final=0.1):
    if step < warmup:
        return lr * step / warmup
    progress = min(1.0, (step - warmup) / max(1, steps - 1 - warmup))
    return lr * (final + (1 - final) * (1 + math.cos(math.pi * progress)) / 2)


@mistake(
    "cosine_ends_one_step_late",
    replaces="lr_at",
    caught_by="test_learning_rate_rises_and_falls",
    advice="The last step is steps − 1, and there the cosine has arrived at final·lr.",
)
def lr_at(step, steps, lr, warmup, final=0.1):
    if step < warmup:
        return lr * (step + 1) / warmup
    progress = min(1.0, (step - warmup) / max(1, steps - warmup))
    return lr * (final + (1 - final) * (1 + math.cos(math.pi * progress)) / 2)


@mistake(
    "gradient_not_cleared",
    replaces="train",
    caught_by="test_train_takes_clipped_adamw_steps",
    advice="backward() adds to .grad: without zero_grad() each step uses the sum of all gradients so far.",
)
def train(*args, **options):
    return _trained(*args, **options, clears=False)


@mistake(
    "each_weight_clipped_alone",
    replaces="train",
    caught_by="test_train_takes_clipped_adamw_steps",
    advice="The norm is that of all gradients together: clipped one by one, the direction of the step changes.",
)
def train(*args, **options):
    def clip(model, bound):
        for weight in model.parameters():
            nn.utils.clip_grad_norm_(weight, bound)

    return _trained(*args, **options, clip=clip)


@mistake(
    "usual_betas",
    replaces="train",
    caught_by="test_train_takes_clipped_adamw_steps",
    advice="AdamW's betas are (0.9, 0.95) here, as for most language models; torch's default is (0.9, 0.999).",
)
def train(*args, **options):
    return _trained(*args, **options, betas=(0.9, 0.999))


@mistake(
    "schedule_one_step_late",
    replaces="train",
    caught_by="test_train_takes_clipped_adamw_steps",
    advice="Step s uses lr_at(s, …): set the rate before optimizer.step(), not for the step after it.",
)
def train(*args, **options):
    def late(step, *schedule):
        return lr_at(max(0, step - 1), *schedule)

    return _trained(*args, **options, rate=late)


@mistake(
    "left_in_eval_mode",
    replaces="train",
    caught_by="test_train_runs_in_train_mode",
    advice="Call model.train() first: a model that comes in eval mode would train without its dropout.",
)
def train(model, *args, **options):
    return _trained(model, *args, **options, mode=model.training)


@mistake(
    "stopped_early",
    replaces="train",
    caught_by="test_train_finds_the_markov_source",
    advice="The weights stand still after the first few steps, though losses are told to the end. Train all the steps.",
)
def train(*args, **options):
    return _trained(*args, **options, impatient=True)


@mistake(
    "embeddings_decay",
    replaces="param_groups",
    caught_by="test_groups_split_what_decays",
    advice="An embedding has two dimensions and does not decay: rows of rare tokens get no gradient, only the decay.",
)
def param_groups(model, weight_decay):
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    matrices, others = ([weight for weight in weights if (weight.dim() < 2) == flat] for flat in (False, True))
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


@mistake(
    "everything_decays",
    replaces="train",
    caught_by="test_train_decays_the_matrices",
    advice="AdamW(model.parameters(), weight_decay=…) decays norms, biases and embeddings too. Pass param_groups.",
)
def train(*args, **options):
    def groups(model, weight_decay):
        return [{"params": [*model.parameters()], "weight_decay": weight_decay}]

    return _trained(*args, **options, groups=groups)


@mistake(
    "validated_in_train_mode",
    replaces="evaluate",
    caught_by="test_evaluate_reads_the_whole_stream",
    advice="With dropout on, the loss is too high and noisy: model.eval() first, the old mode again afterwards.",
)
def evaluate(model, data, length):
    with torch.no_grad():
        return _next_token_loss(model, data[: len(data) // length * length].view(-1, length)).item()
