"""A byte-level BPE tokenizer (Sennrich et al. 2016, on bytes as in Radford et al. 2019), trained incrementally.

Left out: Unicode classes in the pattern, a cache of pre-tokens from one text to the next, and files.
Ids 0 to 255 are the bytes; merge i makes id 256 + i.
"""

import heapq
import re
from collections import Counter, defaultdict
from collections.abc import Set
from itertools import pairwise
from typing import Literal

PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s+(?!\S)|\s+"
"""GPT-2's pre-token pattern, with ASCII letters and digits, so that the standard library's `re` can run it."""


def get_pair_counts(words: dict[tuple[int, ...], int]) -> Counter[tuple[int, int]]:
    """How often each pair of neighbouring ids occurs, over all words, each counted with its frequency.

    Args: words: ids of a word → how often the word occurs, 1 or more. Words may be of any length. Not modified.
    Returns: (left id, right id) → count. Overlapping pairs count: (7, 7, 7, 7) has (7, 7) three times.
    """
    counts: Counter[tuple[int, int]] = Counter()
    for ids, frequency in words.items():
        for pair in pairwise(ids):
            counts[pair] += frequency
    return counts


def merge(ids: tuple[int, ...], pair: tuple[int, int], new_id: int) -> tuple[int, ...]:
    """The ids with every occurrence of the pair replaced by new_id: one pass from left to right, no overlaps.

    Args: ids: any length, also 0. pair: (left id, right id). new_id: any id.
    Returns: a tuple.
    """
    merged, position = [], 0
    while position < len(ids):
        hit = ids[position] == pair[0] and ids[position : position + 2] == pair
        merged.append(new_id if hit else ids[position])
        position += 2 if hit else 1
    return tuple(merged)


def train(text: str, vocab_size: int, pattern: str = PATTERN) -> tuple[dict[int, bytes], list[tuple[int, int]]]:
    """Learn merges: again and again the most frequent pair of neighbours inside a pre-token becomes a new id.

    Args: text: may be empty. vocab_size: at most so many ids, the 256 bytes included; below 256: ValueError. pattern:
        its matches, group 0, are the pre-tokens.
    Returns: (vocab, merges): id → bytes, and the pairs in the order they were merged; fewer where no pair is left. Of
        equally frequent pairs the smallest (left id, right id) is merged.
    """
    if vocab_size < 256:
        raise ValueError(f"a vocabulary of {vocab_size} cannot hold the 256 bytes")
    frequencies = Counter(match[0] for match in re.finditer(pattern, text))
    words = [(tuple(word.encode()), frequency) for word, frequency in frequencies.items()]
    counts = get_pair_counts(dict(words))
    holders = defaultdict(set)  # pair → indices of the words that hold it, and maybe of some that did once
    for index, (ids, _) in enumerate(words):
        for pair in pairwise(ids):
            holders[pair].add(index)
    heap = [(-count, pair) for pair, count in counts.items()]  # its top: the highest count, then the smallest pair
    heapq.heapify(heap)
    vocab = {byte: bytes([byte]) for byte in range(256)}
    merges: list[tuple[int, int]] = []
    while len(vocab) < vocab_size and (best := _pop_best(heap, counts)):
        new_id = len(vocab)
        merges.append(best)
        vocab[new_id] = vocab[best[0]] + vocab[best[1]]
        for pair in _replace(words, counts, holders, best, new_id):
            if counts[pair] > 0:
                heapq.heappush(heap, (-counts[pair], pair))
    return vocab, merges


def _pop_best(heap: list[tuple[int, tuple[int, int]]], counts: Counter[tuple[int, int]]) -> tuple[int, int] | None:
    """The best pair. Entries whose count is out of date are dropped: such a pair was pushed again, or is gone."""
    while heap:
        count, pair = heapq.heappop(heap)
        if counts[pair] == -count:
            return pair
    return None


def _replace(
    words: list[tuple[tuple[int, ...], int]],
    counts: Counter[tuple[int, int]],
    holders: dict[tuple[int, int], set[int]],
    pair: tuple[int, int],
    new_id: int,
) -> set[tuple[int, int]]:
    """Merge the pair in the words that hold it, keep counts and holders true, and return the pairs that changed."""
    changes: defaultdict[tuple[int, int], int] = defaultdict(int)
    for index in holders.pop(pair):
        old, frequency = words[index]
        new = merge(old, pair, new_id)
        if len(new) == len(old):
            continue  # the word lost the pair to an earlier merge
        words[index] = new, frequency
        for gone in pairwise(old):
            changes[gone] -= frequency
        for come in pairwise(new):
            changes[come] += frequency
            holders[come].add(index)
    changed = {other for other, change in changes.items() if change}  # most pairs of a word come as they went
    for other in changed:
        counts[other] += changes[other]
    return changed


class Tokenizer:
    """Text to ids and back, with what `train` returned."""

    def __init__(
        self,
        vocab: dict[int, bytes],
        merges: list[tuple[int, int]],
        pattern: str = PATTERN,
        special_tokens: dict[str, int] | None = None,
    ) -> None:
        """Args: vocab, merges, pattern: as in train. special_tokens: text, not empty → an id that vocab has not."""
        self.vocab = dict(vocab)
        self.merges = list(merges)
        self.pattern = pattern
        self.special_tokens = dict(special_tokens or {})
        self.new_ids = {pair: 256 + rank for rank, pair in enumerate(merges)}
        self.bytes_of = self.vocab | {id_: text.encode() for text, id_ in self.special_tokens.items()}

    def encode(self, text: str, allowed_special: Set[str] | Literal["all"] = frozenset()) -> list[int]:
        """The ids of a text.

        Args: text: may be empty. allowed_special: the special tokens that become their id where they stand in the
            text; "all" for every one. A special token in the text that is not allowed: ValueError.
        """
        allowed = self._allowed(text, allowed_special)
        if not allowed:
            return self._encode_ordinary(text)
        ids = []
        for place, part in enumerate(re.split(f"({_any_of(allowed)})", text)):  # ordinary, special, ordinary, …
            ids += [self.special_tokens[part]] if place % 2 else self._encode_ordinary(part)
        return ids

    def _allowed(self, text: str, allowed_special: Set[str] | Literal["all"]) -> Set[str]:
        """The special tokens that may become ids in this text. One in it that may not: ValueError."""
        special = self.special_tokens.keys()
        allowed = special if allowed_special == "all" else special & allowed_special
        for token in special - allowed:
            if token in text:
                raise ValueError(f"{token!r} is a special token; allow it, or take it out of the text")
        return allowed

    def _encode_ordinary(self, text: str) -> list[int]:
        words = [match[0] for match in re.finditer(self.pattern, text)]
        ids_of = {word: self._encode_word(word.encode()) for word in set(words)}
        return [id_ for word in words for id_ in ids_of[word]]

    def _encode_word(self, word: bytes) -> tuple[int, ...]:
        ids = tuple(word)
        while known := self.new_ids.keys() & pairwise(ids):
            first = min(known, key=self.new_ids.__getitem__)
            ids = merge(ids, first, self.new_ids[first])
        return ids

    def decode(self, ids: list[int]) -> str:
        """The text of ids, special ones too. Bytes that are not UTF-8 become U+FFFD. Unknown id: KeyError."""
        return b"".join(self.bytes_of[id_] for id_ in ids).decode(errors="replace")


def _any_of(tokens: Set[str]) -> str:
    """A pattern for any of these. re takes the first alternative that matches, so the longest comes first."""
    return "|".join(re.escape(token) for token in sorted(tokens, key=len, reverse=True))
