"""Known wrong ways to train and to generate, each with the advice that belongs to it."""

import torch
import torch.nn.functional as F  # noqa: N812 — its usual name

from grader.checking import mistake


def _nll(logits, ids):
    return -logits[:, :-1].log_softmax(dim=-1).gather(-1, ids[:, 1:, None]).squeeze(-1)


def _loss(model, get_batch):
    ids, answer_mask = get_batch()
    return lm_loss(model(ids), ids, answer_mask)


def _trained(optimizer, losses):
    """Steps with a gradient that is cleared in time. `losses` yields one a step."""
    told = []
    for loss in losses:
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        told.append(loss.item())
    return told


def _draw(logits, temperature, generator):
    if temperature < 0:
        raise ValueError(temperature)
    if temperature == 0:
        return logits.argmax(-1, keepdim=True)
    return (logits / temperature).softmax(-1).multinomial(1, generator=generator)


def _continued(model, ids, steps, temperature, generator, *, draw=_draw, crop=True, graph=False):
    """The ids with what `draw(logits, temperature, generator)` chooses, [B, 1], behind them; in eval mode."""
    mode = model.training
    model.eval()
    with torch.set_grad_enabled(graph):
        for _ in range(steps):
            logits = model(ids[:, -model.max_len :] if crop else ids)[:, -1]
            ids = torch.cat([ids, draw(logits, temperature, generator)], dim=1)
    model.train(mode)
    return ids


@mistake(
    "target_not_shifted",
    replaces="lm_loss",
    caught_by="test_loss_predicts_the_next_token",
    advice="The logits at t predict the token at t + 1: logits[:, :-1] against ids[:, 1:].",
)
def lm_loss(logits, ids, answer_mask=None):
    return F.cross_entropy(logits.flatten(0, 1), ids.flatten())


@mistake(
    "loss_on_the_prompt",
    replaces="lm_loss",
    caught_by="test_loss_counts_the_answer",
    advice="Tokens where answer_mask is False do not count, neither in the sum nor in the number it is divided by.",
)
def lm_loss(logits, ids, answer_mask=None):
    return _nll(logits, ids).sum() / max(1, ids[:, 1:].numel())


@mistake(
    "nothing_counted_is_nan",
    replaces="lm_loss",
    caught_by="test_loss_counts_the_answer",
    advice="Where no token counts, 0/0 is NaN and spoils all weights. Divide by at least 1.",
)
def lm_loss(logits, ids, answer_mask=None):
    nll = _nll(logits, ids)
    return nll.mean() if answer_mask is None else nll[answer_mask[:, 1:]].mean()


@mistake(
    "gradient_not_cleared",
    replaces="train",
    caught_by="test_train_takes_adamw_steps",
    advice="backward() adds to .grad: without zero_grad() each step uses the sum of all gradients so far.",
)
def train(model, get_batch, steps, lr):
    model.train()
    optimizer, losses = torch.optim.AdamW(model.parameters(), lr=lr), []
    for _ in range(steps):
        loss = _loss(model, get_batch)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@mistake(
    "moments_forgotten",
    replaces="train",
    caught_by="test_train_takes_adamw_steps",
    advice="A new optimizer in every step has no memory: AdamW becomes sign descent. Make it once, before the loop.",
)
def train(model, get_batch, steps, lr):
    model.train()
    adamw = torch.optim.AdamW
    return [_trained(adamw(model.parameters(), lr=lr), [_loss(model, get_batch)])[0] for _ in range(steps)]


@mistake(
    "step_left_out",
    replaces="train",
    caught_by="test_train_takes_adamw_steps",
    advice="A batch in which no token counts has gradient 0, and still is a step: AdamW goes on by its momentum, and "
    "decays the weights.",
)
def train(model, get_batch, steps, lr):
    model.train()
    optimizer, losses = torch.optim.AdamW(model.parameters(), lr=lr), []
    for _ in range(steps):
        loss = _loss(model, get_batch)
        losses += _trained(optimizer, [loss]) if loss.item() else [0.0]
    return losses


@mistake(
    "trained_in_eval_mode",
    replaces="train",
    caught_by="test_train_asks_for_one_batch_a_step",
    advice="Call model.train() first: a model that comes in eval mode would train without its dropout.",
)
def train(model, get_batch, steps, lr):
    return _trained(torch.optim.AdamW(model.parameters(), lr=lr), (_loss(model, get_batch) for _ in range(steps)))


@mistake(
    "learning_rate_fades",
    replaces="train",
    caught_by="test_train_learns_to_reverse",
    advice="The learning rate is lr in every step; no schedule. One that falls by the tenth step stops the training.",
)
def train(model, get_batch, steps, lr):
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr)

    def losses():
        for step in range(steps):
            optimizer.param_groups[0]["lr"] = lr * 0.01 ** (step // 10)
            yield _loss(model, get_batch)

    return _trained(optimizer, losses())


@mistake(
    "division_by_zero",
    replaces="generate",
    caught_by="test_temperature_zero_is_greedy",
    advice="logits / 0 is ±∞ or NaN, and multinomial raises RuntimeError. Temperature 0 is a case of its own: argmax.",
)
def generate(model, ids, max_new_tokens, temperature=1.0, generator=None):
    def draw(logits, temperature, generator):
        return (logits / temperature).softmax(-1).multinomial(1, generator=generator)

    return _continued(model, ids, max_new_tokens, temperature, generator, draw=draw)


@mistake(
    "greedy_by_probability",
    replaces="generate",
    caught_by="test_temperature_zero_is_greedy",
    advice="The softmax rounds logits that hardly differ to equal probabilities: take the argmax of the logits.",
)
def generate(model, ids, max_new_tokens, temperature=1.0, generator=None):
    def draw(logits, temperature, generator):
        return _draw(logits if temperature else logits.softmax(-1), temperature, generator)

    return _continued(model, ids, max_new_tokens, temperature, generator, draw=draw)


@mistake(
    "context_not_cropped",
    replaces="generate",
    caught_by="test_generate_sees_the_last_max_len_tokens",
    advice="The model knows max_len positions: give it the last max_len tokens, ids[:, -model.max_len:].",
)
def generate(model, ids, max_new_tokens, temperature=1.0, generator=None):
    return _continued(model, ids, max_new_tokens, temperature, generator, crop=False)


@mistake(
    "graph_kept",
    replaces="generate",
    caught_by="test_generate_sees_the_last_max_len_tokens",
    advice="Sampling needs no gradients: run the model under torch.no_grad(), or each pass keeps its graph.",
)
def generate(model, ids, max_new_tokens, temperature=1.0, generator=None):
    return _continued(model, ids, max_new_tokens, temperature, generator, graph=True)


@mistake(
    "temperature_multiplies",
    replaces="generate",
    caught_by="test_samples_follow_the_temperature",
    advice="The logits are divided by the temperature: a low one sharpens the distribution.",
)
def generate(model, ids, max_new_tokens, temperature=1.0, generator=None):
    return _continued(model, ids, max_new_tokens, temperature and 1 / temperature, generator)


@mistake(
    "generator_ignored",
    replaces="generate",
    caught_by="test_chance_comes_from_the_generator",
    advice="Pass generator on to multinomial: else the samples come from torch's own and cannot be repeated.",
)
def generate(model, ids, max_new_tokens, temperature=1.0, generator=None):
    return _continued(model, ids, max_new_tokens, temperature, None)


@mistake(
    "a_generator_of_its_own",
    replaces="generate",
    caught_by="test_chance_comes_from_the_generator",
    advice="generator=None stands for torch's own: pass None on. A generator made here starts from the same state in "
    "every call, and every call gives the same tokens.",
)
def generate(model, ids, max_new_tokens, temperature=1.0, generator=None):
    generator = torch.Generator() if generator is None else generator
    return _continued(model, ids, max_new_tokens, temperature, generator)
