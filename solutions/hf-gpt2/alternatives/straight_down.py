"""One thing after the other, as it is written in an interview: no helpers, distributions from torch.distributions."""

import copy

import torch
from torch import nn
from torch.distributions import Categorical
from transformers import GPT2Config, GPT2LMHeadModel


def build_gpt2(vocab_size, n_positions, n_embd, n_layer, n_head, seed, *, bos_id, eos_id, pad_id):
    """The model is made under a forked random state."""
    config = GPT2Config(
        vocab_size=vocab_size,
        n_positions=n_positions,
        n_embd=n_embd,
        n_layer=n_layer,
        n_head=n_head,
        initializer_range=0.1,
        bos_token_id=bos_id,
        eos_token_id=eos_id,
        pad_token_id=pad_id,
    )
    config.resid_pdrop = config.embd_pdrop = config.attn_pdrop = 0.0
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return GPT2LMHeadModel(config)


def left_pad(seqs, pad_id):
    """Three lists of lists."""
    if len(seqs) == 0:
        raise ValueError("no rows")
    ids, mask, positions = [], [], []
    for seq in seqs:
        if len(seq) == 0:
            raise ValueError("an empty row")
        missing = max(len(other) for other in seqs) - len(seq)
        ids.append([pad_id] * missing + seq)
        mask.append([0] * missing + [1] * len(seq))
        positions.append([0] * missing + list(range(len(seq))))
    return torch.tensor(ids), torch.tensor(mask), torch.tensor(positions)


class GPT2Policy(nn.Module):
    """GPT-2 as a policy."""

    def __init__(self, model):
        super().__init__()
        self.model = model
        self.train(model.training)

    def forward(self, ids, attention_mask=None):
        """Mask and positions go with the ids."""
        if attention_mask is None:
            attention_mask = torch.ones_like(ids)
        position_ids = attention_mask.cumsum(1) - 1
        position_ids = torch.where(position_ids < 0, torch.zeros_like(position_ids), position_ids)
        return self.model(ids, attention_mask=attention_mask.bool(), position_ids=position_ids)["logits"]

    def token_logprobs(self, ids, attention_mask, prompt_len, temperature=1.0):
        """log_prob of a categorical distribution, column by column."""
        if prompt_len < 1 or prompt_len > ids.shape[1]:
            raise ValueError("prompt_len")
        if temperature <= 0:
            raise ValueError("temperature")
        logits = self.forward(ids, attention_mask)
        columns = []
        for t in range(prompt_len, ids.shape[1]):
            column = Categorical(logits=logits[:, t - 1] / temperature).log_prob(ids[:, t])
            columns.append(torch.where(attention_mask[:, t].bool(), column, 0.0))
        return torch.stack(columns, dim=1) if columns else logits.new_zeros(len(ids), 0)

    def generate(
        self, ids, attention_mask, max_new_tokens, *, temperature=1.0, do_sample=True, eos_id=None, generator=None
    ):
        """Prefill, then single steps."""
        if max_new_tokens < 0:
            raise ValueError("max_new_tokens is negative")
        if ids.shape[1] + max_new_tokens > self.model.config.n_positions:
            raise ValueError("the positions end before that")
        if attention_mask[:, -1].sum() < len(ids):
            raise ValueError("pad at the left")
        if do_sample and temperature <= 0:
            raise ValueError("temperature must be positive")
        out_ids, mask = ids.clone(), attention_mask.long()
        completion_mask = torch.zeros(len(ids), 0, dtype=torch.bool)
        done = torch.zeros(len(ids), dtype=torch.bool)
        was_training = self.training
        self.eval()
        past = None
        with torch.no_grad():
            for _ in range(max_new_tokens):
                if done.all():
                    next_token = torch.zeros(len(ids), dtype=torch.long)
                else:
                    position_ids = (mask.cumsum(1) - 1).clamp(min=0)
                    fed = out_ids if past is None else out_ids[:, -1:]
                    result = self.model(
                        fed,
                        attention_mask=mask,
                        position_ids=position_ids[:, -fed.shape[1] :],
                        past_key_values=past,
                        use_cache=True,
                    )
                    past = result.past_key_values
                    logits = result.logits[:, -1, :]
                    if do_sample:
                        probs = Categorical(logits=logits / temperature).probs
                        next_token = torch.multinomial(probs, 1, generator=generator)[:, 0]
                    else:
                        next_token = logits.argmax(1)
                if done.any():
                    next_token[done] = self.model.config.pad_token_id
                completion_mask = torch.cat([completion_mask, ~done[:, None]], dim=1)
                out_ids = torch.cat([out_ids, next_token[:, None]], dim=1)
                mask = torch.cat([mask, torch.ones(len(ids), 1, dtype=torch.long)], dim=1)
                if eos_id is not None:
                    done = done | (next_token == eos_id)
        self.train(was_training)
        return out_ids, completion_mask


def frozen_copy(policy):
    """Everything that training would need is taken away."""
    frozen = GPT2Policy(copy.deepcopy(policy.model))
    for parameter in frozen.parameters():
        parameter.requires_grad = False
    frozen.eval()
    return frozen


def save_policy(policy, folder):
    """config.json and model.safetensors."""
    policy.model.save_pretrained(folder)


def load_policy(folder):
    """A local folder is read without a look at the hub."""
    model = GPT2LMHeadModel.from_pretrained(folder)
    model.eval()
    return GPT2Policy(model)
