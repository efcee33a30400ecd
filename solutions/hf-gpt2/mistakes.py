"""Known wrong solutions, each with the advice that belongs to it."""

import torch
from transformers import DynamicCache, GPT2Config, GPT2LMHeadModel

from grader.checking import mistake


def config_of(vocab_size, n_positions, n_embd, n_layer, n_head, bos_id, eos_id, pad_id, **others):
    sizes = {"vocab_size": vocab_size, "n_positions": n_positions, "n_embd": n_embd, "n_layer": n_layer}
    ids = {"bos_token_id": bos_id, "eos_token_id": eos_id, "pad_token_id": pad_id}
    dropouts = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    return GPT2Config(**sizes | ids | dropouts | {"n_head": n_head, "initializer_range": 0.1} | others)


def seeded(config, seed):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return GPT2LMHeadModel(config)


@mistake(
    "default_initializer",
    replaces="build_gpt2",
    caught_by="test_config",
    advice="`initializer_range` is still 0.02. In a model this small the logits start near 0, and training spends "
    "its steps on growing them: set it to 0.1.",
)
def build_gpt2(vocab_size, n_positions, n_embd, n_layer, n_head, seed, *, bos_id, eos_id, pad_id):
    sizes = vocab_size, n_positions, n_embd, n_layer, n_head
    return seeded(config_of(*sizes, bos_id, eos_id, pad_id, initializer_range=0.02), seed)


@mistake(
    "from_the_hub",
    replaces="build_gpt2",
    caught_by="test_config",
    advice="`from_pretrained` looks on the network and raises OSError without it: make a `GPT2Config` yourself.",
)
def build_gpt2(vocab_size, n_positions, n_embd, n_layer, n_head, seed, *, bos_id, eos_id, pad_id):
    return seeded(GPT2Config.from_pretrained("gpt2", vocab_size=vocab_size), seed)


@mistake(
    "global_generator_reseeded",
    replaces="build_gpt2",
    caught_by="test_weights_come_from_the_seed",
    advice="The caller's random numbers now start from your seed: wrap it in `torch.random.fork_rng()`, which puts the "
    "global state back.",
)
def build_gpt2(vocab_size, n_positions, n_embd, n_layer, n_head, seed, *, bos_id, eos_id, pad_id):
    torch.manual_seed(seed)
    return GPT2LMHeadModel(config_of(vocab_size, n_positions, n_embd, n_layer, n_head, bos_id, eos_id, pad_id))


@mistake(
    "mask_from_ids",
    replaces="left_pad",
    caught_by="test_rows_are_padded_at_the_left",
    advice="A token may equal `pad_id`, as where EOS is used for padding: make the mask from the lengths, not the ids.",
)
def left_pad(seqs, pad_id):
    if not seqs or not all(seqs):
        raise ValueError
    width = max(map(len, seqs))
    ids = torch.tensor([[*[pad_id] * (width - len(seq)), *seq] for seq in seqs])
    mask = (ids != pad_id).long()
    return ids, mask, _positions(mask)


@mistake(
    "no_positions",
    replaces="GPT2Policy._logits",
    caught_by="test_padding_is_invisible",
    advice="GPT-2 adds an embedding of the position, and without `position_ids` it counts columns, padding included: "
    "pass `(attention_mask.cumsum(1) - 1).clamp(min=0)`.",
)
def _logits(self, ids, attention_mask, keep=0):
    return self.model(ids, attention_mask=attention_mask, logits_to_keep=keep).logits


def looked_up(logps, ids, attention_mask, prompt_len):
    """The end of token_logprobs: of each token its own, and 0 where there is none."""
    chosen = logps.gather(-1, ids[:, prompt_len:, None]).squeeze(-1)
    return chosen.masked_fill(~attention_mask[:, prompt_len:].bool(), 0.0)


def checked(ids, prompt_len, temperature):
    if not 1 <= prompt_len <= ids.shape[1] or not temperature > 0:
        raise ValueError


@mistake(
    "unshifted",
    replaces="GPT2Policy.token_logprobs",
    caught_by="test_logprobs_of_the_completion",
    advice="A column's logits are about the next token: the token at `prompt_len` is predicted at `prompt_len - 1`.",
)
def token_logprobs(self, ids, attention_mask, prompt_len, temperature=1.0):
    checked(ids, prompt_len, temperature)
    logps = (self._logits(ids, attention_mask) / temperature).log_softmax(-1)[:, prompt_len:]
    return looked_up(logps, ids, attention_mask, prompt_len)


@mistake(
    "temperature_forgotten",
    replaces="GPT2Policy.token_logprobs",
    caught_by="test_logprobs_of_the_completion",
    advice="These log-probabilities are those of temperature 1: divide the logits as in sampling, or the policy that "
    "is trained is not the one that sampled.",
)
def token_logprobs(self, ids, attention_mask, prompt_len, temperature=1.0):
    checked(ids, prompt_len, temperature)
    logps = self._logits(ids, attention_mask).log_softmax(-1)[:, prompt_len - 1 : -1]
    return looked_up(logps, ids, attention_mask, prompt_len)


@mistake(
    "pads_count_behind_the_end",
    replaces="GPT2Policy.token_logprobs",
    caught_by="test_logprobs_behind_the_end",
    advice="Columns behind a row's end hold log-probabilities of pads: fill them with 0 where `attention_mask` is 0.",
)
def token_logprobs(self, ids, attention_mask, prompt_len, temperature=1.0):
    checked(ids, prompt_len, temperature)
    logps = (self._logits(ids, attention_mask) / temperature).log_softmax(-1)[:, prompt_len - 1 : -1]
    return looked_up(logps, ids, torch.ones_like(attention_mask), prompt_len)


right_logprobs = GPT2Policy.token_logprobs


@mistake(
    "logprobs_without_a_graph",
    replaces="GPT2Policy.token_logprobs",
    caught_by="test_gradients_reach_the_model",
    advice="`no_grad` belongs to `generate`, and here it cuts the gradient: backward() raises a RuntimeError.",
)
def token_logprobs(self, ids, attention_mask, prompt_len, temperature=1.0):
    with torch.no_grad():
        return right_logprobs(self, ids, attention_mask, prompt_len, temperature)


right_forward = GPT2Policy.forward


@mistake(
    "logits_remembered",
    replaces="GPT2Policy.forward",
    caught_by="test_logprobs_follow_the_weights",
    advice="Logits of ids seen before are taken from a store, while the weights have changed: compute them.",
)
def forward(self, ids, attention_mask=None):
    key = str((ids.tolist(), None if attention_mask is None else attention_mask.tolist()))
    stored = self.__dict__.setdefault("stored", {})
    if key not in stored:
        stored[key] = right_forward(self, ids, attention_mask)
    return stored[key]


@mistake(
    "negative_slices",
    replaces="GPT2Policy.token_logprobs",
    caught_by="test_bad_prompt_lengths",
    advice="With `prompt_len` 0 the slice from −1 on takes the last column, and nothing complains: raise ValueError.",
)
def token_logprobs(self, ids, attention_mask, prompt_len, temperature=1.0):
    logps = (self._logits(ids, attention_mask) / temperature).log_softmax(-1)
    logps = logps[:, prompt_len - 1 : -1] if prompt_len != 0 else logps
    return looked_up(logps, ids, attention_mask, prompt_len)


def complete(policy, ids, mask, count, eos_id, choose, *, cache=None, feed=None, positions=None, end=True, pads=True):
    """The right loop, with room for what goes wrong. -> new tokens and their mask, both (B, count)"""
    tokens = ids.new_full((len(ids), count), policy.model.config.pad_token_id or 0)
    completed, alive = torch.zeros_like(tokens, dtype=torch.bool), torch.ones(len(ids), dtype=torch.bool)
    fed = ids[:, -1:] if cache is not None and cache.get_seq_length() else ids
    for step in range(count):
        whole = _positions(mask)
        at = whole[:, -fed.shape[1] :] if positions is None else positions(whole, fed.shape[1])
        out = policy.model(fed, attention_mask=mask, position_ids=at, past_key_values=cache, use_cache=feed != "all")
        chosen, cache = choose(out.logits[:, -1]), out.past_key_values
        ended = alive & (chosen == eos_id) if eos_id is not None else torch.zeros_like(alive)
        tokens[:, step] = torch.where(alive, chosen, tokens[:, step]) if pads else chosen
        completed[:, step] = alive if end else alive & ~ended
        alive = alive & ~ended
        if not alive.any():
            break
        fed = torch.cat([fed, tokens[:, step : step + 1]], dim=1) if feed == "all" else tokens[:, step : step + 1]
        mask = torch.cat([mask, mask.new_ones(len(ids), 1)], dim=1)
    return tokens, completed


@mistake(
    "columns_as_positions",
    replaces="GPT2Policy._complete",
    caught_by="test_greedy_tokens",
    advice="The position of a new token is its place among the row's tokens, the sum of its mask minus 1. It is not "
    "the column that the cache has reached.",
)
def _complete(self, ids, attention_mask, count, eos_id, choose):
    def positions(whole, fed):
        return whole if fed > 1 else torch.full_like(whole[:, :1], whole.shape[1] - 1)

    return complete(self, ids, attention_mask, count, eos_id, choose, positions=positions)


@mistake(
    "no_cache",
    replaces="GPT2Policy._complete",
    caught_by="test_cost_of_long_completions",
    advice="Each step computes all tokens anew: keep `past_key_values` and feed the new token only.",
)
def _complete(self, ids, attention_mask, count, eos_id, choose):
    return complete(self, ids, attention_mask, count, eos_id, choose, feed="all")


@mistake(
    "last_token_fed",
    replaces="GPT2Policy._complete",
    caught_by="test_what_is_fed",
    advice="The last new token is fed too, and its logits thrown away: n tokens take n forward passes.",
)
def _complete(self, ids, attention_mask, count, eos_id, choose):
    tokens, completed = complete(self, ids, attention_mask, count, eos_id, choose)
    if count:
        self.model(tokens[:, -1:])
    return tokens, completed


@mistake(
    "end_left_out",
    replaces="GPT2Policy._complete",
    caught_by="test_rows_end_one_by_one",
    advice="`completion_mask` is False on the EOS: it was chosen by the policy, and without it nobody learns to stop.",
)
def _complete(self, ids, attention_mask, count, eos_id, choose):
    return complete(self, ids, attention_mask, count, eos_id, choose, end=False)


@mistake(
    "rows_go_on",
    replaces="GPT2Policy._complete",
    caught_by="test_rows_end_one_by_one",
    advice="A row that has ended goes on taking tokens while others do: put the config's `pad_token_id` there.",
)
def _complete(self, ids, attention_mask, count, eos_id, choose):
    return complete(self, ids, attention_mask, count, eos_id, choose, pads=False)


@mistake(
    "mask_of_pads",
    replaces="GPT2Policy._complete",
    caught_by="test_rows_end_one_by_one",
    advice="`completion_mask` is made from `ids != pad`: pads may be sampled, and the pad may be the EOS. "
    "Make it from where a row ended.",
)
def _complete(self, ids, attention_mask, count, eos_id, choose):
    tokens, _ = complete(self, ids, attention_mask, count, eos_id, choose)
    return tokens, tokens != self.model.config.pad_token_id if eos_id is not None else torch.ones_like(tokens).bool()


@mistake(
    "top_k",
    replaces="_chooser",
    caught_by="test_sampled_distribution",
    advice="Only the 50 most likely tokens are drawn, the default of Hugging Face's `generate`. The policy that "
    "samples is then not the one whose log-probabilities are trained.",
)
def _chooser(do_sample, temperature, generator):
    def choose(logits):
        if not do_sample:
            return logits.argmax(-1)
        least = logits.topk(min(50, logits.shape[-1])).values[:, -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
        return torch.multinomial((logits / temperature).softmax(-1), 1, generator=generator).squeeze(-1)

    return choose


@mistake(
    "generator_ignored",
    replaces="_chooser",
    caught_by="test_generators",
    advice="The draws come from torch's global generator: pass `generator=generator` to `torch.multinomial`.",
)
def _chooser(do_sample, temperature, generator):
    def choose(logits):
        drawn = torch.multinomial((logits / (temperature if do_sample else 1.0)).softmax(-1), 1).squeeze(-1)
        return drawn if do_sample else logits.argmax(-1)

    return choose


@mistake(
    "cache_of_an_earlier_call",
    replaces="GPT2Policy._complete",
    caught_by="test_batches_do_not_meet",
    advice="The keys of prompts seen before are kept, and the weights have changed since. Begin each call anew.",
)
def _complete(self, ids, attention_mask, count, eos_id, choose):
    key = str((ids.tolist(), attention_mask.tolist()))
    cache = self.__dict__.setdefault("kept", {}).setdefault(key, DynamicCache())
    if cache.get_seq_length():
        cache.crop(ids.shape[1] - 1 - cache.get_seq_length())
    return complete(self, ids, attention_mask, count, eos_id, choose, cache=cache)


@mistake(
    "right_padding_accepted",
    replaces="GPT2Policy._check",
    caught_by="test_bad_requests",
    advice="Prompts padded at the right go through, and new tokens follow the padding: look at the last column of the "
    "mask, and raise ValueError.",
)
def _check(self, attention_mask, max_new_tokens, temperature):
    width = attention_mask.shape[1]
    if max_new_tokens < 0 or not temperature > 0 or width + max_new_tokens > self.model.config.n_positions:
        raise ValueError


@mistake(
    "sampled_in_train_mode",
    replaces="GPT2Policy.generate",
    caught_by="test_modes",
    advice="Dropout is on while it generates: call `self.eval()` first, and restore the mode afterwards.",
)
@torch.no_grad()
def generate(
    self, ids, attention_mask, max_new_tokens, *, temperature=1.0, do_sample=True, eos_id=None, generator=None
):
    self._check(attention_mask, max_new_tokens, temperature if do_sample else 1.0)
    choose = _chooser(do_sample, temperature, generator)
    tokens, mask = self._complete(ids, attention_mask.long(), max_new_tokens, eos_id, choose)
    return torch.cat([ids, tokens], dim=1), mask


@mistake(
    "the_policy_itself",
    replaces="frozen_copy",
    caught_by="test_copy_is_independent",
    advice="This is a new wrapper round the same weights: the reference moves with the policy. Copy the weights.",
)
def frozen_copy(policy):
    return GPT2Policy(policy.model).eval().requires_grad_(False)


@mistake(
    "policy_frozen_too",
    replaces="frozen_copy",
    caught_by="test_copy_is_frozen",
    advice="The policy itself is frozen and put in eval mode, and training would end here: copy first, then freeze.",
)
def frozen_copy(policy):
    policy.eval().requires_grad_(False).zero_grad(set_to_none=True)
    return copy.deepcopy(policy)


right_generate = GPT2Policy.generate


@mistake(
    "eval_mode_after_an_error",
    replaces="GPT2Policy.generate",
    caught_by="test_modes",
    advice="After a ValueError the policy stays in eval mode: check before `self.eval()`, or restore in a `finally`.",
)
def generate(self, ids, attention_mask, max_new_tokens, **options):
    mode = self.training
    result = right_generate(self.eval(), ids, attention_mask, max_new_tokens, **options)
    self.train(mode)
    return result


@mistake(
    "inference_mode",
    replaces="GPT2Policy.generate",
    caught_by="test_reinforce_trains_the_policy",
    advice="What `torch.inference_mode` returns can take no part in training, ids neither: backward() raises a "
    "RuntimeError when they were looked up. Use `torch.no_grad`.",
)
@torch.inference_mode()
def generate(self, ids, attention_mask, max_new_tokens, **options):
    return right_generate(self, ids, attention_mask, max_new_tokens, **options)


@mistake(
    "loaded_as_float32",
    replaces="load_policy",
    caught_by="test_a_later_process_loads_it",
    advice="The weights come back in float32, whatever they were saved in: let `from_pretrained` find the dtype.",
)
def load_policy(folder):
    return GPT2Policy(GPT2LMHeadModel.from_pretrained(folder, dtype=torch.float32))
