"""Written like the definitions: loops over outcomes, samples and tokens, and torch.optim.SGD in the experiment."""

import torch


def kl_categorical(logp, logq):
    total = torch.zeros(logp.shape[:-1], dtype=logp.dtype)
    for log_p, log_q in zip(logp.unbind(-1), logq.unbind(-1), strict=True):
        possible = log_p.exp() > 0
        zero = torch.zeros_like(log_p)
        ratio = torch.where(possible, log_p, zero) - torch.where(possible, log_q, zero)
        total = total + torch.where(possible, log_p, zero - torch.inf).exp() * ratio
    return total


def kl_from_probs(p, q):
    rows = [_kl_of_row(a, b) for a, b in zip(p.reshape(-1, p.shape[-1]), q.reshape(-1, q.shape[-1]), strict=True)]
    return torch.stack(rows).reshape(p.shape[:-1])


def _kl_of_row(p, q):
    total = p.new_zeros(())
    for a, b in zip(p, q, strict=True):
        if a > 0:
            total = total + a * (a.log() - b.log())
    return total


def forward_kl(target, model):
    return kl_categorical(target, model)


def reverse_kl(target, model):
    return forward_kl(model, target)


def symmetric_kl(target, model):
    return sum(kl_categorical(p, q) for p, q in ((target, model), (model, target)))


def kl_gaussian(mu1, std1, mu2, std2):
    log_term = torch.log(std2 / std1)
    variance_term = 0.5 * torch.pow(std1 / std2, 2)
    mean_term = 0.5 * torch.pow((mu1 - mu2) / std2, 2)
    return log_term + variance_term + mean_term - 0.5


def kl_estimate(logp, logq, kind):
    match kind:
        case "k1":
            return logp - logq
        case "k2":
            return 0.5 * (logp - logq).pow(2)
        case "k3":
            log_r = torch.clamp(logq - logp, min=-20, max=20)
            return log_r.expm1().sub(log_r)
    raise ValueError(kind)


def masked_sequence_kl(logp, ref_logp, mask, kind, reduce):
    if reduce not in ("sequence", "token"):
        raise ValueError(reduce)
    total, count = 0, 0
    for log_p, log_ref, counted in zip(logp, ref_logp, mask, strict=True):
        places = counted.nonzero().flatten()  # where there are none, the sum of nothing still has a graph
        total = total + kl_estimate(log_p[places], log_ref[places], kind).sum()
        count += len(places)
    return total / (logp.shape[0] if reduce == "sequence" else max(count, 1))


def kl_grad_experiment(logits, ref_logp, reward, beta, kind, place, lr, steps):
    theta = torch.nn.Parameter(logits.detach().clone())
    optimizer = torch.optim.SGD([theta], lr=lr)
    for _ in range(steps):
        optimizer.zero_grad()
        logp = torch.log_softmax(theta, dim=0)
        expectation = torch.zeros((), dtype=logits.dtype)
        for x in range(len(logits)):
            k = kl_estimate(logp[x], ref_logp[x], kind)
            expectation = expectation + logp[x].detach().exp() * _loss(logp[x], reward[x], k, beta, place)
        expectation.backward()
        optimizer.step()
    return torch.softmax(theta.detach(), dim=0)


def _loss(logp, reward, k, beta, place):
    if place == "reward":
        return -(reward - beta * k.detach()) * logp
    if place == "loss":
        return -reward * logp + beta * k
    raise ValueError(place)


def ppo_approx_kl(new_logp, old_logp):
    samples = zip(old_logp.detach().flatten(), new_logp.detach().flatten(), strict=True)
    return torch.stack([kl_estimate(old, new, "k3") for old, new in samples]).mean()


def dpo_implicit_kl(ref_logp, reward, beta):
    unnormalised = ref_logp + reward / beta
    top = unnormalised.max(dim=-1, keepdim=True).values
    log_z = top + (unnormalised - top).exp().sum(-1, keepdim=True).log()
    return kl_categorical(unnormalised - log_z, ref_logp)
