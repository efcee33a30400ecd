"""NumPy throughout; what must be differentiable is a torch.autograd.Function with its gradient written out."""

import numpy as np
import torch


class _WeightedLogRatio(torch.autograd.Function):
    """Σ p·(log p − log q) over the last axis; gradients p·(log p − log q + 1) and −p."""

    @staticmethod
    def forward(ctx, logp, logq):
        p = np.exp(logp.numpy())
        with np.errstate(invalid="ignore"):
            log_ratio = np.where(p > 0, logp.numpy() - logq.numpy(), 0).astype(p.dtype)
        ctx.p, ctx.log_ratio = p, log_ratio
        return torch.from_numpy(np.asarray((p * log_ratio).sum(-1)))

    @staticmethod
    def backward(ctx, upstream):
        weight = upstream.numpy()[..., None] * ctx.p
        return torch.from_numpy(weight * (ctx.log_ratio + 1)), torch.from_numpy(-weight)


class _Estimate(torch.autograd.Function):
    """k1, k2 or k3 of d = log p − log q, with the derivative in d."""

    @staticmethod
    def forward(ctx, logp, logq, kind):
        d = logp.numpy() - logq.numpy()
        ctx.slope, value = _estimate(d, kind)
        return torch.from_numpy(np.asarray(value, dtype=d.dtype))

    @staticmethod
    def backward(ctx, upstream):
        grad = upstream.numpy() * ctx.slope
        return torch.from_numpy(np.asarray(grad)), torch.from_numpy(np.asarray(-grad)), None


def _estimate(d, kind):
    """(derivative, value)."""
    if kind == "k1":
        return np.ones_like(d), d
    if kind == "k2":
        return d, d * d / 2
    if kind == "k3":
        log_ratio = np.clip(-d, -20, 20)
        return -np.expm1(log_ratio) * (np.abs(d) <= 20), np.expm1(log_ratio) - log_ratio
    raise ValueError(f"no estimator {kind!r}")


def _from_logits(z):
    z = z - z.max(-1, keepdims=True)
    return z - np.log(np.exp(z).sum(-1, keepdims=True))


def kl_categorical(logp, logq):
    return _WeightedLogRatio.apply(logp, logq)


def kl_from_probs(p, q):
    p, q = p.numpy(), q.numpy()
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(p > 0, p * (np.log(p) - np.log(q)), 0)
    return torch.from_numpy(np.asarray(terms.sum(-1), dtype=p.dtype))


def forward_kl(target, model):
    return _WeightedLogRatio.apply(target, model)


def reverse_kl(target, model):
    return _WeightedLogRatio.apply(model, target)


def symmetric_kl(target, model):
    return torch.add(forward_kl(target, model), reverse_kl(target, model))


def kl_gaussian(mu1, std1, mu2, std2):
    mu1, std1, mu2, std2 = (x.numpy() for x in (mu1, std1, mu2, std2))
    shift, stretch = (mu1 - mu2) / std2, std1 / std2
    return torch.from_numpy(np.asarray(0.5 * (shift**2 + stretch**2 - 1 - 2 * np.log(stretch))))


def kl_estimate(logp, logq, kind):
    return _Estimate.apply(logp, logq, kind)


def masked_sequence_kl(logp, ref_logp, mask, kind, reduce):
    places = [torch.nonzero(row).flatten() for row in mask]
    rows = [kl_estimate(a[i], b[i], kind).sum() for a, b, i in zip(logp, ref_logp, places, strict=True)]
    total = torch.stack(rows).sum()
    if reduce == "sequence":
        return total / len(rows)
    if reduce == "token":
        return total / max(sum(map(len, places)), 1)
    raise ValueError(f"no reduction {reduce!r}")


def kl_grad_experiment(logits, ref_logp, reward, beta, kind, place, lr, steps):
    theta, ref, returns = (x.numpy().copy() for x in (logits, ref_logp, reward))
    for _ in range(steps):
        logp = _from_logits(theta)
        slope, value = _estimate(logp - ref, kind)
        penalty = {"reward": value, "loss": slope}.get(place)
        if penalty is None:
            raise ValueError(f"no place {place!r}")
        ascent = returns - beta * penalty
        p = np.exp(logp)
        theta = theta + lr * p * (ascent - (p * ascent).sum())
    return torch.from_numpy(np.exp(_from_logits(theta)))


def ppo_approx_kl(new_logp, old_logp):
    _, value = _estimate(old_logp.detach().numpy() - new_logp.detach().numpy(), "k3")
    return torch.from_numpy(np.asarray(value.mean()))


def dpo_implicit_kl(ref_logp, reward, beta):
    optimum = _from_logits(ref_logp.numpy() + reward.numpy() / beta)
    return kl_categorical(torch.from_numpy(optimum), ref_logp)
