"""Near-duplicate documents by MinHash signatures and banded LSH (Broder 1997; Mining of Massive Datasets, chapter 3).

Left out: drawing a and b, storing buckets between runs, and what makes it run on many machines.
Sizes: N documents, n shingles of one document, P hash functions (the length of a signature), bands × rows of a table.
"""

import hashlib
from collections import defaultdict
from itertools import combinations

import numpy as np

PRIME = 2**31 - 1
"""The modulus p of every hash function x → (a·x + b) mod p."""


def shingles(text: str, k: int) -> set[str]:
    """The set of k-character shingles of the normalised text: lowercase, runs of whitespace one space, ends stripped.

    Args: text: any text. k: 1 or more.
    Returns: a set of strings; the text itself where it is shorter than k, nothing where it is blank.
    """
    text = " ".join(text.lower().split())
    if not text:
        return set()
    return {text[start : start + k] for start in range(max(len(text) - k, 0) + 1)}


def hash_shingle(shingle: str) -> int:
    """A shingle's 32-bit hash: the first 4 bytes of the SHA-1 of its UTF-8, read as unsigned and little-endian."""
    return int.from_bytes(hashlib.sha1(shingle.encode()).digest()[:4], "little")


def jaccard(a: set, b: set) -> float:
    """|a ∩ b| / |a ∪ b|, and 1.0 for two empty sets. Neither set is modified."""
    union = a | b
    return len(a & b) / len(union) if union else 1.0


def minhash_signature(hashes: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The minimum over a document's shingles of each of P hash functions: sig[j] = min over x of (a[j]·x + b[j]) mod p.

    Args: hashes: [n] uint64, any values, in any order; x is a hash mod p. a: [P] uint64, 1 ≤ a < p. b: [P] uint64,
        0 ≤ b < p. None is modified; each may be non-contiguous.
    Returns: [P] uint64, exact; p everywhere where n = 0.
    """
    x = hashes % PRIME  # (n,); below p, so that a·x + b < 2^62 is exact
    permuted = a[:, None] * x  # (P, n); changed in place, as a new table for each step takes twice the time
    permuted += b[:, None]
    permuted %= PRIME
    return permuted.min(axis=1, initial=PRIME)  # (P,)


def estimate_jaccard(s1: np.ndarray, s2: np.ndarray) -> float:
    """The fraction of the P places at which two signatures, [P] uint64 each, are equal."""
    return float(np.mean(s1 == s2))


def lsh_candidate_pairs(signatures: np.ndarray, bands: int, rows: int) -> set[tuple[int, int]]:
    """The pairs of documents whose signatures agree in all rows of at least one band.

    Args: signatures: [N, P] uint64, not modified; N may be 0. bands, rows: 1 or more. Band i is the columns i·rows to
        (i + 1)·rows; columns beyond bands·rows are not used. bands·rows > P: ValueError.
    Returns: a set of (i, j), i < j, of Python ints. Takes time in proportion to N and the pairs, not to N².
    """
    if bands * rows > signatures.shape[1]:
        raise ValueError(f"{bands} bands of {rows} rows need more than the {signatures.shape[1]} columns there are")
    pairs = set()
    for band in np.split(signatures[:, : bands * rows], bands, axis=1):  # (N, rows)
        buckets = defaultdict(list)
        for document, values in enumerate(band):
            buckets[values.tobytes()].append(document)
        for bucket in buckets.values():
            pairs.update(combinations(bucket, 2))
    return pairs


def candidate_probability(s: float | np.ndarray, bands: int, rows: int) -> float | np.ndarray:
    """The probability 1 − (1 − s^rows)^bands that a pair of Jaccard similarity s becomes a candidate.

    Args: s: a float or a float64 array of any shape, 0 ≤ s ≤ 1. bands, rows: 1 or more.
    Returns: a float, or an array of s's shape. The relative error stays below 1e-9, however small the probability is.
    """
    with np.errstate(divide="ignore"):  # log 0 = −inf is right at s = 1
        return -np.expm1(bands * np.log1p(-(s**rows)))


def choose_bands(threshold: float, num_perm: int) -> tuple[int, int]:
    """The (bands, rows) with the least ∫ P(s) ds over 0..threshold + ∫ 1 − P(s) ds over threshold..1.

    Args: threshold: between 0 and 1. num_perm: P, 1 or more. Every bands·rows ≤ num_perm is tried, also where it is
        less. P(s) is candidate_probability(s, bands, rows).
    Returns: two ints; of equals the one with fewer bands, then with fewer rows.
    """
    # P(s) is a polynomial of degree bands·rows, for which Gauss's rule with this many nodes is exact.
    nodes, weights = np.polynomial.legendre.leggauss(num_perm // 2 + 1)
    nodes, weights = (nodes + 1) / 2, weights / 2  # from −1..1 to 0..1
    below, above = threshold * nodes, threshold + (1 - threshold) * nodes

    def error(option: tuple[int, int]) -> float:
        false_positives = threshold * weights @ candidate_probability(below, *option)
        false_negatives = (1 - threshold) * weights @ (1 - candidate_probability(above, *option))
        return false_positives + false_negatives

    options = ((bands, rows) for bands in range(1, num_perm + 1) for rows in range(1, num_perm // bands + 1))
    return min(options, key=error)


def deduplicate(
    docs: list[str], threshold: float, k: int, a: np.ndarray, b: np.ndarray, bands: int, rows: int
) -> list[int]:
    """The indices of the documents to keep: the first one of every cluster of near-duplicates.

    Args: docs: N texts; may be empty. threshold: two documents are near-duplicates if they are a candidate pair and the
        exact Jaccard similarity of their k-shingles is at least this. a, b: the hash functions, as in
        minhash_signature. bands, rows: as in lsh_candidate_pairs.
    Returns: ascending ints. Near-duplicates of near-duplicates belong to one cluster, which may hold thousands.
    """
    sets = [shingles(doc, k) for doc in docs]
    signatures = np.empty((len(docs), len(a)), dtype=np.uint64)
    for row, items in zip(signatures, sets, strict=True):
        row[:] = minhash_signature(np.array([hash_shingle(item) for item in items], dtype=np.uint64), a, b)
    parent = list(range(len(docs)))  # a forest, in which no parent has a higher index than its child
    for i, j in lsh_candidate_pairs(signatures, bands, rows):
        if jaccard(sets[i], sets[j]) >= threshold:
            low, high = sorted((_root(parent, i), _root(parent, j)))
            parent[high] = low
    return [document for document, above in enumerate(parent) if document == above]


def _root(parent: list[int], document: int) -> int:
    """The lowest document of its cluster; halves the path to it on the way."""
    while parent[document] != document:
        parent[document] = parent[parent[document]]
        document = parent[document]
    return document
