"""A word is a string in which the character of number i stands for id i: then str.replace merges, and is exact."""

import re
from collections import Counter, defaultdict
from itertools import pairwise

PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s+(?!\S)|\s+"


def packed(ids):
    return "".join(map(chr, ids))


def unpacked(string):
    return tuple(map(ord, string))


def get_pair_counts(words):
    return sum(
        (Counter({pair: words[ids] * n for pair, n in Counter(pairwise(ids)).items()}) for ids in words), Counter()
    )


def merge(ids, pair, new_id):
    return unpacked(packed(ids).replace(packed(pair), chr(new_id)))


def train(text, vocab_size, pattern=PATTERN):
    if vocab_size < 256:
        raise ValueError("the bytes alone are 256")
    vocab, merges = {i: i.to_bytes(1, "big") for i in range(256)}, []
    weight = Counter(m[0] for m in re.finditer(pattern, text))
    current = {word: word.encode().decode("latin-1") for word in weight}
    holders, count = defaultdict(set), defaultdict(int)

    def enter(word):
        for left, right in pairwise(current[word]):
            holders[left + right].add(word)
            count[left + right] += weight[word]

    def leave(word):
        for left, right in pairwise(current[word]):
            holders[left + right].discard(word)
            count[left + right] -= weight[word]
            if not count[left + right]:
                del count[left + right]

    for word in current:
        enter(word)
    while count and len(vocab) < vocab_size:
        pair = min(count, key=lambda p: (-count[p], p))  # strings compare by code points, that is by ids
        for word in list(holders[pair]):
            leave(word)
            current[word] = current[word].replace(pair, chr(len(vocab)))
            enter(word)
        left, right = unpacked(pair)
        vocab[len(vocab)] = vocab[left] + vocab[right]
        merges.append((left, right))
    return vocab, merges


class Tokenizer:
    def __init__(self, vocab, merges, pattern=PATTERN, special_tokens=None):
        self.special = special_tokens or {}
        self.bytes_of = {**vocab, **{i: s.encode() for s, i in self.special.items()}}
        self.new = {packed(pair): 256 + rank for rank, pair in enumerate(merges)}
        self.pattern = pattern

    def encode(self, text, allowed_special=frozenset()):
        allowed = {s: i for s, i in self.special.items() if allowed_special == "all" or s in allowed_special}
        for token in self.special:
            if token not in allowed and text.find(token) >= 0:
                raise ValueError(f"not allowed: {token}")
        pieces, rest = [], text
        while hits := {s: rest.index(s) for s in allowed if s in rest}:
            token = min(hits, key=lambda s: (hits[s], -len(s)))
            before, _, rest = rest.partition(token)
            pieces += [*self.ordinary(before), allowed[token]]
        return pieces + self.ordinary(rest)

    def ordinary(self, text):
        return [ord(c) for m in re.finditer(self.pattern, text) for c in self.word(m[0].encode().decode("latin-1"))]

    def word(self, string):
        while True:
            known = [(self.new[pair], pair) for pair in map("".join, pairwise(string)) if pair in self.new]
            if not known:
                return string
            new, pair = min(known)
            string = string.replace(pair, chr(new))

    def decode(self, ids):
        return b"".join([self.bytes_of[i] for i in ids]).decode("utf-8", "replace")
