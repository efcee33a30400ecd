"""Columns: all entries as one table, sorted twice; a query joins the postings of its tokens and sums them by document.

The best k come from a partition, which leaves the order of equal scores to be mended.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass
class Table:
    """Entries ordered by a key: those of key i are at starts[i] to starts[i + 1]."""

    starts: np.ndarray
    columns: tuple[np.ndarray, ...]

    @classmethod
    def ordered(cls, keys: np.ndarray, size: int, *columns: np.ndarray) -> "Table":
        order = np.argsort(keys, kind="stable")
        starts = np.searchsorted(keys[order], np.arange(size + 1))
        return cls(starts, tuple(column[order] for column in columns))

    def __getitem__(self, key: int) -> tuple[np.ndarray, ...]:
        here = slice(self.starts[key], self.starts[key + 1])
        return tuple(column[here].copy() for column in self.columns)


def document_frequency(docs: list[list[int]], vocab_size: int) -> np.ndarray:
    df = np.zeros(vocab_size, dtype=np.int64)
    for doc in docs:
        df[_counted(doc, vocab_size)[0]] += 1
    return df


def idf(df: np.ndarray, n_docs: int, smooth: bool = True) -> np.ndarray:
    extra = 1 if smooth else 0
    df = np.asarray(df, dtype=np.float64) + extra
    weights = np.full(df.shape, np.inf)
    weights[df > 0] = np.log((n_docs + extra) / df[df > 0]) + 1
    return weights


class TfidfIndex:
    def __init__(self, vocab_size: int, smooth: bool = True, sublinear: bool = False) -> None:
        self.vocab_size = vocab_size
        self.smooth = smooth
        self.sublinear = sublinear

    def fit(self, docs: list[list[int]]) -> "TfidfIndex":
        self.idf = idf(document_frequency(docs, self.vocab_size), len(docs), self.smooth)
        self.lengths = np.array(list(map(len, docs)), dtype=np.int64)
        counted = [_counted(doc, self.vocab_size) for doc in [*docs, []]]  # never none to be put together
        doc_ids = np.repeat(np.arange(len(counted)), [len(ids) for ids, _ in counted])
        tokens, counts = map(np.concatenate, zip(*counted, strict=True))
        weights = np.concatenate([self.weighted(*pair)[1] for pair in counted])
        self.by_doc = Table.ordered(doc_ids, len(docs), tokens, weights)
        self.by_token = Table.ordered(tokens, self.vocab_size, doc_ids, weights, counts)
        return self

    def row(self, doc_id: int) -> tuple[np.ndarray, np.ndarray]:
        return self.by_doc[doc_id]

    def transform(self, tokens: list[int]) -> tuple[np.ndarray, np.ndarray]:
        return self.weighted(*_counted(tokens, self.vocab_size))

    def weighted(self, ids: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        finite = self.idf[ids] < np.inf
        ids, counts = ids[finite], counts[finite]
        weights = (np.log(counts * np.e) if self.sublinear else counts) * self.idf[ids]
        return ids, weights / max(np.linalg.norm(weights), np.finfo(float).tiny)

    def search(self, tokens: list[int], k: int) -> list[tuple[int, float]]:
        ids, weights = self.transform(tokens)
        joined = [self.by_token[token] for token in ids]
        return self.best(
            [doc_ids for doc_ids, _, _ in joined],
            [weight * others for weight, (_, others, _) in zip(weights, joined, strict=True)],
            k,
        )

    def postings(self, token: int) -> tuple[np.ndarray, np.ndarray]:
        if token not in range(self.vocab_size):
            raise ValueError("no such token")
        return self.by_token[token][:2]

    def bm25(self, tokens: list[int], k: int, k1: float = 1.5, b: float = 0.75) -> list[tuple[int, float]]:
        relative = self.lengths / (self.lengths.sum() or 1) * len(self.lengths)
        penalty = k1 * (1 - b + b * relative)
        found, parts = [], []
        for token, times in zip(*_counted(tokens, self.vocab_size), strict=True):
            doc_ids, _, counts = self.by_token[token]
            rarity = np.log((len(self.lengths) + 1) / (len(doc_ids) + 0.5))
            found.append(doc_ids)
            parts.append(times * rarity * (k1 + 1) / (1 + penalty[doc_ids] / counts))
        return self.best(found, parts, k)

    @staticmethod
    def best(found: list[np.ndarray], parts: list[np.ndarray], k: int) -> list[tuple[int, float]]:
        """The k highest sums of parts by document."""
        if not found or not k:
            return []
        ids, places = np.unique(np.concatenate(found), return_inverse=True)
        scores = np.bincount(places, np.concatenate(parts))
        if k < len(ids):
            at_least = np.partition(scores, len(ids) - k)[len(ids) - k]
            ids, scores = ids[scores >= at_least], scores[scores >= at_least]
        order = np.lexsort((ids, -scores))[:k]
        return [(int(ids[place]), float(scores[place])) for place in order]


class TextSearch:
    def __init__(self, encode: Callable[[str], list[int]], vocab_size: int) -> None:
        self.encode = encode
        self.index = TfidfIndex(vocab_size)

    def fit(self, texts: list[str]) -> "TextSearch":
        self.index.fit([self.encode(text) for text in texts])
        self.texts = dict(enumerate(texts))
        return self

    def search(self, text: str, k: int) -> list[tuple[str, float]]:
        hits = self.index.search(self.encode(text), k)
        return [(self.texts[doc_id], score) for doc_id, score in hits]


def _counted(tokens: list[int], vocab_size: int) -> tuple[np.ndarray, np.ndarray]:
    ids, counts = np.unique(np.array(tokens, dtype=np.int64), return_counts=True)
    if len(ids) and (ids[0] < 0 or ids[-1] >= vocab_size):
        raise ValueError("no such token")
    return ids, counts
