"""Near-duplicate documents by MinHash signatures and banded LSH. PROMPT.md pins the details.

Sizes: N documents, n shingles of one document, P hash functions (the length of a signature), bands × rows of a table.
"""

import numpy as np

PRIME = 2**31 - 1
"""The modulus p of every hash function x → (a·x + b) mod p."""


def shingles(text: str, k: int) -> set[str]:
    """The set of k-character shingles of the normalised text: lowercase, runs of whitespace one space, ends stripped.

    Args: text: any text. k: 1 or more.
    Returns: a set of strings; the text itself where it is shorter than k, nothing where it is blank.
    """
    raise NotImplementedError("shingles: normalise the text first, then cut a window of k characters at every start")


def hash_shingle(shingle: str) -> int:
    """A shingle's 32-bit hash: the first 4 bytes of the SHA-1 of its UTF-8, read as unsigned and little-endian."""
    raise NotImplementedError("shingles: take the SHA-1 digest of the UTF-8 bytes, then its first 4 bytes")


def jaccard(a: set, b: set) -> float:
    """|a ∩ b| / |a ∪ b|, and 1.0 for two empty sets. Neither set is modified."""
    raise NotImplementedError("shingles: divide two sizes, and settle the case of two empty sets")


def minhash_signature(hashes: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The minimum over a document's shingles of each of P hash functions: sig[j] = min over x of (a[j]·x + b[j]) mod p.

    Args: hashes: [n] uint64, any values, in any order; x is a hash mod p. a: [P] uint64, 1 ≤ a < p. b: [P] uint64,
        0 ≤ b < p. None is modified; each may be non-contiguous.
    Returns: [P] uint64, exact; p everywhere where n = 0.
    """
    raise NotImplementedError("signature: reduce the hashes mod p, then compute a·x + b for every function and hash")


def estimate_jaccard(s1: np.ndarray, s2: np.ndarray) -> float:
    """The fraction of the P places at which two signatures, [P] uint64 each, are equal."""
    raise NotImplementedError("signature: compare the two signatures place by place")


def lsh_candidate_pairs(signatures: np.ndarray, bands: int, rows: int) -> set[tuple[int, int]]:
    """The pairs of documents whose signatures agree in all rows of at least one band.

    Args: signatures: [N, P] uint64, not modified; N may be 0. bands, rows: 1 or more. Band i is the columns i·rows to
        (i + 1)·rows; columns beyond bands·rows are not used. bands·rows > P: ValueError.
    Returns: a set of (i, j), i < j, of Python ints. Takes time in proportion to N and the pairs, not to N².
    """
    raise NotImplementedError("candidates: for one band, collect the documents by what they hold in it")


def candidate_probability(s: float | np.ndarray, bands: int, rows: int) -> float | np.ndarray:
    """The probability 1 − (1 − s^rows)^bands that a pair of Jaccard similarity s becomes a candidate.

    Args: s: a float or a float64 array of any shape, 0 ≤ s ≤ 1. bands, rows: 1 or more.
    Returns: a float, or an array of s's shape. The relative error stays below 1e-9, however small the probability is.
    """
    raise NotImplementedError("bands: s^rows is the probability that one band agrees; go on from there")


def choose_bands(threshold: float, num_perm: int) -> tuple[int, int]:
    """The (bands, rows) with the least ∫ P(s) ds over 0..threshold + ∫ 1 − P(s) ds over threshold..1.

    Args: threshold: between 0 and 1. num_perm: P, 1 or more. Every bands·rows ≤ num_perm is tried, also where it is
        less. P(s) is candidate_probability(s, bands, rows).
    Returns: two ints; of equals the one with fewer bands, then with fewer rows.
    """
    raise NotImplementedError("bands: write the error of one (bands, rows) first, as two integrals")


def deduplicate(
    docs: list[str], threshold: float, k: int, a: np.ndarray, b: np.ndarray, bands: int, rows: int
) -> list[int]:
    """The indices of the documents to keep: the first one of every cluster of near-duplicates.

    Args: docs: N texts; may be empty. threshold: two documents are near-duplicates if they are a candidate pair and the
        exact Jaccard similarity of their k-shingles is at least this. a, b: the hash functions, as in
        minhash_signature. bands, rows: as in lsh_candidate_pairs.
    Returns: ascending ints. Near-duplicates of near-duplicates belong to one cluster, which may hold thousands.
    """
    raise NotImplementedError("deduplicate: shingles, hashes and a signature for each document first")
