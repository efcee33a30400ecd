"""What `kata bench tfidf-retrieval` times."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from grader.benching import Call, call, keep, workload

VOCAB = 50_000


def tokens_of(rng: Any, *shape: int) -> Any:
    """Token ids, the low ones frequent as in texts."""
    return (VOCAB ** rng.random(shape)).astype(np.uint16)


def index_of(module: Any, rng: Any) -> Any:
    """An index over 3000 documents of 50 tokens."""
    index = keep(module.TfidfIndex)(VOCAB)
    keep(index.fit)(tokens_of(rng, 3000, 50).tolist())
    return index


@workload(rtol=1e-9, atol=0, memory=True)
def fit(module: Any, rng: Any) -> Iterator[Call]:
    """fitting 1000 documents of 50 tokens, V = 50,000"""
    while True:
        yield call(module.run, "fit_array", tokens_of(rng, 1000, 50), VOCAB)


@workload(rtol=1e-9, atol=0)
def search(module: Any, rng: Any) -> Iterator[Call]:
    """30 searches of 16 tokens in 3000 documents of 50, k = 3"""
    index = index_of(module, rng)
    while True:
        yield call(module.run, "search_all", index, tokens_of(rng, 30, 16).tolist(), 3)


@workload(rtol=1e-9, atol=0)
def bm25(module: Any, rng: Any) -> Iterator[Call]:
    """30 searches by BM25, of 16 tokens in 3000 documents of 50, k = 3"""
    index = index_of(module, rng)
    while True:
        yield call(module.run, "bm25_all", index, tokens_of(rng, 30, 16).tolist(), 3)
