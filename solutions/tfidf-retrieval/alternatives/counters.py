"""Counters and dicts: one document at a time in, one posting at a time out, the best k from a heap."""

import heapq
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable

import numpy as np


def document_frequency(docs: list[list[int]], vocab_size: int) -> np.ndarray:
    found = Counter(token for doc in docs for token in checked(set(doc), vocab_size))
    return np.array([found[token] for token in range(vocab_size)], dtype=np.int64)


def idf(df: np.ndarray, n_docs: int, smooth: bool = True) -> np.ndarray:
    if smooth:
        return np.array([math.log((1 + n_docs) / (1 + count)) + 1 for count in df.tolist()])
    return np.array([math.log(n_docs / count) + 1 if count else math.inf for count in df.tolist()])


class TfidfIndex:
    def __init__(self, vocab_size: int, smooth: bool = True, sublinear: bool = False) -> None:
        self.vocab_size = vocab_size
        self.smooth = smooth
        self.sublinear = sublinear

    def fit(self, docs: list[list[int]]) -> "TfidfIndex":
        self.idf = idf(document_frequency(docs, self.vocab_size), len(docs), self.smooth).tolist()
        self.counts = [Counter(doc) for doc in docs]
        self.rows = [self.vector(count) for count in self.counts]
        self.inverted: dict[int, list[tuple[int, float]]] = defaultdict(list)
        for doc_id, row in enumerate(self.rows):
            for token, weight in row.items():
                self.inverted[token].append((doc_id, weight))
        return self

    def row(self, doc_id: int) -> tuple[np.ndarray, np.ndarray]:
        return arrays(self.rows[doc_id].items())

    def transform(self, tokens: list[int]) -> tuple[np.ndarray, np.ndarray]:
        return arrays(self.vector(Counter(tokens)).items())

    def search(self, tokens: list[int], k: int) -> list[tuple[int, float]]:
        scores: dict[int, float] = defaultdict(float)
        for token, weight in self.vector(Counter(tokens)).items():
            for doc_id, other in self.inverted.get(token, ()):
                scores[doc_id] += weight * other
        return best(scores, k)

    def postings(self, token: int) -> tuple[np.ndarray, np.ndarray]:
        checked([token], self.vocab_size)
        return arrays(self.inverted.get(token, ()))

    def bm25(self, tokens: list[int], k: int, k1: float = 1.5, b: float = 0.75) -> list[tuple[int, float]]:
        n_docs, total = len(self.counts), sum(count.total() for count in self.counts)
        scores: dict[int, float] = defaultdict(float)
        for token, times in Counter(checked(tokens, self.vocab_size)).items():
            holders = self.inverted.get(token, ())
            rarity = math.log1p((n_docs - len(holders) + 0.5) / (len(holders) + 0.5))
            for doc_id, _ in holders:
                tf, length = self.counts[doc_id][token], self.counts[doc_id].total()
                saturated = tf * (k1 + 1) / (tf + k1 * (1 - b + b * length * n_docs / total))
                scores[doc_id] += times * rarity * saturated
        return best(scores, k)

    def vector(self, counts: Counter[int]) -> dict[int, float]:
        """Weights by token, ascending."""
        weights = {
            token: (1 + math.log(counts[token]) if self.sublinear else counts[token]) * self.idf[token]
            for token in checked(sorted(counts), self.vocab_size)
            if self.idf[token] < math.inf
        }
        norm = math.hypot(*weights.values())
        return {token: weight / norm for token, weight in weights.items()}


class TextSearch:
    def __init__(self, encode: Callable[[str], list[int]], vocab_size: int) -> None:
        self.encode = encode
        self.index = TfidfIndex(vocab_size)

    def fit(self, texts: list[str]) -> "TextSearch":
        self.texts = texts
        self.index.fit(list(map(self.encode, texts)))
        return self

    def search(self, text: str, k: int) -> list[tuple[str, float]]:
        return [(self.texts[doc_id], score) for doc_id, score in self.index.search(self.encode(text), k)]


def checked(tokens: Iterable[int], vocab_size: int) -> Iterable[int]:
    for token in tokens:
        if not 0 <= token < vocab_size:
            raise ValueError(f"no such token: {token}")
    return tokens


def arrays(pairs: Iterable[tuple[int, float]]) -> tuple[np.ndarray, np.ndarray]:
    ids, values = zip(*pairs, strict=True) if pairs else ((), ())
    return np.array(ids, dtype=np.int64), np.array(values, dtype=np.float64)


def best(scores: dict[int, float], k: int) -> list[tuple[int, float]]:
    return heapq.nsmallest(k, scores.items(), key=lambda item: (-item[1], item[0]))
