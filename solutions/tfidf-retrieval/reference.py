"""TF-IDF retrieval over token ids: sparse rows, cosine search, an inverted index, BM25 (Manning et al. 2008, ch. 6).

Left out: storing the index, adding and deleting single documents, and skipping documents that cannot reach the top k.
Sizes: N documents, V token ids in the vocabulary, m different tokens of one document or query.
"""

from collections.abc import Callable
from itertools import chain

import numpy as np


def document_frequency(docs: list[list[int]], vocab_size: int) -> np.ndarray:
    """How many documents each token is in, whether once or many times.

    Args: docs: N lists of token ids, each list empty or not; may be none. vocab_size: V.
    Returns: [V] int64. A token id outside 0 to V − 1: ValueError.
    """
    once = chain.from_iterable(map(set, docs))
    return np.bincount(_token_ids(once, vocab_size), minlength=vocab_size)


def idf(df: np.ndarray, n_docs: int, smooth: bool = True) -> np.ndarray:
    """ln((1 + N)/(1 + df)) + 1, or unsmoothed ln(N/df) + 1, which is inf where df = 0.

    Args: df: [V] int64 or float64, 0 ≤ df ≤ N; not modified, may be non-contiguous. n_docs: N, 0 or more.
    Returns: [V] float64.
    """
    if smooth:
        return np.log((1 + n_docs) / (1 + df)) + 1
    found = df > 0
    return np.where(found, np.log(max(n_docs, 1) / np.where(found, df, 1)) + 1, np.inf)


class TfidfIndex:
    """A corpus of token lists, to be searched by cosine similarity of TF-IDF vectors or by BM25."""

    def __init__(self, vocab_size: int, smooth: bool = True, sublinear: bool = False) -> None:
        """Args: vocab_size: V. smooth: as in idf. sublinear: tf is 1 + ln(count) instead of the count."""
        self.vocab_size = vocab_size
        self.smooth = smooth
        self.sublinear = sublinear

    def fit(self, docs: list[list[int]]) -> "TfidfIndex":
        """Index these documents in place of all from before.

        Args: docs: N lists of token ids, as in document_frequency; document i is docs[i]. Not modified.
        Returns: self. Memory grows with the tokens and with V, never with N·V. A bad token id: ValueError.
        """
        self.df = document_frequency(docs, self.vocab_size)  # (V,)
        self.idf = idf(self.df, len(docs), self.smooth)  # (V,)
        self.lengths = np.array([len(doc) for doc in docs], dtype=np.int64)  # (N,)
        self.mean_length = self.lengths.sum() / max(len(docs), 1)

        doc_ids, self.token_ids, counts = _entries(docs, self.vocab_size)  # (nnz,) each
        self.weights = _normalised(self._tf(counts) * self.idf[self.token_ids], doc_ids, len(docs))  # (nnz,)
        self.row_ends = np.searchsorted(doc_ids, np.arange(len(docs) + 1))  # (N + 1,)

        # The same entries ordered by token, then by document.
        by_token = np.argsort(self.token_ids, kind="stable")
        self.posting_docs, self.posting_weights = doc_ids[by_token], self.weights[by_token]
        self.posting_counts = counts[by_token]
        self.posting_ends = np.concatenate([[0], np.cumsum(self.df)])  # (V + 1,)
        return self

    def row(self, doc_id: int) -> tuple[np.ndarray, np.ndarray]:
        """A document's TF-IDF vector of L2 norm 1, without its zeros.

        Args: doc_id: 0 to N − 1.
        Returns: (token_ids, weights): [m] int64 ascending, [m] float64; both empty for an empty document.
        """
        entries = slice(*self.row_ends[doc_id : doc_id + 2])
        return self.token_ids[entries], self.weights[entries]

    def transform(self, tokens: list[int]) -> tuple[np.ndarray, np.ndarray]:
        """A query's TF-IDF vector of L2 norm 1, with the idf of the corpus, in the form of a row.

        Args: tokens: any number of token ids, also such as are in no document. Not modified.
        Returns: (token_ids, weights). Tokens of infinite idf are left out. A bad token id: ValueError.
        """
        ids, counts = np.unique(_token_ids(tokens, self.vocab_size), return_counts=True)  # (m,), (m,)
        known = np.isfinite(self.idf[ids])
        ids, counts = ids[known], counts[known]
        weights = self._tf(counts) * self.idf[ids]
        norm = np.sqrt(weights @ weights)
        return ids, weights / norm if norm else weights

    def search(self, tokens: list[int], k: int) -> list[tuple[int, float]]:
        """The k documents most similar to a query by cosine, among those that share a token with it.

        Args: tokens: as in transform. k: 0 or more.
        Returns: at most k pairs (doc_id, score), a Python int and float, highest score first, of equal scores the
            lower doc_id first.
        """
        scores = np.zeros(len(self.lengths))  # (N,)
        for token, weight in zip(*self.transform(tokens), strict=True):
            doc_ids, weights = self.postings(token)
            scores[doc_ids] += weight * weights
        return _top(scores, k)

    def postings(self, token: int) -> tuple[np.ndarray, np.ndarray]:
        """The documents that hold a token, with the token's weights in their rows.

        Returns: (doc_ids, weights): [df] int64 ascending, [df] float64. A token id outside 0 to V − 1: ValueError.
        """
        entries = self._postings(token)
        return self.posting_docs[entries], self.posting_weights[entries]

    def bm25(self, tokens: list[int], k: int, k1: float = 1.5, b: float = 0.75) -> list[tuple[int, float]]:
        """The k documents with the highest BM25 score, among those that share a token with the query.

        Args: tokens, k: as in search; a token that the query holds twice counts twice. k1: saturation, 0 or more.
            b: 0 (length does not matter) to 1.
        Returns: as search. smooth and sublinear have no part in it.
        """
        scores = np.zeros(len(self.lengths))  # (N,)
        for token in _token_ids(tokens, self.vocab_size):
            entries = self._postings(token)
            doc_ids, tf = self.posting_docs[entries], self.posting_counts[entries]  # (df,), (df,)
            rarity = np.log(1 + (len(scores) - len(tf) + 0.5) / (len(tf) + 0.5))
            relative_length = self.lengths[doc_ids] / self.mean_length
            scores[doc_ids] += rarity * tf * (k1 + 1) / (tf + k1 * (1 - b + b * relative_length))
        return _top(scores, k)

    def _tf(self, counts: np.ndarray) -> np.ndarray:
        return 1 + np.log(counts) if self.sublinear else counts

    def _postings(self, token: int) -> slice:
        if not 0 <= token < self.vocab_size:
            raise ValueError(f"token {token} is outside 0 to {self.vocab_size - 1}")
        return slice(self.posting_ends[token], self.posting_ends[token + 1])


class TextSearch:
    """Search in texts through a tokenizer."""

    def __init__(self, encode: Callable[[str], list[int]], vocab_size: int) -> None:
        """Args: encode: a tokenizer's function from a text to token ids below vocab_size."""
        self.encode = encode
        self.index = TfidfIndex(vocab_size)

    def fit(self, texts: list[str]) -> "TextSearch":
        """Index these texts in place of all from before; each is encoded once, as it is. Returns self."""
        self.texts = list(texts)
        self.index.fit([self.encode(text) for text in texts])
        return self

    def search(self, text: str, k: int) -> list[tuple[str, float]]:
        """The k texts most similar to the query, as pairs (text, score) in the order of TfidfIndex.search.

        The query is encoded once, as it is; no text of the corpus is encoded again.
        """
        return [(self.texts[doc_id], score) for doc_id, score in self.index.search(self.encode(text), k)]


def _token_ids(tokens, vocab_size: int) -> np.ndarray:
    """The tokens as int64, each from 0 to V − 1."""
    ids = np.fromiter(tokens, dtype=np.int64)
    if ids.size and not 0 <= ids.min() <= ids.max() < vocab_size:
        raise ValueError(f"token ids from {ids.min()} to {ids.max()} are outside 0 to {vocab_size - 1}")
    return ids


def _entries(docs: list[list[int]], vocab_size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(doc_ids, token_ids, counts): one entry for each document and token in it, by document, then by token."""
    owners = np.repeat(np.arange(len(docs)), [len(doc) for doc in docs])
    keys = owners * vocab_size + _token_ids(chain.from_iterable(docs), vocab_size)  # one for each token of each text
    keys, counts = np.unique(keys, return_counts=True)
    return *np.divmod(keys, vocab_size), counts


def _normalised(weights: np.ndarray, doc_ids: np.ndarray, n_docs: int) -> np.ndarray:
    """The weights of all entries, each divided by the L2 norm of its document; a document with entries has one."""
    norms = np.sqrt(np.bincount(doc_ids, weights**2, minlength=n_docs))  # (N,)
    return weights / norms[doc_ids]


def _top(scores: np.ndarray, k: int) -> list[tuple[int, float]]:
    """The k highest of the scores above 0, with their places; of equal ones the lower place first."""
    hits = np.flatnonzero(scores)
    best = hits[np.argsort(-scores[hits], kind="stable")[:k]]
    return list(zip(best.tolist(), scores[best].tolist(), strict=True))
