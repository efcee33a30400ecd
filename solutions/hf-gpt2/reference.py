"""A Hugging Face GPT-2 as the policy of an RL loop: built offline, left-padded, generating with its own KV cache."""

import copy

import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel


def build_gpt2(vocab_size, n_positions, n_embd, n_layer, n_head, seed, *, bos_id, eos_id, pad_id):
    """A GPT-2 with random weights, without dropout and without a look at the network. -> GPT2LMHeadModel

    The ids are ints below vocab_size or None; initializer_range is 0.1, the three dropouts (resid, embd, attn) are 0.
    The weights are those that GPT2LMHeadModel(config) draws after torch.manual_seed(seed); torch's global generator is
    afterwards in the state it was in before.
    """
    config = GPT2Config(
        vocab_size=vocab_size,
        n_positions=n_positions,
        n_embd=n_embd,
        n_layer=n_layer,
        n_head=n_head,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        initializer_range=0.1,
        bos_token_id=bos_id,
        eos_token_id=eos_id,
        pad_token_id=pad_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return GPT2LMHeadModel(config)


def left_pad(seqs, pad_id):
    """Rows of different length as one batch, padded at the left. -> (ids, attention_mask, position_ids)

    seqs: a list of lists of ints. All three are (B, L) int64, L the longest length: ids hold pad_id in front,
    attention_mask is 1 on tokens and 0 on padding, position_ids count the tokens of a row from 0 and are 0 on padding.
    A token may equal pad_id and is a token all the same. No rows, or a row without tokens: ValueError.
    """
    if not seqs or not all(len(seq) > 0 for seq in seqs):
        raise ValueError("left_pad needs rows, and a token in each of them")
    lengths = torch.tensor([len(seq) for seq in seqs])  # (B,)
    width = int(lengths.max())
    ids = torch.tensor([[pad_id] * (width - len(seq)) + list(seq) for seq in seqs])  # (B, L)
    attention_mask = (torch.arange(width) >= width - lengths[:, None]).long()  # (B, L)
    return ids, attention_mask, _positions(attention_mask)


def _positions(attention_mask):
    """The place of each token among the tokens of its row. (B, L) 0/1 -> (B, L) int64, 0 on padding in front"""
    return (attention_mask.long().cumsum(dim=1) - 1).clamp(min=0)


class GPT2Policy(nn.Module):
    """GPT-2 as a policy: logits, log-probabilities of completions, and completions.

    B rows of L columns; ids (B, L) int64; attention_mask (B, L) int64 or bool, 1 on a row's tokens, which stand side by
    side. What stands in a column of padding, and how much padding there is, never changes what is said of a token.
    Nothing is remembered from one call to the next.
    """

    def __init__(self, model):
        super().__init__()
        self.model = model
        self.train(model.training)  # one mode for the wrapper and what it wraps

    def forward(self, ids, attention_mask=None):
        """Logits of the token after each column. -> (B, L, V) float, the model's dtype

        None: all columns are tokens. On padding the logits are finite and mean nothing.
        """
        return self._logits(ids, torch.ones_like(ids) if attention_mask is None else attention_mask)

    def _logits(self, ids, attention_mask, keep=0):
        """The logits of the last `keep` columns; 0 keeps all. -> (B, keep, V)"""
        return self.model(
            ids,
            attention_mask=attention_mask,
            position_ids=_positions(attention_mask),
            logits_to_keep=keep,
            use_cache=False,
        ).logits

    def token_logprobs(self, ids, attention_mask, prompt_len, temperature=1.0):
        """log softmax(logits / temperature) of each token from column prompt_len on. -> (B, L - prompt_len)

        0 where attention_mask is 0. Gradients flow to the model. ValueError unless 1 <= prompt_len <= L and
        temperature > 0.
        """
        if not 1 <= prompt_len <= ids.shape[1]:
            raise ValueError(f"prompt_len must be 1 to {ids.shape[1]}, not {prompt_len}")
        if not temperature > 0:
            raise ValueError(f"temperature must be above 0, not {temperature}")
        logits = self._logits(ids, attention_mask, keep=ids.shape[1] - prompt_len + 1)[:, :-1]  # (B, T, V)
        logps = (logits / temperature).log_softmax(dim=-1)  # (B, T, V)
        chosen = logps.gather(-1, ids[:, prompt_len:, None]).squeeze(-1)  # (B, T)
        return chosen.masked_fill(~attention_mask[:, prompt_len:].bool(), 0.0)

    def generate(
        self, ids, attention_mask, max_new_tokens, *, temperature=1.0, do_sample=True, eos_id=None, generator=None
    ):
        """Complete left-padded prompts (B, P) with the KV cache. -> (ids (B, P + n), completion_mask (B, n) bool)

        n = max_new_tokens. A row draws from softmax(logits / temperature), the whole of it, with `generator`; where
        do_sample is false it takes the largest logit and nothing is drawn. completion_mask is True up to the first
        eos_id of the completion and on it; behind it ids hold the config's pad_token_id. Runs in eval mode and without
        a graph; the mode is afterwards as before. ValueError, before any forward pass: n < 0,
        P + n > n_positions, a row whose last column is padding, temperature <= 0 with do_sample.
        """
        self._check(attention_mask, max_new_tokens, temperature if do_sample else 1.0)
        training, choose = self.training, _chooser(do_sample, temperature, generator)
        self.eval()
        try:
            with torch.no_grad():
                tokens, mask = self._complete(ids, attention_mask.long(), max_new_tokens, eos_id, choose)
        finally:
            self.train(training)
        return torch.cat([ids, tokens], dim=1), mask

    def _check(self, attention_mask, max_new_tokens, temperature):
        if max_new_tokens < 0 or not temperature > 0:
            raise ValueError("max_new_tokens must not be negative, and temperature must be above 0")
        if attention_mask.shape[1] + max_new_tokens > self.model.config.n_positions:
            raise ValueError(f"more than the {self.model.config.n_positions} positions of the model")
        if not attention_mask[:, -1].all():
            raise ValueError("prompts must be padded at the left: the last column holds padding")

    def _complete(self, ids, attention_mask, count, eos_id, choose):
        """The new tokens and their mask, (B, count) each; no forward pass follows once all rows have ended."""
        pad_id = self.model.config.pad_token_id
        tokens = ids.new_full((len(ids), count), 0 if pad_id is None else pad_id)
        mask = torch.zeros(len(ids), count, dtype=torch.bool, device=ids.device)
        alive = torch.ones(len(ids), dtype=torch.bool, device=ids.device)
        fed, positions, cache = ids, _positions(attention_mask), None
        for step in range(count):
            out = self.model(
                fed, attention_mask=attention_mask, position_ids=positions, past_key_values=cache, use_cache=True
            )
            chosen, cache = choose(out.logits[:, -1]), out.past_key_values  # (B,)
            tokens[:, step] = torch.where(alive, chosen, tokens[:, step])
            mask[:, step] = alive
            if eos_id is not None:
                alive = alive & (chosen != eos_id)
            if not alive.any():
                break
            fed = tokens[:, step : step + 1]
            attention_mask = torch.cat([attention_mask, attention_mask.new_ones(len(ids), 1)], dim=1)
            positions = attention_mask.sum(dim=1, keepdim=True) - 1  # (B, 1)
        return tokens, mask


def _chooser(do_sample, temperature, generator):
    """A function from logits (B, V) to tokens (B,)"""
    if not do_sample:
        return lambda logits: logits.argmax(dim=-1)
    return lambda logits: torch.multinomial(
        (logits / temperature).softmax(dim=-1), num_samples=1, generator=generator
    ).squeeze(-1)


def frozen_copy(policy):
    """An independent copy of a GPT2Policy, as a reference model. -> GPT2Policy

    It shares no storage with the policy, is in eval mode, and its parameters require no gradient and hold none.
    The policy stays as it is.
    """
    return copy.deepcopy(policy).eval().requires_grad_(False)  # .grad of parameters is not copied


def save_policy(policy, folder):
    """Write the policy's model to a local folder in Hugging Face's layout. -> None"""
    policy.model.save_pretrained(folder)


def load_policy(folder):
    """The policy that save_policy wrote there, in eval mode and in the dtype it had. -> GPT2Policy

    Nothing is looked for outside the folder; where it does not exist: OSError.
    """
    return GPT2Policy(GPT2LMHeadModel.from_pretrained(folder, local_files_only=True))  # which comes in eval mode
