"""Known wrong solutions, each with the advice that belongs to it."""

import math
from itertools import pairwise

import torch
import torch.nn.functional as F  # noqa: N812 — its usual name

from grader.checking import mistake


def highest(logits, _probs):
    return logits.argsort(dim=-1, descending=True, stable=True)


def routed(x, w_router, k, renormalise, choose=highest, half=False):
    """route with another choice of experts, made from logits and probs, or with its product in half precision."""
    if not 1 <= k <= len(w_router):
        raise ValueError
    dtype = torch.promote_types(x.dtype, torch.float32)
    logits = (x @ w_router.T).to(dtype) if half else x.to(dtype) @ w_router.T.to(dtype)
    probs = logits.softmax(-1)
    indices = choose(logits, probs)[:, :k]
    weights = logits.gather(-1, indices).softmax(-1) if renormalise else probs.gather(-1, indices)
    return weights, indices, probs


@mistake(
    "lowest_logits",
    replaces="route",
    caught_by="test_route_chooses_the_highest_logits",
    advice="These are the k lowest logits: sort in descending order.",
)
def route(x, w_router, k, renormalise=True):
    return routed(x, w_router, k, renormalise, lambda logits, _: logits.argsort(dim=-1, stable=True))


@mistake(
    "never_renormalised",
    replaces="route",
    caught_by="test_weights_are_a_softmax_over_the_chosen",
    advice="The weights are shares of all experts, so they sum to less than 1: take the softmax over the k chosen.",
)
def route(x, w_router, k, renormalise=True):
    return routed(x, w_router, k, False)


@mistake(
    "always_renormalised",
    replaces="route",
    caught_by="test_weights_are_a_softmax_over_the_chosen",
    advice="renormalise=False asks for the chosen entries of probs as they are; for k = 1 only these teach the router.",
)
def route(x, w_router, k, renormalise=True):
    return routed(x, w_router, k, True)


@mistake(
    "ties_left_to_topk",
    replaces="route",
    caught_by="test_equal_logits_go_to_the_lower_index",
    advice="torch.topk orders equal logits as it likes. Sort with stable=True and take the first k.",
)
def route(x, w_router, k, renormalise=True):
    return routed(x, w_router, k, renormalise, lambda logits, _: logits.topk(k, dim=-1).indices)


@mistake(
    "ties_broken_by_a_margin",
    replaces="route",
    caught_by="test_route_at_large_logits",
    advice="What you subtract so that lower indices win also outweighs small true differences: sort with stable=True.",
)
def route(x, w_router, k, renormalise=True):
    margin = 1e-6 * torch.arange(len(w_router))
    return routed(x, w_router, k, renormalise, lambda logits, _: highest(logits - margin, _))


@mistake(
    "chosen_by_probability",
    replaces="route",
    caught_by="test_route_at_large_logits",
    advice="Probabilities underflow to 0 and are then equal, though their logits are not: choose by logits.",
)
def route(x, w_router, k, renormalise=True):
    return routed(x, w_router, k, renormalise, lambda _, probs: highest(probs, _))


@mistake(
    "router_detached",
    replaces="route",
    caught_by="test_router_learns_from_weights_and_probs",
    advice="No gradient reaches the router: only the indices are constants. Drop detach() and no_grad().",
)
@torch.no_grad()
def route(x, w_router, k, renormalise=True):
    return routed(x, w_router, k, renormalise)


@mistake(
    "routed_in_half_precision",
    replaces="route",
    caught_by="test_route_edges",
    advice="The product was rounded to half precision and the choice changed: convert x and w_router to float32 first.",
)
def route(x, w_router, k, renormalise=True):
    return routed(x, w_router, k, renormalise, half=True)


@mistake(
    "overwritten",
    replaces="MoE._dispatched",
    caught_by="test_moe_is_the_weighted_sum_of_its_experts",
    advice="y[token] = … keeps only the last of a token's experts: add to what is there, with index_add_.",
)
def _dispatched(self, flat, weights, indices, keep):
    y = torch.zeros_like(flat)
    for expert in range(len(self.w_router)):
        token, slot = ((indices == expert) & keep).nonzero(as_tuple=True)
        y[token] = weights[token, slot, None] * self._expert(expert, flat[token])
    return y


@mistake(
    "weighted_before_the_expert",
    replaces="MoE._dispatched",
    caught_by="test_moe_is_the_weighted_sum_of_its_experts",
    advice="The weight multiplies what the expert returns, not what it gets: an expert is not linear.",
)
def _dispatched(self, flat, weights, indices, keep):
    y = torch.zeros_like(flat)
    for expert in range(len(self.w_router)):
        token, slot = ((indices == expert) & keep).nonzero(as_tuple=True)
        y.index_add_(0, token, self._expert(expert, weights[token, slot, None] * flat[token]))
    return y


@mistake(
    "halves_exchanged",
    replaces="MoE._expert",
    caught_by="test_moe_is_the_weighted_sum_of_its_experts",
    advice="silu goes on the first half of w_in[e] x, and the second half multiplies it.",
)
def _expert(self, expert, rows):
    up, gate = F.linear(rows, self.w_in[expert]).chunk(2, dim=-1)
    return F.linear(F.silu(gate) * up, self.w_out[expert])


@mistake(
    "option_not_passed_on",
    replaces="MoE._routed",
    caught_by="test_moe_at_all_sizes",
    advice="The layer was made with renormalise=False and renormalises: hand self.renormalise to route.",
)
def _routed(self, x):
    flat = x.reshape(-1, x.shape[-1])
    return flat, *route(flat, self.w_router, self.k)[:2]


@mistake(
    "silent_capacity",
    replaces="MoE.forward",
    caught_by="test_moe_drops_nobody",
    advice="Where many tokens chose one expert some are missing: forward knows no capacity, and drops nobody.",
)
def forward(self, x):
    return self.limited(x, 8.0)[0]


@mistake(
    "weights_detached",
    replaces="MoE._routed",
    caught_by="test_moe_gradients",
    advice="The router learns through the weights alone: do not detach them.",
)
def _routed(self, x):
    flat = x.reshape(-1, x.shape[-1])
    weights, indices, _ = route(flat, self.w_router, self.k, self.renormalise)
    return flat, weights.detach(), indices


@mistake(
    "result_in_float32",
    replaces="MoE.forward",
    caught_by="test_moe_in_any_dtype_and_layout",
    advice="The router's weights are float32 and made y float32: convert back to x's dtype at the end.",
)
def forward(self, x):
    return self.limited(x, 1e6)[0].to(torch.promote_types(x.dtype, torch.float32))


@mistake(
    "every_expert_on_every_token",
    replaces="MoE.forward",
    caught_by="test_experts_work_on_their_tokens_only",
    advice="A gate of 0 does not take back what was computed (0·NaN is NaN): gather each expert's own tokens first.",
)
def forward(self, x):
    flat, weights, indices = self._routed(x)
    gates = weights.new_zeros(len(flat), len(self.w_router)).scatter(1, indices, weights)
    return sum(gates[:, e, None] * self._expert(e, flat) for e in range(len(self.w_router))).to(x.dtype).view(x.shape)


@mistake(
    "computed_then_selected",
    replaces="MoE.forward",
    caught_by="test_moe_costs_k_experts_a_token",
    advice="All experts work on all tokens and most of it is thrown away: gather each expert's own tokens first.",
)
def forward(self, x):
    flat, weights, indices = self._routed(x)
    made = torch.stack([self._expert(e, flat) for e in range(len(self.w_router))], dim=1)
    chosen = made.gather(1, indices[..., None].expand(*indices.shape, x.shape[-1]))
    return (weights[..., None] * chosen).sum(1).to(x.dtype).view(x.shape)


@mistake(
    "parallel_branches",
    replaces="Block.forward",
    caught_by="test_block_adds_attention_then_the_moe",
    advice="The MoE reads the stream from before the attention: add the attention first, then normalise.",
)
def forward(self, x, context):
    return x + self.attention(self.norm_attention(x), context) + self.moe(self.norm_moe(x))


@mistake(
    "capacity_in_eval_mode",
    replaces="Block.forward",
    caught_by="test_chunks_give_the_logits_of_the_whole",
    advice="In eval mode there is a capacity, and a token's y depends on who is in the batch: call the MoE's forward.",
)
def forward(self, x, context):
    x = x + self.attention(self.norm_attention(x), context)
    normed = self.norm_moe(x)
    return x + (self.moe(normed) if self.training else self.moe.limited(normed, 1.0)[0])


def balance(probs, n_experts, fraction, tokens):
    """E·Σ f·P, with f and the number of tokens as given."""
    return n_experts * (fraction.to(probs.dtype) * probs.sum(0) / max(tokens, 1)).sum()


@mistake(
    "fractions_sum_to_k",
    replaces="load_balancing_loss",
    caught_by="test_balancing_loss_is_one_when_balanced",
    advice="The counts are divided by N, so f sums to k: divide by N·k.",
)
def load_balancing_loss(probs, indices, n_experts, mask=None):
    counts = torch.bincount(indices.flatten(), minlength=n_experts).to(probs.dtype)
    return balance(probs, n_experts, counts / len(probs), len(probs))


@mistake(
    "balancing_probs_detached",
    replaces="load_balancing_loss",
    caught_by="test_padding_does_not_count",
    advice="Counts have no gradient, so P must have one: do not detach probs.",
)
def load_balancing_loss(probs, indices, n_experts, mask=None):
    fraction = torch.bincount(indices.flatten(), minlength=n_experts) / indices.numel()
    return balance(probs.detach(), n_experts, fraction, len(probs)) + 0 * probs.sum()


@mistake(
    "padding_multiplied_away",
    replaces="load_balancing_loss",
    caught_by="test_padding_does_not_count",
    advice="0·NaN is NaN: pick the rows that count, probs[mask], instead of multiplying by the mask.",
)
def load_balancing_loss(probs, indices, n_experts, mask=None):
    mask = torch.ones(len(probs), dtype=torch.bool) if mask is None else mask
    counts = torch.bincount(indices[mask].flatten(), minlength=n_experts)
    fraction = counts.to(probs.dtype) / max(indices[mask].numel(), 1)
    return balance(probs * mask[:, None], n_experts, fraction, int(mask.sum()))


@mistake(
    "layers_pooled",
    replaces="model_balancing_loss",
    caught_by="test_layers_are_averaged_not_pooled",
    advice="Pooled, two layers with opposite imbalances look balanced: compute each layer's loss, then the mean.",
)
def model_balancing_loss(routings, n_experts, mask=None):
    mask = None if mask is None else mask.repeat(len(routings))
    probs, indices = (torch.cat(parts) for parts in zip(*routings, strict=True))
    return load_balancing_loss(probs, indices, n_experts, mask)


@mistake(
    "square_of_the_mean",
    replaces="router_z_loss",
    caught_by="test_z_loss_is_the_mean_square_of_logsumexp",
    advice="Square each token's logsumexp, then take the mean: in the square of the mean, signs cancel.",
)
def router_z_loss(logits, mask=None):
    logits = logits if mask is None else logits[mask]
    return (logits.logsumexp(-1).sum() / max(len(logits), 1)).square()


def within(chosen, capacity, shape):
    """keep of one-hot assignments [N·k, E] in order of priority."""
    return ((chosen.cumsum(0) * chosen).sum(-1) <= capacity).view(shape)


@mistake(
    "capacity_rounded_down",
    replaces="keep_within_capacity",
    caught_by="test_earlier_tokens_find_room",
    advice="The capacity was rounded down: take math.ceil.",
)
def keep_within_capacity(indices, n_experts, capacity_factor):
    capacity = int(capacity_factor * indices.numel() / n_experts)
    return within(F.one_hot(indices.flatten(), n_experts), capacity, indices.shape)


@mistake(
    "any_factor_taken",
    replaces="keep_within_capacity",
    caught_by="test_capacity_edges",
    advice="A capacity_factor of 0 or less is refused with a ValueError.",
)
def keep_within_capacity(indices, n_experts, capacity_factor):
    capacity = math.ceil(capacity_factor * indices.numel() / n_experts)
    return within(F.one_hot(indices.flatten(), n_experts), capacity, indices.shape)


@mistake(
    "first_choices_before_second",
    replaces="keep_within_capacity",
    caught_by="test_earlier_tokens_find_room",
    advice="All first choices went before all second ones, as in GShard. Here a token comes with all its slots.",
)
def keep_within_capacity(indices, n_experts, capacity_factor):
    capacity = math.ceil(capacity_factor * indices.numel() / n_experts)
    return within(F.one_hot(indices.T.flatten(), n_experts), capacity, indices.T.shape).T


@mistake(
    "survivors_renormalised",
    replaces="MoE.limited",
    caught_by="test_dropped_assignments_add_nothing",
    advice="The weights of what is kept were renormalised: they stay as route gave them.",
)
def limited(self, x, capacity_factor):
    flat, weights, indices = self._routed(x)
    keep = keep_within_capacity(indices, len(self.w_router), capacity_factor)
    weights = weights * keep
    weights = weights / weights.sum(-1, keepdim=True).clamp(min=1e-9)
    return self._dispatched(flat, weights, indices, keep).view(x.shape), 1 - keep.sum().item() / max(keep.numel(), 1)


@mistake(
    "experts_at_the_end_forgotten",
    replaces="sort_by_expert",
    caught_by="test_assignments_are_sorted_by_expert",
    advice="bincount ends at the highest expert that was chosen: give it minlength=n_experts.",
)
def sort_by_expert(indices, n_experts):
    return indices.flatten().argsort(stable=True), F.pad(torch.bincount(indices.flatten()).cumsum(0), (1, 0))


def walked(self, x, *, weigh=lambda weights, order: weights.flatten()[order], least=1):
    """grouped with other weights, or another least number of rows for which an expert is computed."""
    flat, weights, indices = self._routed(x)
    order, offsets = sort_by_expert(indices, len(self.w_router))
    rows = flat[order // self.k]
    bounds = enumerate(pairwise(offsets.tolist()))
    parts = [self._expert(e, rows[a:b]) for e, (a, b) in bounds if b - a >= least]
    done = weigh(weights, order)[:, None] * torch.cat([rows[:0], *parts])
    return torch.zeros_like(flat).index_add_(0, order // self.k, done.to(x.dtype)).view(x.shape)


@mistake(
    "weights_left_unsorted",
    replaces="MoE.grouped",
    caught_by="test_grouped_is_the_same_layer",
    advice="The rows are in sorted order and the weights are not: take weights.flatten()[order].",
)
def grouped(self, x):
    return walked(self, x, weigh=lambda weights, _order: weights.flatten())


@mistake(
    "idle_experts_computed",
    replaces="MoE.grouped",
    caught_by="test_experts_without_tokens_cost_nothing",
    advice="Thousands of products with no rows at all: leave out experts whose slice is empty.",
)
def grouped(self, x):
    return walked(self, x, least=0)
