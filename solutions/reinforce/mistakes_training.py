"""Known wrong ways to train and to resume, each with the advice that belongs to it."""

from dataclasses import replace

import numpy as np
import torch
from torch import nn

from grader.checking import mistake

right_prompts, right_experience, right_loss = sample_prompts, _experience, reinforce_loss

# ---- train


def step_by(state, loss, *parts, norm):
    """The update of `loss`, where the gradients of each of the parts are clipped together."""
    loss.backward()
    for part in parts or [state.model.parameters()]:
        nn.utils.clip_grad_norm_(part, norm)
    state.optimizer.step()
    state.scheduler.step()
    state.step += 1


@mistake(
    "uphill",
    replaces="_update",
    caught_by="test_a_step_is_the_policy_gradient",
    advice="The loss already has its minus sign: minimise it.",
)
def _update(state, cfg, loss):
    state.optimizer.zero_grad()
    step_by(state, -loss, norm=cfg.max_grad_norm)


@mistake(
    "gradients_pile_up",
    replaces="_update",
    caught_by="test_a_step_is_the_policy_gradient",
    advice="backward() adds to what .grad holds: call optimizer.zero_grad() in every step, before it.",
)
def _update(state, cfg, loss):
    step_by(state, loss, norm=cfg.max_grad_norm)


@mistake(
    "no_step_without_signal",
    replaces="reinforce_loss",
    caught_by="test_steps_are_clipped_and_scheduled",
    advice="Where all advantages are 0 the entropy bonus still has its gradient, and the optimizer its momentum.",
)
def reinforce_loss(logits, ids, mask, advantages, *args, **options):
    if not advantages.any():
        return logits[0, 0, 0] * 0.0, {"policy_loss": 0.0, "entropy": 0.0, "tokens": int(mask.sum())}
    return right_loss(logits, ids, mask, advantages, *args, **options)


@mistake(
    "clipped_one_by_one",
    replaces="_update",
    caught_by="test_steps_are_clipped_and_scheduled",
    advice="Clipping each weight on its own bends the step's direction: give clip_grad_norm_ all parameters at once.",
)
def _update(state, cfg, loss):
    state.optimizer.zero_grad()
    step_by(state, loss, *state.model.parameters(), norm=cfg.max_grad_norm)


@mistake(
    "prompts_drawn_once",
    replaces="sample_prompts",
    caught_by="test_training_earns_its_reward",
    advice="Every step has the same prompts, and nothing is learned of the others: draw new ones in each step, from "
    "state.generator itself.",
)
def sample_prompts(cfg, generator):
    return right_prompts(cfg, torch.Generator().manual_seed(generator.initial_seed()))


@mistake(
    "sampled_at_temperature_1",
    replaces="_experience",
    caught_by="test_rollouts_follow_the_policy",
    advice="Rollouts and loss are of one policy, the tempered one: pass `cfg.temperature` to both.",
)
def _experience(state, cfg, reward_fn):
    return right_experience(state, replace(cfg, temperature=1.0), reward_fn)


# ---- checkpoint


def load_without(path, state, *without, weights_only=True):
    saved = torch.load(path, weights_only=weights_only)
    for name in {"model", "optimizer", "scheduler"}.difference(without):
        getattr(state, name).load_state_dict(saved[name])
    if "generator" not in without:
        state.generator.set_state(saved["generator"])
    if "global_generator" not in without:
        torch.set_rng_state(saved["global_generator"])
    state.step = saved["step"]


@mistake(
    "optimizer_forgotten",
    replaces="load_checkpoint",
    caught_by="test_resumed_training_is_the_same_to_the_bit",
    advice="Adam's moments and the current learning rate are in optimizer.state_dict(): save and load it.",
)
def load_checkpoint(path, state):
    load_without(path, state, "optimizer")


@mistake(
    "generator_forgotten",
    replaces="load_checkpoint",
    caught_by="test_resumed_training_is_the_same_to_the_bit",
    advice="Prompts and tokens come from state.generator: save its get_state() and set_state() it on loading.",
)
def load_checkpoint(path, state):
    load_without(path, state, "generator")


@mistake(
    "global_generator_forgotten",
    replaces="load_checkpoint",
    caught_by="test_resumed_training_is_the_same_to_the_bit",
    advice="Dropout draws from torch's global generator: save torch.get_rng_state() and set it on loading.",
)
def load_checkpoint(path, state):
    load_without(path, state, "global_generator")


@mistake(
    "python_objects_in_the_file",
    replaces=("save_checkpoint", "load_checkpoint"),
    caught_by="test_the_file_holds_plain_data",
    advice="A NumPy state or whole objects make a file that weights_only=True refuses, and that may run code when "
    "read. Save state_dicts, tensors and numbers.",
)
class WithNumPy:
    @staticmethod
    def save_checkpoint(path, state):
        saved = {name: getattr(state, name).state_dict() for name in ("model", "optimizer", "scheduler")}
        generators = {"generator": state.generator.get_state(), "global_generator": torch.get_rng_state()}
        torch.save(saved | generators | {"step": state.step, "numpy": np.random.get_state()}, path)

    @staticmethod
    def load_checkpoint(path, state):
        load_without(path, state, weights_only=False)
