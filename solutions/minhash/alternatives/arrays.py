"""Arrays: sorting takes the place of dicts.

Windows are strided views, buckets are runs of equal rows, and the labels of clusters spread until none changes.
"""

import hashlib

import numpy as np

PRIME = np.uint64(2**31 - 1)


def shingles(text: str, k: int) -> set[str]:
    text = " ".join(text.lower().split())
    if len(text) <= k:
        return {text} - {""}
    points = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
    windows = np.lib.stride_tricks.sliding_window_view(points, k)
    return {window.tobytes().decode("utf-32-le") for window in np.unique(windows, axis=0)}


def hash_shingle(shingle: str) -> int:
    return int(np.frombuffer(hashlib.sha1(shingle.encode()).digest(), dtype="<u4", count=1)[0])


def jaccard(a: set, b: set) -> float:
    only_one = len(a ^ b)
    both = (len(a) + len(b) - only_one) // 2
    return both / (both + only_one) if both + only_one else 1.0


def minhash_signature(hashes: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return _signatures([hashes], a, b)[0]


def estimate_jaccard(s1: np.ndarray, s2: np.ndarray) -> float:
    return np.count_nonzero(s1 == s2) / s1.size


def lsh_candidate_pairs(signatures: np.ndarray, bands: int, rows: int) -> set[tuple[int, int]]:
    if bands * rows > signatures.shape[1]:
        raise ValueError(f"{bands} × {rows} > {signatures.shape[1]}")
    return {
        pair
        for band in range(bands)
        for run in _runs(signatures[:, band * rows : (band + 1) * rows])
        for pair in zip(*(run[side].tolist() for side in np.triu_indices(len(run), 1)), strict=True)
    }


def candidate_probability(s: float | np.ndarray, bands: int, rows: int) -> float | np.ndarray:
    """As a geometric sum: 1 − m^bands = (1 − m)·(1 + m + … + m^(bands − 1)) with m = 1 − s^rows. Nothing cancels."""
    band = np.asarray(s, dtype=np.float64) ** rows
    total = band * sum((1 - band) ** power for power in range(bands))
    return total if np.ndim(s) else float(total)


def choose_bands(threshold: float, num_perm: int) -> tuple[int, int]:
    bands, rows = np.indices((num_perm, num_perm)).reshape(2, -1) + 1
    fits = bands * rows <= num_perm
    bands, rows = bands[fits], rows[fits]
    s = np.linspace(0, threshold, 201), np.linspace(threshold, 1, 201)
    misses = [(1 - x[:, None] ** rows) ** bands for x in s]  # (201, options) each
    error = _trapezoid(1 - misses[0]) * threshold + _trapezoid(misses[1]) * (1 - threshold)
    best = np.argmin(error)
    return int(bands[best]), int(rows[best])


def deduplicate(
    docs: list[str], threshold: float, k: int, a: np.ndarray, b: np.ndarray, bands: int, rows: int
) -> list[int]:
    sets = [shingles(doc, k) for doc in docs]
    hashes = [np.array([hash_shingle(item) for item in items], dtype=np.uint64) for items in sets]
    pairs = lsh_candidate_pairs(_signatures(hashes, a, b), bands, rows)
    links = np.array([(i, j) for i, j in pairs if jaccard(sets[i], sets[j]) >= threshold], dtype=int).reshape(-1, 2)
    labels = _labels(len(docs), *links.T)
    return np.flatnonzero(labels == np.arange(len(docs))).tolist()


def _signatures(hashes: list[np.ndarray], a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """[N, P]; each document's shingles are followed by one that hashes to p everywhere, so that none is empty."""
    signatures = np.empty((len(hashes), len(a)), dtype=np.uint64)
    for document, values in enumerate(hashes):
        table = np.multiply.outer(values % PRIME, a)  # (n, P)
        table += b
        table %= PRIME
        signatures[document] = np.vstack([table, np.full(len(a), PRIME)]).min(axis=0)
    return signatures


def _runs(rows: np.ndarray) -> list[np.ndarray]:
    """The indices of equal rows, ascending, for each row that is there twice or more."""
    if len(rows) < 2:
        return []
    order = np.lexsort(rows.T)
    changes = np.flatnonzero((rows[order[1:]] != rows[order[:-1]]).any(axis=1)) + 1
    return [run for run in np.split(order, changes) if len(run) > 1]


def _trapezoid(values: np.ndarray) -> np.ndarray:
    """The mean of columns of values at equal steps, both ends included."""
    return (values[0] / 2 + values[1:-1].sum(axis=0) + values[-1] / 2) / (len(values) - 1)


def _labels(count: int, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The lowest index of everyone's cluster: links spread labels, and labels are followed to their own."""
    labels = np.arange(count)
    while (labels[left] != labels[right]).any():
        low = np.minimum(labels[left], labels[right])
        for side in (labels[left], labels[right]):
            np.minimum.at(labels, side, low)
        while (labels[labels] != labels).any():
            labels = labels[labels]
    return labels
