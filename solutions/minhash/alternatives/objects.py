"""Objects: a family of hash functions, an index with insert and query, a forest of clusters, as a library has them."""

import hashlib
import operator
from collections import defaultdict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from functools import reduce

import numpy as np

PRIME = 2**31 - 1


@dataclass(frozen=True)
class Family:
    a: np.ndarray
    b: np.ndarray

    def signature(self, hashes: np.ndarray) -> np.ndarray:
        residues = np.mod(hashes, np.uint64(PRIME))
        least = [self.apply(a, b, residues).min(initial=PRIME) for a, b in zip(self.a, self.b, strict=True)]
        return np.array(least, dtype=np.uint64)

    @staticmethod
    def apply(a: np.uint64, b: np.uint64, residues: np.ndarray) -> np.ndarray:
        return (a * residues + b) % np.uint64(PRIME)


@dataclass
class Index:
    """Documents by what their bands hold."""

    bands: int
    rows: int
    tables: list[dict[Hashable, list[int]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.tables = [defaultdict(list) for _ in range(self.bands)]

    def keys(self, signature: np.ndarray) -> Iterable[Hashable]:
        used = np.ascontiguousarray(signature[: self.bands * self.rows]).reshape(self.bands, self.rows)
        return (band.tobytes() for band in used)

    def insert(self, document: int, signature: np.ndarray) -> None:
        for table, key in zip(self.tables, self.keys(signature), strict=True):
            table[key].append(document)

    def query(self, signature: np.ndarray) -> set[int]:
        return {
            document
            for table, key in zip(self.tables, self.keys(signature), strict=True)
            for document in table.get(key, ())
        }


@dataclass
class Clusters:
    """Sets of documents, the smaller one poured into the larger."""

    members: dict[int, set[int]]

    def join(self, i: int, j: int) -> None:
        one, other = sorted((self.members[i], self.members[j]), key=len)
        if one is not other:
            other |= one
            self.members.update(dict.fromkeys(one, other))


def shingles(text: str, k: int) -> set[str]:
    text = " ".join(text.lower().split())
    starts = zip(*(text[offset:] for offset in range(k)), strict=False)
    return set(map("".join, starts)) or set(filter(None, [text]))


def hash_shingle(shingle: str) -> int:
    first, second, third, fourth, *_ = hashlib.sha1(shingle.encode()).digest()
    return first | second << 8 | third << 16 | fourth << 24


def jaccard(a: set, b: set) -> float:
    return len(a.intersection(b)) / len(a.union(b)) if a or b else 1.0


def minhash_signature(hashes: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return Family(a, b).signature(hashes)


def estimate_jaccard(s1: np.ndarray, s2: np.ndarray) -> float:
    return 1 - (s1 != s2).mean()


def lsh_candidate_pairs(signatures: np.ndarray, bands: int, rows: int) -> set[tuple[int, int]]:
    if bands * rows > signatures.shape[1]:
        raise ValueError("bands × rows must not exceed the signature's length")
    index, pairs = Index(bands, rows), set()
    for document, signature in enumerate(signatures):
        pairs |= {(earlier, document) for earlier in index.query(signature)}
        index.insert(document, signature)
    return pairs


def candidate_probability(s: float | np.ndarray, bands: int, rows: int) -> float | np.ndarray:
    """One band after the other: what is found is found, what is not has another chance. Only positive terms."""
    band = s**rows
    return reduce(lambda found, _: found + (1 - found) * band, range(bands), 0 * band)


def choose_bands(threshold: float, num_perm: int) -> tuple[int, int]:
    s = (np.arange(500) + 0.5) / 500
    wanted = np.clip(500 * (s - threshold) + 0.5, 0, 1)  # the share of each step above the threshold
    errors = {}
    for bands in range(1, num_perm + 1):
        for rows in range(1, num_perm // bands + 1):
            probability = 1 - (1 - s**rows) ** bands
            errors[bands, rows] = np.mean(probability * (1 - wanted) + (1 - probability) * wanted)
    return min(errors.items(), key=operator.itemgetter(1))[0]


def deduplicate(
    docs: list[str], threshold: float, k: int, a: np.ndarray, b: np.ndarray, bands: int, rows: int
) -> list[int]:
    family, index = Family(a, b), Index(bands, rows)
    clusters = Clusters({document: {document} for document in range(len(docs))})
    sets: list[set[str]] = []
    for document, text in enumerate(docs):
        items = shingles(text, k)
        signature = family.signature(np.array(list(map(hash_shingle, items)), dtype=np.uint64))
        for earlier in index.query(signature):
            if jaccard(sets[earlier], items) >= threshold:
                clusters.join(earlier, document)
        index.insert(document, signature)
        sets.append(items)
    return sorted({min(members) for members in {id(group): group for group in clusters.members.values()}.values()})
