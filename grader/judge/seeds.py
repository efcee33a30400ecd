"""Seeds of a run: fresh ones, and streams derived from them one-way. Needs no NumPy."""

import hashlib
import secrets


def fresh_seed() -> str:
    """16 hexadecimal digits that no attempt can guess."""
    return secrets.token_hex(8)


def derive(seed: str, *names: str) -> int:
    """64 bits from H(seed, names): equal for equal arguments, and of no help in finding the seed or another stream."""
    text = "\0".join((seed, *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")
