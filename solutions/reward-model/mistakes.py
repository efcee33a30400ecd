"""Known wrong solutions, each with the advice that belongs to it."""

import torch
from torch import nn

from grader.checking import mistake

right_loss = bt_loss


def places(mask):
    return (mask.cumsum(1) - 1).clamp(min=0)


def states(model, ids, mask, positions, seen, refuses=True):
    """The states under the head, for these positions and this [B, T, T] mask of what is seen."""
    if refuses and (not mask[:, -1].all() or mask.sum(1).max() > model.max_len):
        raise ValueError
    x = model.embed(ids.masked_fill(~mask, 0)) + model.positions(positions)
    for block in model.blocks:
        x = block(x, src_mask=~seen.repeat_interleave(model.heads, dim=0))
    return model.norm(x)


def pooled(model, x):
    return model.head(x[:, -1]).squeeze(-1)


def descend(model, batches, lr, loss_of):
    """The loop of train_rm, with the step's (loss, r_pos, r_neg) from `loss_of(chosen, rejected)`."""
    optimizer, mode, history = torch.optim.Adam(model.parameters(), lr=lr), model.training, []
    model.train()
    for pairs in batches:
        loss, r_pos, r_neg = loss_of(*map(list, zip(*pairs, strict=True)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append({"loss": loss.item(), "accuracy": pairwise_accuracy(r_pos, r_neg)})
    model.train(mode)
    return history


def scores_by_batch(model, seqs, pad_id, max_len, batch_size):
    """The scores as calibrate should take them, a tensor for each batch."""
    batches = [encode_left(seqs[i : i + batch_size], pad_id, max_len) for i in range(0, len(seqs), batch_size)]
    if not batches:
        raise ValueError
    mode = model.training
    model.eval()
    with torch.no_grad():
        scores = [model(*batch) for batch in batches]
    model.train(mode)
    return scores


def kept(seqs, max_len):
    """The ends of the sequences that encode_left keeps, after its refusals."""
    if (max_len is not None and max_len < 1) or not all(seqs):
        raise ValueError
    return [seq[-max_len:] if max_len else seq for seq in seqs]


def batch(seqs, pad_id, left=True):
    width = max((len(seq) for seq in seqs), default=0)
    pads = [[pad_id] * (width - len(seq)) for seq in seqs]
    rows = [pad + seq if left else seq + pad for pad, seq in zip(pads, seqs, strict=True)]
    lengths = torch.tensor([len(seq) for seq in seqs], dtype=torch.long)[:, None]
    columns = torch.arange(width)
    mask = columns >= width - lengths if left else columns < lengths
    return torch.tensor(rows, dtype=torch.long).reshape(mask.shape), mask


@mistake(
    "padded_on_the_right",
    replaces="encode_left",
    caught_by="test_padding_stands_on_the_left",
    advice="Padding goes in front of the tokens: then every row ends in the last column.",
)
def encode_left(seqs, pad_id, max_len=None):
    return batch(kept(seqs, max_len), pad_id, left=False)


@mistake(
    "truncated_on_the_right",
    replaces="encode_left",
    caught_by="test_truncation_keeps_the_end",
    advice="`seq[:max_len]` throws away the end, where the answer stands; both sides of a pair may become the same "
    "text. Keep `seq[-max_len:]`.",
)
def encode_left(seqs, pad_id, max_len=None):
    kept(seqs, max_len)
    return batch([seq[:max_len] for seq in seqs], pad_id)


@mistake(
    "mask_from_ids",
    replaces="encode_left",
    caught_by="test_a_real_token_may_be_pad_id",
    advice="`ids != pad_id` hides real tokens that are equal to pad_id, as EOS often is. Use the lengths.",
)
def encode_left(seqs, pad_id, max_len=None):
    ids, _ = batch(kept(seqs, max_len), pad_id)
    return ids, ids != pad_id


@mistake(
    "empty_sequence_accepted",
    replaces="encode_left",
    caught_by="test_encode_of_nothing",
    advice="A sequence without tokens became a row of padding: it has no last token to be scored at. Raise ValueError.",
)
def encode_left(seqs, pad_id, max_len=None):
    full = kept([seq or [pad_id] for seq in seqs], max_len)
    ids, mask = batch(full, pad_id)
    return ids, mask & torch.tensor([bool(seq) for seq in seqs])[:, None]


@mistake(
    "not_causal",
    replaces="RewardModel.forward",
    caught_by="test_score_of_a_text_alone",
    advice="Every token sees the whole row, also those after it. Combine the padding mask with a causal one.",
)
def forward(self, ids, mask):
    seen = mask[:, None] | torch.eye(mask.shape[1], dtype=torch.bool)
    return pooled(self, states(self, ids, mask, places(mask), seen.expand(-1, mask.shape[1], -1)))


@mistake(
    "padding_is_seen",
    replaces="RewardModel.forward",
    caught_by="test_left_padded_rows_score_as_alone",
    advice="The causal mask alone leaves the padding visible, as it stands before the tokens. Hide it too.",
)
def forward(self, ids, mask):
    return pooled(self, states(self, ids, mask, places(mask), _visible(torch.ones_like(mask))))


@mistake(
    "positions_count_padding",
    replaces="RewardModel.forward",
    caught_by="test_left_padded_rows_score_as_alone",
    advice="Positions 0 … T − 1 count the padding too, so they depend on the batch. Count the "
    "row's real tokens up to each one, minus 1.",
)
def forward(self, ids, mask):
    positions = torch.arange(mask.shape[1]).clamp(max=self.max_len - 1).expand_as(ids)
    return pooled(self, states(self, ids, mask, positions, _visible(mask)))


@mistake(
    "pooled_at_length_minus_one",
    replaces="RewardModel.forward",
    caught_by="test_left_padded_rows_score_as_alone",
    advice="Column `mask.sum() − 1` is the last token under right padding. Under left padding that is the last column.",
)
def forward(self, ids, mask):
    x = states(self, ids, mask, places(mask), _visible(mask))
    return self.head(x[torch.arange(len(ids)), mask.sum(1) - 1]).squeeze(-1)


@mistake(
    "padding_sees_nothing",
    replaces="RewardModel.forward",
    caught_by="test_scores_in_every_mode",
    advice="A padded position that sees no key is NaN in eval mode without gradients, and the next block spreads it. "
    "Let every position see itself.",
)
def forward(self, ids, mask):
    causal = torch.ones(mask.shape[1], mask.shape[1], dtype=torch.bool).tril()
    return pooled(self, states(self, ids, mask, places(mask), causal & mask[:, None]))


@mistake(
    "always_in_train_mode",
    replaces="RewardModel.forward",
    caught_by="test_scores_in_every_mode",
    advice="Train mode inside forward lets dropout into eval: a score becomes a matter of luck. Leave the mode alone.",
)
def forward(self, ids, mask):
    mode = self.training
    x = states(self.train(), ids, mask, places(mask), _visible(mask))
    self.train(mode)
    return pooled(self, x)


@mistake(
    "padding_embedded",
    replaces="RewardModel.forward",
    caught_by="test_only_the_mask_says_what_is_padding",
    advice="What stands under the mask may be −100 or 10⁹, which no embedding takes: overwrite it before the lookup.",
)
def forward(self, ids, mask):
    self.embed(ids)
    return pooled(self, states(self, ids, mask, places(mask), _visible(mask)))


@mistake(
    "token_zero_is_padding",
    replaces="RewardModel.forward",
    caught_by="test_only_the_mask_says_what_is_padding",
    advice="The token 0 is treated as padding although the mask calls it real. Look at the mask, never at the ids.",
)
def forward(self, ids, mask):
    real = mask & (ids != 0)
    return pooled(self, states(self, ids, mask, places(mask), _visible(real)))


@mistake(
    "nothing_is_refused",
    replaces="RewardModel.forward",
    caught_by="test_what_cannot_be_scored_is_refused",
    advice="A row that ends in padding is scored at a pad, and nobody notices. Raise ValueError, and for rows of more "
    "than max_len real tokens too.",
)
def forward(self, ids, mask):
    return pooled(self, states(self, ids, mask, places(mask), _visible(mask), refuses=False))


@mistake(
    "only_the_head_learns",
    replaces="RewardModel.forward",
    caught_by="test_gradients_do_not_notice_padding",
    advice="The gradient ends at the head: something before it is detached or under no_grad.",
)
def forward(self, ids, mask):
    return pooled(self, states(self, ids, mask, places(mask), _visible(mask)).detach())


@mistake(
    "mask_kept_on_the_model",
    replaces="RewardModel.forward",
    caught_by="test_nothing_is_remembered",
    advice="The attention mask of an earlier batch was used again. It belongs to its batch: build it in every call.",
)
def forward(self, ids, mask):
    if getattr(self, "cached", None) is None or self.cached.shape[:2] != mask.shape:
        self.cached = _visible(mask)
    return pooled(self, states(self, ids, mask, places(mask), self.cached))


@mistake(
    "sides_exchanged",
    replaces="bt_loss",
    caught_by="test_loss_is_logistic_in_the_difference",
    advice="The loss falls as the rejected text's score rises. It is −log σ(r_pos − r_neg), with the chosen first.",
)
def bt_loss(r_pos, r_neg, margin=None, center=0.0, label_smoothing=0.0):
    return right_loss(r_neg, r_pos, margin, center, label_smoothing)


@mistake(
    "margin_added",
    replaces="bt_loss",
    caught_by="test_margin_is_subtracted_and_center_squared",
    advice="A margin makes winning harder: subtract it from the difference.",
)
def bt_loss(r_pos, r_neg, margin=None, center=0.0, label_smoothing=0.0):
    return right_loss(r_pos, r_neg, margin if margin is None else -margin, center, label_smoothing)


@mistake(
    "log_of_sigmoid",
    replaces="bt_loss",
    caught_by="test_loss_stays_finite_at_large_differences",
    advice="σ(−200) is 0 and its logarithm −∞, just where a gradient is needed most. Use `F.logsigmoid`, one call.",
)
def bt_loss(r_pos, r_neg, margin=None, center=0.0, label_smoothing=0.0):
    p = torch.sigmoid(r_pos - r_neg if margin is None else r_pos - r_neg - margin)
    wrong = label_smoothing * torch.log(1 - p) if label_smoothing else 0.0
    return (-(1 - label_smoothing) * torch.log(p) - wrong + center * (r_pos + r_neg) ** 2).mean()


@mistake(
    "shapes_broadcast",
    replaces="bt_loss",
    caught_by="test_shapes_that_differ_are_refused",
    advice="[N] − [N, 1] is [N, N]: every chosen text is compared with every rejected one. Refuse unequal shapes.",
)
def bt_loss(r_pos, r_neg, margin=None, center=0.0, label_smoothing=0.0):
    z = r_pos - r_neg if margin is None else r_pos - r_neg - margin
    nll = -(1 - label_smoothing) * F.logsigmoid(z) - label_smoothing * F.logsigmoid(-z)
    return (nll + center * (r_pos + r_neg) ** 2).mean()


@mistake(
    "ties_count",
    replaces="pairwise_accuracy",
    caught_by="test_accuracy_counts_strict_wins",
    advice="With `>=` a model that scores everything alike is always right. A tie is a miss.",
)
def pairwise_accuracy(r_pos, r_neg):
    _require_pairs(r_pos, r_neg)
    return (r_pos >= r_neg).double().mean().item()


@mistake(
    "interleaved_then_chunked",
    replaces="train_rm",
    caught_by="test_train_takes_adam_steps",
    advice="The rows go in as chosen, rejected, chosen, … and come out as first and second half: texts of different "
    "pairs are compared. Encode all chosen first.",
)
def train_rm(model, batches, lr, pad_id, max_len=None, center=0.0):
    def loss_of(chosen, rejected):
        rows = [seq for pair in zip(chosen, rejected, strict=True) for seq in pair]
        r_pos, r_neg = model(*encode_left(rows, pad_id, max_len)).chunk(2)
        return bt_loss(r_pos, r_neg, center=center), r_pos, r_neg

    return descend(model, batches, lr, loss_of)


@mistake(
    "sides_encoded_apart",
    replaces="train_rm",
    caught_by="test_train_makes_one_pass_of_chosen_then_rejected",
    advice="Chosen and rejected went through the model in two passes, with different padding. Encode all 2N rows "
    "together and call the model once.",
)
def train_rm(model, batches, lr, pad_id, max_len=None, center=0.0):
    def loss_of(chosen, rejected):
        r_pos, r_neg = (model(*encode_left(side, pad_id, max_len)) for side in (chosen, rejected))
        return bt_loss(r_pos, r_neg, center=center), r_pos, r_neg

    return descend(model, batches, lr, loss_of)


@mistake(
    "center_forgotten",
    replaces="train_rm",
    caught_by="test_train_passes_its_options_on",
    advice="`center` never reaches the loss: pass it on.",
)
def train_rm(model, batches, lr, pad_id, max_len=None, center=0.0):
    def loss_of(chosen, rejected):
        r_pos, r_neg = model(*encode_left(chosen + rejected, pad_id, max_len)).chunk(2)
        return bt_loss(r_pos, r_neg, center=0 * center), r_pos, r_neg

    return descend(model, batches, lr, loss_of)


@mistake(
    "stops_early",
    replaces="train_rm",
    caught_by="test_trained_model_prefers_the_better_text",
    advice="Training ends where the loss has not fallen for three steps, which is the noise of small batches. Take a "
    "step for every batch.",
)
def train_rm(model, batches, lr, pad_id, max_len=None, center=0.0):
    losses = []

    def loss_of(chosen, rejected):
        r_pos, r_neg = model(*encode_left(chosen + rejected, pad_id, max_len)).chunk(2)
        loss = bt_loss(r_pos, r_neg, center=center)
        losses.append(loss.item())
        return loss, r_pos, r_neg

    falling = (pairs for pairs in batches if not losses or min(losses[-3:]) == min(losses))
    return descend(model, falling, lr, loss_of)


@mistake(
    "mean_of_means",
    replaces="calibrate",
    caught_by="test_calibrate_brings_the_mean_to_zero",
    advice="The mean of the batches' means gives a small last batch too much weight. Average all scores at once.",
)
def calibrate(model, seqs, pad_id, max_len=None, batch_size=64):
    scores = scores_by_batch(model, seqs, pad_id, max_len, batch_size)
    mean = torch.stack([part.mean() for part in scores]).mean()
    model.head.bias.data -= mean
    return mean.item()


@mistake(
    "new_bias_parameter",
    replaces="calibrate",
    caught_by="test_calibrate_leaves_the_rest_alone",
    advice="A new nn.Parameter is one that the optimizer does not know. Change the old one in place, under no_grad.",
)
def calibrate(model, seqs, pad_id, max_len=None, batch_size=64):
    mean = torch.cat(scores_by_batch(model, seqs, pad_id, max_len, batch_size)).mean()
    model.head.bias = nn.Parameter(model.head.bias.detach() - mean)
    return mean.item()


@mistake(
    "smoothed_towards_half",
    replaces="bt_loss",
    caught_by="test_smoothing_mixes_both_labels",
    advice="The wrong label has weight ε here, not ε/2: ε is the probability that the label is wrong.",
)
def bt_loss(r_pos, r_neg, margin=None, center=0.0, label_smoothing=0.0):
    return right_loss(r_pos, r_neg, margin, center, label_smoothing / 2)
