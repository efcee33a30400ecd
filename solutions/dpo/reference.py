"""Direct preference optimisation: sequence log-probabilities, DPO and three relatives, and the training loop."""

import torch
import torch.nn.functional as F  # noqa: N812 — its usual name
from torch import nn


class TabularPolicy(nn.Module):
    """A bigram language model (given): the logits of the next token are the current token's row of a table.

    `table` (V, V) is copied into the only parameter; `dropout` acts on the logits, in train mode alone.
    `forward(ids (B, L)) -> logits (B, L, V)`.
    """

    def __init__(self, table, dropout=0.0):
        super().__init__()
        self.table = nn.Parameter(table.detach().clone())
        self.dropout = nn.Dropout(dropout)

    def forward(self, ids):
        return self.dropout(self.table[ids])


def sequence_logprobs(logits, ids, completion_mask, average=False):
    """Log-probability of each row's completion: the sum over its tokens, or their mean. -> (B,), the dtype of `logits`

    logits (B, L, V) float; ids (B, L) int64; completion_mask (B, L) bool or integer, 1 on the completion's tokens, its
    EOS included, and 0 on prompt and padding. The logits at t − 1 predict the token at t, so the first column of the
    mask is never used. A row without completion tokens gives 0, averaged or not. What stands where no token is counted
    (NaN or inf in the logits, −100 in the ids) reaches neither the value nor the gradient.
    Source: Rafailov et al. 2023, eq. 7: log π(y|x) is a sum over tokens.
    """
    counted = completion_mask[:, 1:].bool()  # (B, L-1)
    logps = F.log_softmax(logits[:, :-1][counted], dim=-1)  # (n, V): only what is counted, so that no NaN comes in
    token_logps = logps.gather(-1, ids[:, 1:][counted].unsqueeze(-1)).squeeze(-1)  # (n,)
    per_token = logits.new_zeros(counted.shape).masked_scatter(counted, token_logps)  # (B, L-1)
    total = per_token.sum(dim=-1)  # (B,)
    return total / counted.sum(dim=-1).clamp(min=1) if average else total


def _log_ratio_gap(pc, pr, rc, rr):
    """How much more the policy prefers the chosen completion than the reference does. -> (N,)"""
    return (pc - pr) - (rc - rr).detach()


def _reduce(losses, reduction):
    if reduction == "none":
        return losses
    if reduction not in ("mean", "sum"):
        raise ValueError(f"reduction must be 'mean', 'sum' or 'none', not {reduction!r}")
    return losses.mean() if reduction == "mean" else losses.sum()


def dpo_loss(pc, pr, rc, rr, beta, label_smoothing=0.0, reduction="mean"):
    """The DPO loss; with label smoothing, conservative DPO. -> (loss, chosen_rewards, rejected_rewards)

    pc, pr, rc, rr (N,) float: summed log-probabilities under the policy (p) and the reference (r) of the chosen (c) and
    the rejected (r) completion. loss: () for reduction "mean" and "sum", (N,) for "none"; any other is a ValueError.
    h = (pc − rc) − (pr − rr); loss = −(1 − ε)·log σ(βh) − ε·log σ(−βh), with ε the label smoothing in [0, 0.5).
    rewards (N,): β·(log π − log π_ref), detached. rc and rr are constants, even where they require a gradient.
    Source: Rafailov et al. 2023, eq. 7; Mitchell 2023 for ε.
    """
    logits = beta * _log_ratio_gap(pc, pr, rc, rr)  # (N,)
    losses = -(1 - label_smoothing) * F.logsigmoid(logits) - label_smoothing * F.logsigmoid(-logits)
    chosen_rewards, rejected_rewards = beta * (pc - rc).detach(), beta * (pr - rr).detach()  # (N,) each
    return _reduce(losses, reduction), chosen_rewards, rejected_rewards


def ipo_loss(avg_pc, avg_pr, avg_rc, avg_rr, beta):
    """The IPO loss: regress the gap of log-ratios to 1/(2β). -> (), the mean over the pairs

    avg_* (N,) float: as for `dpo_loss`, but averaged per token (`sequence_logprobs(…, average=True)`).
    loss = mean((h − 1/(2β))²), h = (avg_pc − avg_rc) − (avg_pr − avg_rr). The reference's are constants.
    Source: Azar et al. 2023, the sampled loss; the average per token is the authors' word to TRL (issue #1677).
    """
    return (_log_ratio_gap(avg_pc, avg_pr, avg_rc, avg_rr) - 1 / (2 * beta)).square().mean()


def kto_loss(policy_logps, ref_logps, is_desirable, kl_policy_logps, kl_ref_logps, beta, w_d=1.0, w_u=1.0):
    """The KTO loss on unpaired completions, each marked desirable or not. -> (), the mean over all N

    policy_logps, ref_logps (N,) float: summed log-probabilities; is_desirable (N,) bool.
    kl_policy_logps, kl_ref_logps (M,) float, M ≥ 1: the same for mismatched pairs (prompt i, completion i + 1).
    z0 = max(0, mean(kl_policy_logps − kl_ref_logps)) is one number for the batch, and no gradient flows through it.
    With g = log π − log π_ref, a desirable completion costs w_d·(1 − σ(β(g − z0))), an undesirable one
    w_u·(1 − σ(β(z0 − g))). A batch may hold one class only. ref_logps is a constant.
    Source: Ethayarajh et al. 2024, section 4.
    """
    z0 = (kl_policy_logps - kl_ref_logps).mean().clamp(min=0).detach()  # ()
    gain = beta * (policy_logps - ref_logps.detach() - z0)  # (N,)
    return torch.where(is_desirable, w_d * torch.sigmoid(-gain), w_u * torch.sigmoid(gain)).mean()


def safedpo_transform(pairs, unsafe_w, unsafe_l):
    """Make every winner safe: swap where only the winner is unsafe, drop where both are. -> (pairs, unsafe_w, unsafe_l)

    pairs (N, 2, L) int64: token ids, the winner at [:, 0] and the loser at [:, 1]; unsafe_w, unsafe_l (N,) bool.
    Returns new tensors for the M kept pairs, in their old order: (M, 2, L) int64, (M,) bool and (M,) bool; the flags
    stay with their completions, so that the winners' are all False. N and M may be 0.
    Source: Kim et al. 2025, the transformed data set.
    """
    swapped = (unsafe_w & ~unsafe_l)[:, None, None]  # (N, 1, 1)
    kept = ~(unsafe_w & unsafe_l)  # (N,)
    pairs = torch.where(swapped, pairs.flip(1), pairs)[kept]  # (M, 2, L)
    return pairs, (unsafe_w & unsafe_l)[kept], (unsafe_w | unsafe_l)[kept]


def safedpo_loss(pc, pr, rc, rr, unsafe_w, unsafe_l, beta, delta):
    """The SafeDPO loss: a pair whose loser is unsafe has to win by Δ more. -> (), the mean over the pairs

    pc, pr, rc, rr (N,) float as for `dpo_loss`; unsafe_w, unsafe_l (N,) bool, for the winner and the loser; N may be 0,
    and the loss is then 0, with a graph. loss = mean(−log σ(βh − (u_l − u_w)·Δ)), with u = 1 for unsafe. rc and rr are
    constants.
    Source: Kim et al. 2025, eq. 12.
    """
    offset = delta * (unsafe_l.to(pc.dtype) - unsafe_w.to(pc.dtype))  # (N,)
    losses = -F.logsigmoid(beta * _log_ratio_gap(pc, pr, rc, rr) - offset)
    return losses.sum() / max(len(losses), 1)


def _pair_logprobs(model, batch, average):
    """Log-probabilities of the chosen and the rejected completions, in one forward pass. -> (N,), (N,)"""
    ids = torch.cat([batch["chosen_ids"], batch["rejected_ids"]])  # (2N, L)
    mask = torch.cat([batch["chosen_mask"], batch["rejected_mask"]])  # (2N, L)
    return sequence_logprobs(model(ids), ids, mask, average).chunk(2)


def _metrics(loss, chosen_rewards, rejected_rewards):
    margins = chosen_rewards - rejected_rewards  # (N,)
    return {"loss": loss.item(), "accuracy": (margins > 0).double().mean().item(), "margin": margins.mean().item()}


def train_dpo(policy, reference, batch, beta, lr, steps, loss_type="dpo"):
    """Train `policy` in place against a frozen `reference`. -> one dict of metrics (Python floats) for each step

    policy, reference: modules, ids (B, L) -> logits (B, L, V). batch: a dict of chosen_ids, rejected_ids (N, L) int64
    and chosen_mask, rejected_mask (N, L) bool. loss_type "dpo": the mean `dpo_loss` of summed log-probabilities;
    "ipo": the `ipo_loss` of averaged ones. Each of the `steps` is one full-batch step of plain SGD with rate `lr`.
    The reference runs in eval mode and without a graph, whatever mode it comes in, and sees each of the 2N sequences
    once in the whole call; neither its weights nor their .grad change. The policy stays in the mode it comes in.
    Metrics, of the forward pass before the update: "loss"; "accuracy", the share of pairs whose chosen reward is
    strictly larger; "margin", the mean of chosen − rejected reward. A reward is β·(log π − log π_ref) of the
    log-probabilities that the loss used. Source: Rafailov et al. 2023, section 4 and appendix B.
    """
    average = loss_type == "ipo"
    with torch.no_grad():
        rc, rr = _pair_logprobs(reference.eval(), batch, average)  # the reference never moves: once is enough
    optimizer = torch.optim.SGD(policy.parameters(), lr=lr)
    history = []
    for _ in range(steps):
        pc, pr = _pair_logprobs(policy, batch, average)
        loss, chosen_rewards, rejected_rewards = dpo_loss(pc, pr, rc, rr, beta)
        if loss_type == "ipo":
            loss = ipo_loss(pc, pr, rc, rr, beta)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(_metrics(loss, chosen_rewards, rejected_rewards))
    return history
