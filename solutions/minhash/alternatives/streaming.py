"""Streaming: one shingle, one document, one pair at a time, in plain Python with NumPy along the hash functions.

Clusters are found by a search that walks from each document to all it is linked with.
"""

import hashlib
import math
import struct
from collections import deque
from collections.abc import Iterator

import numpy as np

PRIME = 2**31 - 1


def shingles(text: str, k: int) -> set[str]:
    found, text = set(), " ".join(text.lower().split())
    while len(text) > k:
        found.add(text[:k])
        text = text[1:]
    return found | {text} if text else found


def hash_shingle(shingle: str) -> int:
    (value,) = struct.unpack_from("<I", hashlib.sha1(shingle.encode("utf-8")).digest())
    return value


def jaccard(a: set, b: set) -> float:
    if a == b:
        return 1.0
    both = sum(item in b for item in a)
    return both / (len(a) + len(b) - both)


def minhash_signature(hashes: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    signature = np.full(len(a), PRIME, dtype=np.uint64)
    for value in hashes % np.uint64(PRIME):
        np.minimum(signature, (a * value + b) % np.uint64(PRIME), out=signature)
    return signature


def estimate_jaccard(s1: np.ndarray, s2: np.ndarray) -> float:
    return sum(x == y for x, y in zip(s1.tolist(), s2.tolist(), strict=True)) / len(s1)


def lsh_candidate_pairs(signatures: np.ndarray, bands: int, rows: int) -> set[tuple[int, int]]:
    if bands * rows > signatures.shape[1]:
        raise ValueError("the signature is too short for so many bands")
    buckets: dict[tuple[int, ...], list[int]] = {}
    pairs = set()
    for document, signature in enumerate(signatures.tolist()):
        for band in range(bands):
            bucket = buckets.setdefault((band, *signature[band * rows : (band + 1) * rows]), [])
            pairs.update((earlier, document) for earlier in bucket)
            bucket.append(document)
    return pairs


def candidate_probability(s: float | np.ndarray, bands: int, rows: int) -> float | np.ndarray:
    if np.ndim(s):
        return np.array([candidate_probability(value, bands, rows) for value in np.ravel(s)]).reshape(np.shape(s))
    return 1.0 if s == 1 else -math.expm1(bands * math.log1p(-(float(s) ** rows)))


def choose_bands(threshold: float, num_perm: int) -> tuple[int, int]:
    best, least = (0, 0), math.inf
    middles = [(i + 0.5) / 200 for i in range(200)]
    for bands in range(1, num_perm + 1):
        for rows in range(1, num_perm // bands + 1):
            misses = [(1 - (threshold * x) ** rows) ** bands for x in middles]
            false_positives = threshold * (1 - math.fsum(misses) / 200)
            misses = [(1 - (threshold + (1 - threshold) * x) ** rows) ** bands for x in middles]
            error = false_positives + (1 - threshold) * math.fsum(misses) / 200
            if error < least:
                best, least = (bands, rows), error
    return best


def deduplicate(
    docs: list[str], threshold: float, k: int, a: np.ndarray, b: np.ndarray, bands: int, rows: int
) -> list[int]:
    sets = [shingles(doc, k) for doc in docs]
    signatures = [minhash_signature(_hashes(items), a, b) for items in sets]
    links: dict[int, list[int]] = {document: [] for document in range(len(docs))}
    for i, j in lsh_candidate_pairs(np.array(signatures, dtype=np.uint64).reshape(len(docs), len(a)), bands, rows):
        if jaccard(sets[i], sets[j]) >= threshold:
            links[i].append(j)
            links[j].append(i)
    return list(_first_of_each(links))


def _hashes(items: set[str]) -> np.ndarray:
    return np.fromiter(map(hash_shingle, items), dtype=np.uint64, count=len(items))


def _first_of_each(links: dict[int, list[int]]) -> Iterator[int]:
    """The first document of each cluster, each cluster walked through breadth first."""
    seen: set[int] = set()
    for start in links:
        if start in seen:
            continue
        yield start
        seen.add(start)
        queue = deque([start])
        while queue:
            new = [other for other in links[queue.popleft()] if other not in seen]
            seen.update(new)
            queue.extend(new)
