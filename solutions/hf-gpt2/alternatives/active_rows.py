"""Rows that have ended leave the batch: the cache is cut down to those that go on. Weights travel as state dicts."""

import torch
import torch.nn.functional as F  # noqa: N812 — its usual name
from torch import nn
from transformers import DynamicCache, GPT2Config, GPT2LMHeadModel


def build_gpt2(vocab_size, n_positions, n_embd, n_layer, n_head, seed, *, bos_id, eos_id, pad_id):
    """A GPT2LMHeadModel of that seed; the global generator is put back by hand."""
    no_dropout = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
    sizes = {"vocab_size": vocab_size, "n_positions": n_positions, "n_embd": n_embd}
    depth = {"n_layer": n_layer, "n_head": n_head, "initializer_range": 0.1}
    config = GPT2Config(**sizes, **depth, **no_dropout)
    config.bos_token_id, config.eos_token_id, config.pad_token_id = bos_id, eos_id, pad_id
    before = torch.get_rng_state()
    try:
        torch.manual_seed(seed)
        return GPT2LMHeadModel(config)
    finally:
        torch.set_rng_state(before)


def left_pad(seqs, pad_id):
    """Row by row, into tensors made before."""
    if len(seqs) == 0 or min(map(len, seqs)) == 0:
        raise ValueError("no rows, or one without tokens")
    width = max(map(len, seqs))
    ids = torch.full((len(seqs), width), pad_id, dtype=torch.int64)
    mask, positions = torch.zeros_like(ids), torch.zeros_like(ids)
    for row, seq in enumerate(seqs):
        ids[row, width - len(seq) :] = torch.tensor(seq)
        mask[row, width - len(seq) :] = 1
        positions[row, width - len(seq) :] = torch.arange(len(seq))
    return ids, mask, positions


class GPT2Policy(nn.Module):
    """GPT-2 as a policy."""

    def __init__(self, model):
        super().__init__()
        self.model = model
        self.train(model.training)

    def forward(self, ids, attention_mask=None):
        """Logits of the token after each column."""
        if attention_mask is None:
            return self.model(ids).logits
        first = attention_mask.long().argmax(dim=1, keepdim=True)  # the column of the first token
        positions = torch.clamp(torch.arange(ids.shape[1]) - first, min=0)
        return self.model(input_ids=ids, attention_mask=attention_mask.long(), position_ids=positions).logits

    def token_logprobs(self, ids, attention_mask, prompt_len, temperature=1.0):
        """Cross-entropy, negated."""
        if prompt_len < 1 or prompt_len > ids.shape[1] or temperature <= 0:
            raise ValueError("prompt_len or temperature out of range")
        logits = self(ids, attention_mask)[:, prompt_len - 1 : -1] / temperature
        targets = ids[:, prompt_len:]
        logps = -F.cross_entropy(logits.transpose(1, 2), targets, reduction="none")
        return torch.where(attention_mask[:, prompt_len:] != 0, logps, torch.zeros_like(logps))

    def generate(
        self, ids, attention_mask, max_new_tokens, *, temperature=1.0, do_sample=True, eos_id=None, generator=None
    ):
        """Only rows that have not ended are fed."""
        config, (rows, width) = self.model.config, ids.shape
        if max_new_tokens < 0 or width + max_new_tokens > config.n_positions:
            raise ValueError("too many new tokens, or fewer than none")
        if bool((attention_mask[:, -1] == 0).any()) or (do_sample and temperature <= 0):
            raise ValueError("padding at the right, or a temperature of 0")
        modes = [(module, module.training) for module in self.modules()]
        self.eval()
        pad_id = config.pad_token_id if eos_id is not None else 0
        new = torch.full((rows, max_new_tokens), pad_id, dtype=torch.int64)
        lengths = torch.full((rows,), max_new_tokens)
        going, mask, cache = torch.arange(rows), attention_mask.long(), DynamicCache()
        fed, places = ids, (mask.cumsum(dim=1) - 1).clamp(min=0)
        with torch.no_grad():
            for step in range(max_new_tokens):
                logits = self.model(
                    input_ids=fed, attention_mask=mask, position_ids=places, past_key_values=cache, use_cache=True
                ).logits[:, -1]
                if do_sample:
                    token = torch.multinomial(F.softmax(logits / temperature, -1), 1, generator=generator)
                else:
                    token = logits.max(dim=-1, keepdim=True).indices
                new[going, step] = token[:, 0]
                stays = token[:, 0] != eos_id if eos_id is not None else torch.ones(len(going), dtype=torch.bool)
                lengths[going[~stays]] = step + 1
                if not stays.all():
                    going, mask, token, places = going[stays], mask[stays], token[stays], places[stays]
                    cache.batch_select_indices(stays.nonzero()[:, 0])
                if len(going) == 0:
                    break
                mask = F.pad(mask, (0, 1), value=1)
                fed, places = token, places[:, -1:] + 1
        for module, mode in modes:
            module.training = mode
        return torch.hstack((ids, new)), torch.arange(max_new_tokens) < lengths[:, None]


def frozen_copy(policy):
    """A new model of the same config, filled from the state dict."""
    model = GPT2LMHeadModel(policy.model.config).to(next(policy.parameters()).dtype)
    model.load_state_dict(policy.model.state_dict())
    for weight in model.parameters():
        weight.requires_grad = False
    return GPT2Policy(model.eval())


def save_policy(policy, folder):
    """In shards, if need be: the library decides."""
    policy.model.save_pretrained(folder, safe_serialization=True)


def load_policy(folder):
    """Config first, then the model."""
    config = GPT2Config.from_pretrained(folder, local_files_only=True)
    return GPT2Policy(GPT2LMHeadModel.from_pretrained(folder, config=config, dtype=config.dtype).eval())
