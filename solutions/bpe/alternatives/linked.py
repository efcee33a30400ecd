"""One flat array of symbols with links to both neighbours: a merge touches its occurrences alone, never whole words."""

import heapq
import re
from collections import Counter, defaultdict
from itertools import pairwise

PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s+(?!\S)|\s+"
END = -1


def get_pair_counts(words):
    counts = Counter()
    for ids, frequency in words.items():
        for pair, times in Counter(pairwise(ids)).items():
            counts[pair] += times * frequency
    return counts


def merge(ids, pair, new_id):
    chain = Chain()
    chain.add(ids)
    position = 0 if ids else END
    while position != END:
        if chain.pair_at(position) == pair:
            chain.join(position, new_id)
        position = chain.after[position]
    return tuple(symbol for symbol in chain.symbols if symbol is not None)


class Chain:
    """Words as doubly linked lists in common arrays; a symbol that was swallowed by its left neighbour is None."""

    def __init__(self):
        self.symbols, self.before, self.after = [], [], []

    def add(self, ids):
        start = len(self.symbols)
        self.symbols += ids
        self.before += [END, *range(start, start + len(ids) - 1)][: len(ids)]
        self.after += [*range(start + 1, start + len(ids)), END][: len(ids)]

    def pair_at(self, position):
        if position == END or self.symbols[position] is None or self.after[position] == END:
            return None
        return self.symbols[position], self.symbols[self.after[position]]

    def join(self, position, new_id):
        gone = self.after[position]
        self.symbols[position], self.symbols[gone] = new_id, None
        self.after[position] = self.after[gone]
        if self.after[gone] != END:
            self.before[self.after[gone]] = position


class Trainer:
    def __init__(self, frequencies):
        self.chain, self.weights = Chain(), []
        self.counts, self.places, self.changed = defaultdict(int), defaultdict(list), set()
        for word, frequency in frequencies.items():
            ids = word.encode()
            self.chain.add(ids)
            self.weights += [frequency] * len(ids)
        for position in range(len(self.weights)):
            self.note(position, 1)
        self.heap = []
        self.push()

    def note(self, position, sign):
        pair = self.chain.pair_at(position)
        if pair is not None:
            self.counts[pair] += sign * self.weights[position]
            self.changed.add(pair)
            if sign > 0:
                self.places[pair].append(position)

    def push(self):
        for pair in self.changed:
            if self.counts[pair] > 0:
                heapq.heappush(self.heap, (-self.counts[pair], pair))
        self.changed.clear()

    def best(self):
        while self.heap:
            count, pair = heapq.heappop(self.heap)
            if self.counts[pair] == -count:
                return pair
        return None

    def merge(self, pair, new_id):
        chain = self.chain
        for position in sorted(self.places.pop(pair)):
            if chain.pair_at(position) != pair:
                continue
            around = chain.before[position], position, chain.after[position]
            for place in around:
                self.note(place, -1)
            chain.join(position, new_id)
            for place in around[:2]:
                self.note(place, 1)
        self.push()


def train(text, vocab_size, pattern=PATTERN):
    if vocab_size < 256:
        raise ValueError(vocab_size)
    vocab, merges = {i: bytes((i,)) for i in range(256)}, []
    trainer = Trainer(Counter(match[0] for match in re.finditer(pattern, text)))
    for new_id in range(256, vocab_size):
        pair = trainer.best()
        if pair is None:
            break
        trainer.merge(pair, new_id)
        vocab[new_id] = vocab[pair[0]] + vocab[pair[1]]
        merges.append(pair)
    return vocab, merges


class Tokenizer:
    def __init__(self, vocab, merges, pattern=PATTERN, special_tokens=None):
        self.vocab, self.pattern, self.special = vocab, pattern, special_tokens or {}
        self.rank = {tuple(pair): rank for rank, pair in enumerate(merges)}
        self.text_of = {id_: token for token, id_ in self.special.items()}

    def encode(self, text, allowed_special=()):
        allowed = [t for t in self.special if allowed_special == "all" or t in allowed_special]
        if any(t in text for t in set(self.special).difference(allowed)):
            raise ValueError("special token in the text")
        ids, start = [], 0
        while found := [(place, -len(t), t) for t in allowed if (place := text.find(t, start)) >= 0]:
            place, _, token = min(found)
            ids += [*self.plain(text[start:place]), self.special[token]]
            start = place + len(token)
        return ids + self.plain(text[start:])

    def plain(self, text):
        return [id_ for match in re.finditer(self.pattern, text) for id_ in self.word(match[0])]

    def word(self, word):
        chain, heap = Chain(), []
        chain.add(word.encode())

        def offer(position):
            if (rank := self.rank.get(chain.pair_at(position))) is not None:
                heapq.heappush(heap, (rank, position))

        for position in range(len(chain.symbols)):
            offer(position)
        while heap:
            rank, position = heapq.heappop(heap)
            if self.rank.get(chain.pair_at(position)) == rank:
                chain.join(position, 256 + rank)
                offer(chain.before[position])
                offer(position)
        return [symbol for symbol in chain.symbols if symbol is not None]

    def decode(self, ids):
        data = bytearray()
        for id_ in ids:
            data += self.text_of[id_].encode() if id_ in self.text_of else self.vocab[id_]
        return data.decode("utf-8", errors="replace")
