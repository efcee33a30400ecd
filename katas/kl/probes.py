"""What runs inside a worker: it returns data, and holds no expected value."""


def gradient_flags(module, inputs):
    """Which of the caller's tensors require grad once `kl_grad_experiment` has returned."""
    module.kl_grad_experiment(**inputs)
    return {name: inputs[name].requires_grad for name in ("logits", "ref_logp", "reward")}
