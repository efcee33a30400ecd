"""Masks and closed forms: the experiment follows the analytic gradient of a softmax, without autograd."""

import torch
import torch.nn.functional as F  # noqa: N812 — its usual name


def kl_categorical(logp, logq):
    impossible = logp.exp() == 0  # (..., V)
    log_ratio = (logp - logq).masked_fill(impossible, 0.0)
    return torch.linalg.vecdot(logp.exp(), log_ratio)


def kl_from_probs(p, q):
    log_p, log_q = (x.masked_fill(p == 0, 1.0).log() for x in (p, q))
    return torch.sum(p * (log_p - log_q), dim=-1)


def forward_kl(target, model):
    return kl_categorical(logp=target, logq=model)


def reverse_kl(target, model):
    return kl_categorical(logp=model, logq=target)


def symmetric_kl(target, model):
    both = kl_categorical(torch.stack([target, model]), torch.stack([model, target]))  # (2, ...)
    return both.sum(0)


def kl_gaussian(mu1, std1, mu2, std2):
    z = (mu1 - mu2) / std2
    log_ratio = std1.log() - std2.log()
    return 0.5 * (torch.expm1(2 * log_ratio) + z.square()) - log_ratio


def kl_estimate(logp, logq, kind):
    formulas = {
        "k1": torch.neg,
        "k2": lambda log_r: 0.5 * log_r.square(),
        "k3": lambda log_r: torch.special.expm1(log_r.clip(-20, 20)) - log_r.clip(-20, 20),
    }
    if kind not in formulas:
        raise ValueError(f"unknown kind {kind!r}")
    return formulas[kind](logq - logp)


def masked_sequence_kl(logp, ref_logp, mask, kind, reduce):
    if reduce not in ("sequence", "token"):
        raise ValueError(f"unknown reduce {reduce!r}")
    counted = mask != 0
    total = kl_estimate(logp[counted], ref_logp[counted], kind).sum()
    return total / (logp.shape[0] if reduce == "sequence" else max(int(counted.sum()), 1))


def kl_grad_experiment(logits, ref_logp, reward, beta, kind, place, lr, steps):
    if place not in {"reward", "loss"}:
        raise ValueError(f"unknown place {place!r}")
    theta = logits.detach().clone()
    for _ in range(steps):
        logp = F.log_softmax(theta, dim=-1)
        d = logp - ref_logp
        if place == "reward":
            weight = beta * kl_estimate(logp, ref_logp, kind) - reward  # of ∇ log π(x)
        else:
            slope = {"k1": torch.ones_like(d), "k2": d, "k3": -torch.expm1(-d) * (d.abs() <= 20)}[kind]
            weight = beta * slope - reward
        p = logp.exp()
        theta -= lr * p * (weight - p @ weight)  # Σ p·weight·(onehot − p)
    return F.softmax(theta, dim=-1)


@torch.no_grad()
def ppo_approx_kl(new_logp, old_logp):
    log_ratio = (new_logp - old_logp).clamp(min=-20.0, max=20.0)
    return (log_ratio.expm1() - log_ratio).mean()


def dpo_implicit_kl(ref_logp, reward, beta):
    scaled = reward / beta
    log_z = torch.logsumexp(ref_logp + scaled, dim=-1)  # log E_ref[exp(r/β)]
    optimum = (ref_logp + scaled - log_z[..., None]).exp()
    return (optimum * scaled).sum(-1) - log_z  # E_π*[r]/β − log Z
