"""What a kata may ask to have imported before its attempts run: once, and not in each of their processes."""

PRELOADS = {
    "numpy": ("numpy",),
    "torch": ("numpy", "torch"),
    "distributed": ("numpy", "torch", "torch.distributed.fsdp", "torch._dynamo"),
    "transformers": ("numpy", "torch", "transformers.models.gpt2.modeling_gpt2"),
}
"""The modules of each, by the name that kata.toml gives."""


def libraries(preload: str) -> tuple[str, ...]:
    """What has to be installed.

    >>> libraries("distributed")
    ('numpy', 'torch')
    """
    return tuple(dict.fromkeys(name.partition(".")[0] for name in PRELOADS[preload]))
