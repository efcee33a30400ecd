"""No heap: an index from pairs to words, exact counts, and one scan over the pairs for each merge."""

import re
from collections import Counter, defaultdict
from functools import lru_cache
from itertools import pairwise

PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s+(?!\S)|\s+"


def get_pair_counts(words):
    return _total({}, words.items(), 1)


def _total(counts, words, sign):
    for ids, frequency in words:
        for pair in pairwise(ids):
            counts[pair] = counts.get(pair, 0) + sign * frequency
    return counts


def merge(ids, pair, new_id):
    out = []
    last_was_new = False
    for right in ids:
        if out and not last_was_new and (out[-1], right) == pair:
            out[-1] = new_id
            last_was_new = True
        else:
            out.append(right)
            last_was_new = False
    return tuple(out)


def train(text, vocab_size, pattern=PATTERN):
    if vocab_size < 256:
        raise ValueError("vocab_size has to be 256 or more")
    frequency = Counter(m.group() for m in re.compile(pattern).finditer(text))
    words = {word: tuple(word.encode("utf-8")) for word in frequency}
    counts = _total({}, ((ids, frequency[word]) for word, ids in words.items()), 1)
    index = defaultdict(dict)
    for word, ids in words.items():
        for pair in pairwise(ids):
            index[pair][word] = None
    merges = []
    while counts and 256 + len(merges) < vocab_size:
        most = max(counts.values())
        best = min(pair for pair, count in counts.items() if count == most)
        for word in index.pop(best):
            before = words[word]
            after = words[word] = merge(before, best, 256 + len(merges))
            _total(counts, [(before, frequency[word])], -1)
            _total(counts, [(after, frequency[word])], 1)
            for pair in pairwise(before):
                if counts.get(pair) == 0:
                    del counts[pair]
            for pair in pairwise(after):
                index[pair][word] = None
        merges.append(best)
    return _vocab(merges), merges


def _vocab(merges):
    tokens = [bytes([i]) for i in range(256)]
    for left, right in merges:
        tokens.append(tokens[left] + tokens[right])
    return dict(enumerate(tokens))


class Tokenizer:
    def __init__(self, vocab, merges, pattern=PATTERN, special_tokens=None):
        self.pattern = re.compile(pattern)
        self.ranks = {pair: rank for rank, pair in enumerate(merges)}
        self.special = dict(special_tokens or {})
        self.tokens = {**vocab, **{i: text.encode("utf-8") for text, i in self.special.items()}}
        self.word_ids = lru_cache(maxsize=10_000)(self._word_ids)

    def encode(self, text, allowed_special=frozenset()):
        allowed = set(self.special) if allowed_special == "all" else set(self.special).intersection(allowed_special)
        if any(token in text for token in self.special if token not in allowed):
            raise ValueError("the text holds a special token that is not allowed")
        ids, start, position = [], 0, 0
        while position < len(text):
            token = max((t for t in allowed if text.startswith(t, position)), key=len, default=None)
            if token is None:
                position += 1
                continue
            ids += [*self._plain(text[start:position]), self.special[token]]
            start = position = position + len(token)
        return ids + self._plain(text[start:])

    def _plain(self, text):
        ids = []
        for match in self.pattern.finditer(text):
            ids.extend(self.word_ids(match.group()))
        return ids

    def _word_ids(self, word):
        ids = tuple(word.encode("utf-8"))
        while ranks := [r for p in pairwise(ids) if (r := self.ranks.get(p)) is not None]:
            rank = min(ranks)
            pair = next(p for p in pairwise(ids) if self.ranks.get(p) == rank)
            ids = merge(ids, pair, 256 + rank)
        return ids

    def decode(self, ids):
        return str(b"".join(map(self.tokens.__getitem__, ids)), "utf-8", "replace")
