"""Known wrong solutions, each with the advice that belongs to it."""

from difflib import SequenceMatcher

import torch

from grader.checking import mistake

right_rollouts = sample_rollouts

# ---- reward


@mistake(
    "subsequence",
    replaces="substring_reward",
    caught_by="test_reward_is_the_longest_common_run",
    advice="That is the longest common subsequence, which may have gaps. A run is over where the tokens differ: "
    "go back to 0 there, instead of carrying the best on.",
)
def substring_reward(completion, target, eos_id):
    if not target:
        raise ValueError("empty target")
    completion = completion[: completion.index(eos_id)] if eos_id in completion else completion
    best = [0] * (len(target) + 1)
    for token in completion:
        new = [0]
        for j, wanted in enumerate(target):
            new.append(best[j] + 1 if token == wanted else max(best[j + 1], new[j]))
        best = new
    return best[-1] / len(target)


@mistake(
    "reads_past_the_eos",
    replaces="substring_reward",
    caught_by="test_reward_ends_at_the_first_eos",
    advice="The completion ends at its first EOS: cut there before you match.",
)
def substring_reward(completion, target, eos_id):
    if not target:
        raise ValueError("empty target")
    return SequenceMatcher(None, completion, target, autojunk=False).find_longest_match().size / len(target)


# ---- rollouts


@mistake(
    "tiled",
    replaces="sample_rollouts",
    caught_by="test_rollouts_of_a_prompt_stand_together",
    advice="`repeat` puts the prompts in turn: p0 p1 p0 p1. Rows of one group are neighbours: `repeat_interleave`.",
)
def sample_rollouts(model, prompts, group_size, max_new_tokens, **options):
    return right_rollouts(model, prompts.repeat(group_size, 1), 1, max_new_tokens, **options)


@mistake(
    "greedy_by_a_small_temperature",
    replaces="_draw",
    caught_by="test_rollouts_of_a_prompt_stand_together",
    advice="A small temperature in place of 0 still draws between logits that nearly tie: take the argmax.",
)
def _draw(logits, temperature, generator):
    probabilities = (logits / max(temperature, 1e-6)).softmax(dim=-1)
    return torch.multinomial(probabilities, 1, generator=generator).squeeze(1)


@mistake(
    "eos_masked_out",
    replaces="sample_rollouts",
    caught_by="test_rows_end_with_their_eos",
    advice="The EOS was generated, so its mask is True: without it the policy never learns to stop. "
    "Record who is still going before the new token is looked at.",
)
def sample_rollouts(model, prompts, group_size, max_new_tokens, *, eos_id, **options):
    ids, mask = right_rollouts(model, prompts, group_size, max_new_tokens, eos_id=eos_id, **options)
    return ids, mask if eos_id is None else mask & (ids[:, prompts.shape[1] :] != eos_id)


@mistake(
    "mask_from_pad_id",
    replaces="sample_rollouts",
    caught_by="test_rows_end_with_their_eos",
    advice="`ids != pad_id` loses every generated token that looks like a pad, the EOS too where both are one id. "
    "Build the mask from positions.",
)
def sample_rollouts(model, prompts, group_size, max_new_tokens, *, pad_id, **options):
    ids, _ = right_rollouts(model, prompts, group_size, max_new_tokens, pad_id=pad_id, **options)
    return ids, ids[:, prompts.shape[1] :] != pad_id


@mistake(
    "exp_instead_of_softmax",
    replaces="_draw",
    caught_by="test_tokens_follow_the_tempered_policy",
    advice="exp of a large logit overflows, and of a row of low ones nothing is left: softmax subtracts the largest "
    "first.",
)
def _draw(logits, temperature, generator):
    if temperature == 0:
        return logits.argmax(dim=-1)
    return torch.multinomial((logits / temperature).exp(), 1, generator=generator).squeeze(1)


@mistake(
    "temperature_multiplied",
    replaces="_draw",
    caught_by="test_tokens_follow_the_tempered_policy",
    advice="The temperature divides the logits: below 1 the policy gets surer, above 1 less sure.",
)
def _draw(logits, temperature, generator):
    if temperature == 0:
        return logits.argmax(dim=-1)
    return torch.multinomial((logits * temperature).softmax(dim=-1), 1, generator=generator).squeeze(1)


@mistake(
    "global_generator",
    replaces="_draw",
    caught_by="test_the_generator_is_all_randomness",
    advice="Pass `generator=generator` to torch.multinomial: without it torch's global generator is drawn from, "
    "and a rollout cannot be repeated.",
)
def _draw(logits, temperature, generator):
    if temperature == 0:
        return logits.argmax(dim=-1)
    return torch.multinomial((logits / temperature).softmax(dim=-1), 1).squeeze(1)


@mistake(
    "sampled_in_train_mode",
    replaces="sample_rollouts",
    caught_by="test_the_policy_is_called_once_a_token",
    advice="no_grad does not turn dropout off: call model.eval() before sampling and give the model its mode back.",
)
@torch.no_grad()
def sample_rollouts(model, prompts, group_size, max_new_tokens, *, temperature, eos_id, pad_id, generator):
    ids, masks = prompts.repeat_interleave(group_size, dim=0), []
    going = torch.ones(len(ids), dtype=torch.bool)
    for _ in range(max_new_tokens):
        tokens = _draw(model(ids)[:, -1], temperature, generator).where(going, pad_id)
        ids = torch.cat([ids, tokens.unsqueeze(1)], dim=1)
        masks.append(going)
        going = going if eos_id is None else going & (tokens != eos_id)
    return ids, torch.stack(masks, dim=1)


# ---- advantages


def advantages_of(groups, normalize, dim=1, correction=1):
    """The advantages of rewards whose groups lie along `dim`."""
    advantages = groups - groups.mean(dim, keepdim=True)
    if normalize and groups.shape[dim] > 1:
        advantages = advantages / (groups.std(dim, keepdim=True, correction=correction) + 1e-4)
    return advantages.flatten()


def whole_groups(rewards, group_size):
    if group_size < 1 or len(rewards) % group_size:
        raise ValueError("no whole groups")
    return rewards.reshape(-1, group_size)


@mistake(
    "groups_across",
    replaces="group_advantages",
    caught_by="test_advantages_are_centred_in_each_group",
    advice="A group is G neighbouring rewards: reshape to (B, G), not to (G, B), and mean over the last axis.",
)
def group_advantages(rewards, group_size, normalize=False):
    groups = whole_groups(rewards.detach(), group_size).view(group_size, -1)
    return advantages_of(groups, normalize, dim=0)


@mistake(
    "population_deviation",
    replaces="group_advantages",
    caught_by="test_advantages_are_centred_in_each_group",
    advice="The sample standard deviation divides by G − 1: torch's default, not NumPy's.",
)
def group_advantages(rewards, group_size, normalize=False):
    return advantages_of(whole_groups(rewards.detach(), group_size), normalize, correction=0)


@mistake(
    "rewards_with_gradient",
    replaces="group_advantages",
    caught_by="test_advantages_are_constants_of_whole_groups",
    advice="Advantages are constants, also where the rewards are a model's: detach the rewards.",
)
def group_advantages(rewards, group_size, normalize=False):
    return advantages_of(whole_groups(rewards, group_size), normalize)


# ---- loss


def loss_of(weights, token_logps, entropies, counted, coef):
    """The loss and stats of (N, T) tensors that are clean where nothing is counted."""
    count = max(int(counted.sum()), 1)
    policy_loss = -(weights * token_logps * counted).sum() / count
    entropy = (entropies * counted).sum() / count
    stats = {"policy_loss": policy_loss.item(), "entropy": entropy.item(), "tokens": int(counted.sum())}
    return policy_loss - coef * entropy, stats


def clean_logps(logits, ids, mask, prompt_len, temperature, shift=1, kept=None):
    """Log-probabilities (N, T, V), uniform where nothing is counted or kept, and those of the tokens (N, T)."""
    hidden = ~(mask if kept is None else kept).unsqueeze(-1)
    scores = logits[:, prompt_len - shift :][:, : mask.shape[1]].masked_fill(hidden, 0.0)
    logps = (scores / temperature).log_softmax(-1)
    return logps, logps.gather(-1, ids[:, prompt_len:].masked_fill(~mask, 0).unsqueeze(-1)).squeeze(-1)


def entropy_of(logps):
    return -(logps.exp() * logps.masked_fill(logps == -torch.inf, 0.0)).sum(-1)


@mistake(
    "logits_off_by_one",
    replaces="reinforce_loss",
    caught_by="test_loss_weighs_the_log_probabilities",
    advice="The logits at position t predict the token at t + 1: the completion's are `logits[:, P - 1 : -1]`.",
)
def reinforce_loss(logits, ids, mask, advantages, prompt_len, *, entropy_coef=0.0, temperature=1.0):
    logps, token_logps = clean_logps(logits, ids, mask, prompt_len, temperature, shift=0)
    return loss_of(advantages.detach()[:, None], token_logps, entropy_of(logps), mask, entropy_coef)


@mistake(
    "mean_of_row_means",
    replaces="reinforce_loss",
    caught_by="test_loss_weighs_the_log_probabilities",
    advice="A mean in each row and then over rows gives the tokens of short completions more weight. "
    "Take one mean over all counted tokens of the batch.",
)
def reinforce_loss(logits, ids, mask, advantages, prompt_len, *, entropy_coef=0.0, temperature=1.0):
    logps, token_logps = clean_logps(logits, ids, mask, prompt_len, temperature)
    share = mask.sum() / (mask.sum(1, keepdim=True).clamp(min=1) * len(mask))
    return loss_of(advantages.detach()[:, None] * share, token_logps, entropy_of(logps), mask, entropy_coef)


@mistake(
    "entropy_punished",
    replaces="reinforce_loss",
    caught_by="test_loss_has_an_entropy_bonus",
    advice="The loss is minimised, so a bonus is taken off it: `policy_loss - entropy_coef * entropy`.",
)
def reinforce_loss(logits, ids, mask, advantages, prompt_len, *, entropy_coef=0.0, temperature=1.0):
    logps, token_logps = clean_logps(logits, ids, mask, prompt_len, temperature)
    return loss_of(advantages.detach()[:, None], token_logps, entropy_of(logps), mask, -entropy_coef)


@mistake(
    "entropy_of_the_sample",
    replaces="reinforce_loss",
    caught_by="test_loss_has_an_entropy_bonus",
    advice="−log π of the sampled token has the entropy as its mean, but not the entropy's gradient: its own has mean "
    "0. Sum −π log π over the whole vocabulary.",
)
def reinforce_loss(logits, ids, mask, advantages, prompt_len, *, entropy_coef=0.0, temperature=1.0):
    _, token_logps = clean_logps(logits, ids, mask, prompt_len, temperature)
    return loss_of(advantages.detach()[:, None], token_logps, -token_logps, mask, entropy_coef)


@mistake(
    "temperature_forgotten",
    replaces="reinforce_loss",
    caught_by="test_loss_is_of_the_tempered_policy",
    advice="Tokens were sampled at the temperature, so π is the tempered policy: divide the logits before log_softmax.",
)
def reinforce_loss(logits, ids, mask, advantages, prompt_len, *, entropy_coef=0.0, temperature=1.0):
    logps, token_logps = clean_logps(logits, ids, mask, prompt_len, 1.0)
    return loss_of(advantages.detach()[:, None], token_logps, entropy_of(logps), mask, entropy_coef)


@mistake(
    "masked_by_product",
    replaces="reinforce_loss",
    caught_by="test_loss_ignores_what_is_not_counted",
    advice="0 · NaN is NaN, in the gradient too: select the counted positions before log_softmax, "
    "by index or with torch.where, instead of multiplying by the mask.",
)
def reinforce_loss(logits, ids, mask, advantages, prompt_len, *, entropy_coef=0.0, temperature=1.0):
    logps, token_logps = clean_logps(logits, ids, mask, prompt_len, temperature, kept=mask | True)
    return loss_of(advantages.detach()[:, None], token_logps, entropy_of(logps), mask, entropy_coef)


@mistake(
    "entropy_of_banned_tokens",
    replaces="reinforce_loss",
    caught_by="test_loss_stays_finite_at_extreme_logits",
    advice="A banned token has π = 0 and log π = −inf, and their product is NaN: fill such log π with 0 first.",
)
def reinforce_loss(logits, ids, mask, advantages, prompt_len, *, entropy_coef=0.0, temperature=1.0):
    logps, token_logps = clean_logps(logits, ids, mask, prompt_len, temperature)
    entropies = -(logps.exp() * logps).sum(-1)
    return loss_of(advantages.detach()[:, None], token_logps, entropies, mask, entropy_coef)


@mistake(
    "advantages_with_gradient",
    replaces="reinforce_loss",
    caught_by="test_loss_reports_and_leaves_its_inputs",
    advice="Advantages are weights, not something to learn through: detach them.",
)
def reinforce_loss(logits, ids, mask, advantages, prompt_len, *, entropy_coef=0.0, temperature=1.0):
    logps, token_logps = clean_logps(logits, ids, mask, prompt_len, temperature)
    return loss_of(advantages[:, None], token_logps, entropy_of(logps), mask, entropy_coef)
