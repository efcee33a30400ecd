"""What `kata bench bpe` times."""

from collections.abc import Iterator
from typing import Any

from grader.benching import Call, call, keep, workload

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def lexicon_of(rng: Any, count: int) -> list[str]:
    """So many words, of two to eleven letters, some letters more frequent than others."""
    letters = rng.permutation(list(LETTERS))
    places = (len(LETTERS) * rng.random((count, 11)) ** 2).astype(int)
    lengths = rng.integers(2, 12, count)
    return ["".join(letters[row[:length]]) for row, length in zip(places, lengths, strict=True)]


def text_of(rng: Any, lexicon: list[str], count: int) -> str:
    """So many words of the lexicon, the first of it frequent as in texts."""
    ranks = (len(lexicon) ** rng.random(count)).astype(int) - 1
    return " ".join(lexicon[rank] for rank in ranks)


@workload(rtol=0, atol=0)
def train(module: Any, rng: Any) -> Iterator[Call]:
    """training, 150 merges on 3000 words of 700 kinds"""
    while True:
        yield call(module.run, "last_merges", text_of(rng, lexicon_of(rng, 1500), 3000), 256 + 150)


@workload(rtol=0, atol=0)
def encode(module: Any, rng: Any) -> Iterator[Call]:
    """encoding 3000 words of 700 kinds, with 500 merges"""
    vocab, merges = module.train(text_of(rng, lexicon_of(rng, 1500), 6000), 256 + 500)
    tokenizer = keep(module.Tokenizer)(vocab, merges)
    while True:
        yield call(module.run, "encoded", tokenizer, text_of(rng, lexicon_of(rng, 1500), 3000))
