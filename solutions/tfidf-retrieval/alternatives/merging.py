"""Document at a time: sorted posting lists are merged, as an index on disk is read, and each document is scored once.

Plain Python; NumPy only where arrays are asked for.
"""

import math
from array import array
from bisect import insort
from collections.abc import Callable, Iterator
from heapq import merge
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

import numpy as np


class Posting(NamedTuple):
    doc_id: int
    count: int
    weight: float


def document_frequency(docs: list[list[int]], vocab_size: int) -> np.ndarray:
    df = array("q", bytes(8 * vocab_size))
    for doc in docs:
        for token, _ in runs(doc, vocab_size):
            df[token] += 1
    return np.array(df, dtype=np.int64)


def idf(df: np.ndarray, n_docs: int, smooth: bool = True) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        rarity = -np.log((df + smooth) / (n_docs + smooth))
    rarity[np.asarray(df) + smooth == 0] = math.inf
    return rarity + 1


class TfidfIndex:
    def __init__(self, vocab_size: int, smooth: bool = True, sublinear: bool = False) -> None:
        self.vocab_size = vocab_size
        self.smooth = smooth
        self.sublinear = sublinear

    def fit(self, docs: list[list[int]]) -> "TfidfIndex":
        self.idf = idf(document_frequency(docs, self.vocab_size), len(docs), self.smooth)
        self.lengths = [len(doc) for doc in docs]
        self.mean_length = sum(self.lengths) / max(len(docs), 1)
        self.rows = [self.transform(doc) for doc in docs]
        self.lists: dict[int, list[Posting]] = {}
        for doc_id, (doc, (_, weights)) in enumerate(zip(docs, self.rows, strict=True)):
            for (token, count), weight in zip(runs(doc, self.vocab_size), weights.tolist(), strict=True):
                self.lists.setdefault(token, []).append(Posting(doc_id, count, weight))
        return self

    def row(self, doc_id: int) -> tuple[np.ndarray, np.ndarray]:
        return self.rows[doc_id]

    def transform(self, tokens: list[int]) -> tuple[np.ndarray, np.ndarray]:
        ids, weights = array("q"), array("d")
        for token, count in runs(tokens, self.vocab_size):
            if self.idf[token] != math.inf:
                ids.append(token)
                weights.append((1 + math.log(count) if self.sublinear else count) * self.idf[token])
        norm = math.sqrt(math.fsum(weight**2 for weight in weights))
        return np.array(ids, dtype=np.int64), np.array(weights, dtype=np.float64) / (norm or 1.0)

    def search(self, tokens: list[int], k: int) -> list[tuple[int, float]]:
        streams = [
            [(posting.doc_id, weight * posting.weight) for posting in self.lists.get(token, ())]
            for token, weight in zip(*map(np.ndarray.tolist, self.transform(tokens)), strict=True)
        ]
        return ranked(streams, k)

    def postings(self, token: int) -> tuple[np.ndarray, np.ndarray]:
        if token < 0 or token >= self.vocab_size:
            raise ValueError(token)
        doc_ids, _, weights = zip(*self.lists[token], strict=True) if token in self.lists else ((), (), ())
        return np.array(doc_ids, dtype=np.int64), np.array(weights, dtype=np.float64)

    def bm25(self, tokens: list[int], k: int, k1: float = 1.5, b: float = 0.75) -> list[tuple[int, float]]:
        streams = []
        for token, times in runs(tokens, self.vocab_size):
            postings = self.lists.get(token, [])
            rarity = math.log(1 + (len(self.lengths) - len(postings) + 0.5) / (len(postings) + 0.5))
            streams += [[(p.doc_id, rarity * self.saturated(p, k1, b)) for p in postings]] * times
        return ranked(streams, k)

    def saturated(self, posting: Posting, k1: float, b: float) -> float:
        length = self.lengths[posting.doc_id] / self.mean_length
        return posting.count * (k1 + 1) / (posting.count + k1 * (1 - b + b * length))


class TextSearch:
    def __init__(self, encode: Callable[[str], list[int]], vocab_size: int) -> None:
        self.encode = encode
        self.index = TfidfIndex(vocab_size)

    def fit(self, texts: list[str]) -> "TextSearch":
        self.texts = tuple(texts)
        self.index.fit([*map(self.encode, self.texts)])
        return self

    def search(self, text: str, k: int) -> list[tuple[str, float]]:
        return [(self.texts[place], score) for place, score in self.index.search(self.encode(text), k)]


def runs(tokens: list[int], vocab_size: int) -> Iterator[tuple[int, int]]:
    """Each token with its count, ascending."""
    for token, same in groupby(sorted(tokens)):
        if not 0 <= token < vocab_size:
            raise ValueError(token)
        yield token, sum(1 for _ in same)


def ranked(streams: list[list[tuple[int, float]]], k: int) -> list[tuple[int, float]]:
    """The best k of the documents met in ascending streams, as a list that is kept sorted."""
    best: list[tuple[float, int]] = []
    for doc_id, parts in groupby(merge(*streams, key=itemgetter(0)), key=itemgetter(0)):
        insort(best, (-sum(part for _, part in parts), doc_id))
        del best[k:]
    return [(doc_id, -negative) for negative, doc_id in best]
