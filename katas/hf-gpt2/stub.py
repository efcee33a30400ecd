"""A Hugging Face GPT-2 as the policy of an RL loop: built offline, left-padded, generating with its own KV cache."""

import copy  # noqa: F401 — for the bodies to come

import torch  # noqa: F401 — for the bodies to come
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel  # noqa: F401 — for the bodies to come


def build_gpt2(vocab_size, n_positions, n_embd, n_layer, n_head, seed, *, bos_id, eos_id, pad_id):
    """A GPT-2 with random weights, without dropout and without a look at the network. -> GPT2LMHeadModel

    The ids are ints below vocab_size or None; initializer_range is 0.1, the three dropouts (resid, embd, attn) are 0.
    The weights are those that GPT2LMHeadModel(config) draws after torch.manual_seed(seed); torch's global generator is
    afterwards in the state it was in before.
    """
    raise NotImplementedError("build: make the GPT2Config first")


def left_pad(seqs, pad_id):
    """Rows of different length as one batch, padded at the left. -> (ids, attention_mask, position_ids)

    seqs: a list of lists of ints. All three are (B, L) int64, L the longest length: ids hold pad_id in front,
    attention_mask is 1 on tokens and 0 on padding, position_ids count the tokens of a row from 0 and are 0 on padding.
    A token may equal pad_id and is a token all the same. No rows, or a row without tokens: ValueError.
    """
    raise NotImplementedError("left-pad: find the longest row, then put the others at the right of it")


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
        raise NotImplementedError("policy: get the positions from the mask, then call the model with both")

    def token_logprobs(self, ids, attention_mask, prompt_len, temperature=1.0):
        """log softmax(logits / temperature) of each token from column prompt_len on. -> (B, L - prompt_len)

        0 where attention_mask is 0. Gradients flow to the model. ValueError unless 1 <= prompt_len <= L and
        temperature > 0.
        """
        raise NotImplementedError("policy: find out which column's logits are about the token at prompt_len")

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
        raise NotImplementedError("generate: feed the prompts with their mask and positions, and keep the cache")


def frozen_copy(policy):
    """An independent copy of a GPT2Policy, as a reference model. -> GPT2Policy

    It shares no storage with the policy, is in eval mode, and its parameters require no gradient and hold none.
    The policy stays as it is.
    """
    raise NotImplementedError("frozen: copy it with all its weights first")


def save_policy(policy, folder):
    """Write the policy's model to a local folder in Hugging Face's layout. -> None"""
    raise NotImplementedError("save: the model has a method for this")


def load_policy(folder):
    """The policy that save_policy wrote there, in eval mode and in the dtype it had. -> GPT2Policy

    Nothing is looked for outside the folder; where it does not exist: OSError.
    """
    raise NotImplementedError("save: the model's class has a method for this")
