"""Below the wrapper: `model.transformer` gives states, and only those that are asked about meet the output matrix."""

from contextlib import contextmanager
from copy import deepcopy

import torch
from torch import nn
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel


def build_gpt2(vocab_size, n_positions, n_embd, n_layer, n_head, seed, *, bos_id, eos_id, pad_id):
    """A config that is filled bit by bit."""
    config = GPT2Config(vocab_size=vocab_size, n_positions=n_positions, initializer_range=0.1)
    config.update({"n_embd": n_embd, "n_layer": n_layer, "n_head": n_head})
    config.update({"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0})
    config.update({"bos_token_id": bos_id, "eos_token_id": eos_id, "pad_token_id": pad_id})
    with torch.random.fork_rng():
        torch.random.manual_seed(seed)
        return GPT2LMHeadModel(config)


def left_pad(seqs, pad_id):
    """Padded at the right in reverse, and turned round."""
    if not seqs or any(not seq for seq in seqs):
        raise ValueError("every row needs a token")
    turned = [torch.tensor(seq[::-1]) for seq in seqs]
    ids = nn.utils.rnn.pad_sequence(turned, batch_first=True, padding_value=pad_id).flip(1)
    ones = [torch.ones(len(seq), dtype=torch.long) for seq in seqs]
    mask = nn.utils.rnn.pad_sequence(ones, batch_first=True).flip(1)
    return ids, mask, places(mask)


def places(mask):
    """Number of tokens before each column's own, 0 on padding."""
    return (mask.cumsum(-1) - mask.long()) * mask.long()


@contextmanager
def evaluating(policy):
    mode = policy.training
    policy.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        policy.train(mode)


class GPT2Policy(nn.Module):
    """GPT-2 as a policy."""

    def __init__(self, model):
        super().__init__()
        self.model = model
        self.train(model.training)

    def states(self, ids, mask, positions, cache=None):
        """(B, L, D) under the output matrix, and the cache."""
        out = self.model.transformer(
            ids, past_key_values=cache, attention_mask=mask, position_ids=positions, use_cache=cache is not None
        )
        return out.last_hidden_state, out.past_key_values

    def forward(self, ids, attention_mask=None):
        """Logits of all columns."""
        mask = ids.new_ones(ids.shape) if attention_mask is None else attention_mask
        return self.model.lm_head(self.states(ids, mask, places(mask))[0])

    def token_logprobs(self, ids, attention_mask, prompt_len, temperature=1.0):
        """The chosen logit less the logsumexp, where there is a token."""
        if not (1 <= prompt_len <= ids.size(1) and temperature > 0):
            raise ValueError(f"prompt_len {prompt_len}, temperature {temperature}")
        states, _ = self.states(ids, attention_mask, places(attention_mask))
        real = attention_mask[:, prompt_len:].bool()
        logits = self.model.lm_head(states[:, prompt_len - 1 : -1][real]) / temperature  # (tokens, V)
        chosen = logits.take_along_dim(ids[:, prompt_len:][real][:, None], dim=1).squeeze(1)
        return logits.new_zeros(real.shape).masked_scatter(real, chosen - logits.logsumexp(dim=1))

    def generate(
        self, ids, attention_mask, max_new_tokens, *, temperature=1.0, do_sample=True, eos_id=None, generator=None
    ):
        """A list of columns that grows; Gumbel's trick draws."""
        if max_new_tokens < 0 or ids.size(1) + max_new_tokens > self.model.config.n_positions:
            raise ValueError("max_new_tokens")
        if (attention_mask[:, -1] < 1).any():
            raise ValueError("padded at the right")
        if do_sample and not temperature > 0:
            raise ValueError("temperature")
        columns, masks = [], []
        with evaluating(self):
            cache = mask = None
            ended = torch.zeros(len(ids), dtype=torch.bool)
            while len(columns) < max_new_tokens and not ended.all():
                if cache is None:
                    mask = attention_mask.long()
                    out = self.model.transformer(ids, attention_mask=mask, position_ids=places(mask), use_cache=True)
                    states, cache = out.last_hidden_state, out.past_key_values
                else:
                    mask = torch.cat((mask, torch.ones_like(mask[:, :1])), dim=-1)
                    states, cache = self.states(columns[-1][:, None], mask, mask.sum(-1, keepdim=True) - 1, cache)
                logits = self.model.lm_head(states[:, -1])
                if do_sample:
                    noise = torch.rand(logits.shape, generator=generator, dtype=torch.float64).clamp(min=1e-300)
                    logits = logits.double() / temperature - (-noise.log()).log()
                token = logits.argmax(-1)
                masks.append(~ended)
                columns.append(
                    token.masked_fill(ended, self.model.config.pad_token_id) if eos_id is not None else token
                )
                if eos_id is not None:
                    ended = ended | (token == eos_id)
        for _ in range(max_new_tokens - len(columns)):
            columns.append(torch.full_like(ids[:, 0], self.model.config.pad_token_id))
            masks.append(torch.zeros(len(ids), dtype=torch.bool))
        if not columns:
            return ids.clone(), torch.zeros(len(ids), 0, dtype=torch.bool)
        return torch.cat([ids, torch.stack(columns, dim=1)], dim=1), torch.stack(masks, dim=1)


def frozen_copy(policy):
    """Weights are detached one by one."""
    model = deepcopy(policy.model)
    for weight in model.parameters():
        weight.grad = None
        weight.requires_grad_(False)
    model.train(False)
    return GPT2Policy(model)


def save_policy(policy, folder):
    """The model writes itself."""
    policy.model.save_pretrained(str(folder))


def load_policy(folder):
    """The config says which class it is."""
    return GPT2Policy(AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, dtype="auto"))
