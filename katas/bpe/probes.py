"""What the benches run: the whole work, of which little comes back. And tokenizers that are soon gone."""

from typing import Any


def last_merges(module: Any, text: str, vocab_size: int) -> list[tuple[int, int]]:
    """train(text, vocab_size)[1][-10:]"""
    return module.train(text, vocab_size)[1][-10:]


def encoded(module: Any, tokenizer: Any, text: str) -> tuple[int, int]:
    """The number of ids in tokenizer.encode(text), and a hash of them"""
    del module
    ids = tokenizer.encode(text)
    return len(ids), hash(tuple(ids))


def in_turn(module: Any, kinds: list[tuple[dict[int, bytes], list[tuple[int, int]]]], pattern: str, text: str) -> Any:
    """[Tokenizer(vocab, merges, pattern).encode(text) for vocab, merges in kinds]"""
    # Each is freed before the next is made, which then often lies where it lay.
    return [module.Tokenizer(vocab, merges, pattern).encode(text) for vocab, merges in kinds]
