"""TF-IDF retrieval over token ids: sparse rows, cosine search, an inverted index, BM25. PROMPT.md pins the details.

The constructors are given done. What an index stores between `fit` and the other methods is up to you.
Sizes: N documents, V token ids in the vocabulary, m different tokens of one document or query.
"""

from collections.abc import Callable

import numpy as np


def document_frequency(docs: list[list[int]], vocab_size: int) -> np.ndarray:
    """How many documents each token is in, whether once or many times.

    Args: docs: N lists of token ids, each list empty or not; may be none. vocab_size: V.
    Returns: [V] int64. A token id outside 0 to V − 1: ValueError.
    """
    raise NotImplementedError("idf: for each document, take every token of it once")


def idf(df: np.ndarray, n_docs: int, smooth: bool = True) -> np.ndarray:
    """ln((1 + N)/(1 + df)) + 1, or unsmoothed ln(N/df) + 1, which is inf where df = 0.

    Args: df: [V] int64 or float64, 0 ≤ df ≤ N; not modified, may be non-contiguous. n_docs: N, 0 or more.
    Returns: [V] float64.
    """
    raise NotImplementedError("idf: write the smooth formula first, then settle df = 0 in the other")


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
        raise NotImplementedError("fit: compute the idf of the corpus first, then one document's weights")

    def row(self, doc_id: int) -> tuple[np.ndarray, np.ndarray]:
        """A document's TF-IDF vector of L2 norm 1, without its zeros.

        Args: doc_id: 0 to N − 1.
        Returns: (token_ids, weights): [m] int64 ascending, [m] float64; both empty for an empty document.
        """
        raise NotImplementedError("fit: look up what fit has stored for this document")

    def transform(self, tokens: list[int]) -> tuple[np.ndarray, np.ndarray]:
        """A query's TF-IDF vector of L2 norm 1, with the idf of the corpus, in the form of a row.

        Args: tokens: any number of token ids, also such as are in no document. Not modified.
        Returns: (token_ids, weights). Tokens of infinite idf are left out. A bad token id: ValueError.
        """
        raise NotImplementedError("transform: count the tokens first, then weight them as fit does")

    def search(self, tokens: list[int], k: int) -> list[tuple[int, float]]:
        """The k documents most similar to a query by cosine, among those that share a token with it.

        Args: tokens: as in transform. k: 0 or more.
        Returns: at most k pairs (doc_id, score), a Python int and float, highest score first, of equal scores the
            lower doc_id first.
        """
        raise NotImplementedError("search: transform the query, then score the documents that share a token with it")

    def postings(self, token: int) -> tuple[np.ndarray, np.ndarray]:
        """The documents that hold a token, with the token's weights in their rows.

        Returns: (doc_ids, weights): [df] int64 ascending, [df] float64. A token id outside 0 to V − 1: ValueError.
        """
        raise NotImplementedError("inverted: store the rows by token too, when fit makes them")

    def bm25(self, tokens: list[int], k: int, k1: float = 1.5, b: float = 0.75) -> list[tuple[int, float]]:
        """The k documents with the highest BM25 score, among those that share a token with the query.

        Args: tokens, k: as in search; a token that the query holds twice counts twice. k1: saturation, 0 or more.
            b: 0 (length does not matter) to 1.
        Returns: as search. smooth and sublinear have no part in it.
        """
        raise NotImplementedError("bm25: store counts and lengths in fit, then score one query token's postings")


class TextSearch:
    """Search in texts through a tokenizer."""

    def __init__(self, encode: Callable[[str], list[int]], vocab_size: int) -> None:
        """Args: encode: a tokenizer's function from a text to token ids below vocab_size."""
        self.encode = encode
        self.index = TfidfIndex(vocab_size)

    def fit(self, texts: list[str]) -> "TextSearch":
        """Index these texts in place of all from before; each is encoded once, as it is. Returns self."""
        raise NotImplementedError("text: encode each text, then fit the index")

    def search(self, text: str, k: int) -> list[tuple[str, float]]:
        """The k texts most similar to the query, as pairs (text, score) in the order of TfidfIndex.search.

        The query is encoded once, as it is; no text of the corpus is encoded again.
        """
        raise NotImplementedError("text: encode the query with the same function, then search the index")
