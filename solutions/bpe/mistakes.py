"""Known wrong solutions. Each runs in a copy of the reference's namespace, and may use its names."""

import re
import unicodedata
from collections import Counter
from itertools import pairwise

from grader.checking import mistake


def _smallest_of_the_best(counts):
    return min(counts, key=lambda pair: (-counts[pair], pair))


def _learn(words, vocab_size, best_of=_smallest_of_the_best, stops=True):
    """Training by recounting. words: ids → frequency. best_of: counts → pair. stops: when no pair is left."""
    if vocab_size < 256:
        raise ValueError(vocab_size)
    vocab, merges = {byte: bytes([byte]) for byte in range(256)}, []
    while len(vocab) < vocab_size and ((counts := get_pair_counts(words)) or not stops):
        pair, new_id = best_of(counts), len(vocab)
        words = {merge(ids, pair, new_id): frequency for ids, frequency in words.items()}
        vocab[new_id] = vocab[pair[0]] + vocab[pair[1]]
        merges.append(pair)
    return vocab, merges


def _recounted(text, vocab_size, pattern, **how):
    return _learn(Counter(tuple(match[0].encode()) for match in re.finditer(pattern, text)), vocab_size, **how)


@mistake(
    "types_for_tokens",
    replaces="get_pair_counts",
    caught_by="test_counts_are_weighted_by_frequency",
    advice="A word that occurs n times adds n to each of its pairs, not 1.",
)
def get_pair_counts(words):
    return Counter(pair for ids in words for pair in pairwise(ids))


@mistake(
    "no_overlaps_counted",
    replaces="get_pair_counts",
    caught_by="test_overlapping_pairs_count",
    advice="Counting takes every place, overlaps too: (7, 7, 7) has (7, 7) twice. Only merging leaves overlaps out.",
)
def get_pair_counts(words):
    counts = Counter()
    for ids, frequency in words.items():
        for pair in set(pairwise(ids)):
            counts[pair] += frequency * merge(ids, pair, -1).count(-1)
    return counts


@mistake(
    "joined_as_text",
    replaces="merge",
    caught_by="test_merge_replaces_every_occurrence",
    advice='As text "12 1" holds "2 1", and ids are cut in two: compare ids, or guard both ends of what is replaced.',
)
def merge(ids, pair, new_id):
    text = " ".join(map(str, ids)).replace(f"{pair[0]} {pair[1]}", str(new_id))
    return tuple(map(int, text.split()))


@mistake(
    "moves_by_one_after_a_hit",
    replaces="merge",
    caught_by="test_merge_is_one_pass_from_the_left",
    advice="After a hit go on behind both ids: in (5, 5, 5) the middle one is used up.",
)
def merge(ids, pair, new_id):
    out, used = [], False
    for place, left in enumerate(ids):
        hit = ids[place : place + 2] == pair
        if hit:
            out.append(new_id)
        elif not used:
            out.append(left)
        used = hit
    return tuple(out)


@mistake(
    "stale_entries_of_the_heap",
    replaces="_pop_best",
    caught_by="test_the_most_frequent_pair_is_merged",
    advice="An entry of the heap may be older than the count: pop until the count in it is the one that holds now.",
)
def _pop_best(heap, counts):
    while heap:
        _, pair = heapq.heappop(heap)
        if counts[pair] > 0:
            return pair
    return None


@mistake(
    "tie_to_the_first_seen",
    replaces="train",
    caught_by="test_ties_go_to_the_smallest_pair",
    advice="max over a dict keeps whichever best pair came in first. Ties go to the smallest (left id, right id).",
)
def train(text, vocab_size, pattern=PATTERN):
    return _recounted(text, vocab_size, pattern, best_of=lambda counts: max(counts, key=counts.get))


@mistake(
    "tie_to_the_largest",
    replaces="train",
    caught_by="test_ties_go_to_the_smallest_pair",
    advice="max over (count, pair) takes the largest of the best pairs; the smallest is in min over (−count, pair).",
)
def train(text, vocab_size, pattern=PATTERN):
    return _recounted(text, vocab_size, pattern, best_of=lambda counts: max((counts[p], p) for p in counts)[1])


@mistake(
    "frequency_forgotten",
    replaces="train",
    caught_by="test_the_most_frequent_pair_is_merged",
    advice="Each pre-token counts as often as it occurs: use a Counter, not a set or a dict of ones.",
)
def train(text, vocab_size, pattern=PATTERN):
    return _learn(dict.fromkeys((tuple(match[0].encode()) for match in re.finditer(pattern, text)), 1), vocab_size)


@mistake(
    "whole_text_is_a_word",
    replaces="train",
    caught_by="test_pretokens_are_kept_apart",
    advice="Cut the text into pre-tokens first: pairs are counted and merged inside of each.",
)
def train(text, vocab_size, pattern=PATTERN):
    return _recounted(text, vocab_size, r"[\s\S]+")


@mistake(
    "characters_for_bytes",
    replaces="train",
    caught_by="test_words_are_bytes",
    advice="A word is the tuple of its UTF-8 bytes; ord(character) is no byte beyond ASCII.",
)
def train(text, vocab_size, pattern=PATTERN):
    return _learn(Counter(tuple(map(ord, match[0])) for match in re.finditer(pattern, text)), vocab_size)


@mistake(
    "text_normalised",
    replaces="train",
    caught_by="test_words_are_bytes",
    advice="Train on the text as it stands: normalised (NFC), lowered or stripped, it cannot be told back.",
)
def train(text, vocab_size, pattern=PATTERN):
    return _recounted(unicodedata.normalize("NFC", text), vocab_size, pattern)


@mistake(
    "fails_without_pairs",
    replaces="train",
    caught_by="test_training_ends_without_pairs",
    advice="When no pair is left training is over, with fewer merges than asked for; max of nothing raises.",
)
def train(text, vocab_size, pattern=PATTERN):
    return _recounted(text, vocab_size, pattern, stops=False)


@mistake(
    "too_small_accepted",
    replaces="train",
    caught_by="test_training_ends_without_pairs",
    advice="A vocab_size below 256 cannot be kept, as every byte has an id: raise ValueError.",
)
def train(text, vocab_size, pattern=PATTERN):
    return _recounted(text, max(vocab_size, 256), pattern)


@mistake(
    "every_pretoken_walked",
    replaces="train",
    caught_by="test_equal_words_are_one",
    advice="Count equal pre-tokens first and keep one word with its frequency: text repeats itself a lot.",
)
def train(text, vocab_size, pattern=PATTERN):
    if vocab_size < 256:
        raise ValueError(vocab_size)
    vocab, merges = {byte: bytes([byte]) for byte in range(256)}, []
    words = [tuple(match[0].encode()) for match in re.finditer(pattern, text)]
    while len(vocab) < vocab_size and (counts := Counter(pair for ids in words for pair in pairwise(ids))):
        pair = _smallest_of_the_best(counts)
        words = [merge(ids, pair, len(vocab)) for ids in words]
        vocab[len(vocab)] = vocab[pair[0]] + vocab[pair[1]]
        merges.append(pair)
    return vocab, merges


@mistake(
    "longest_token_first",
    replaces="Tokenizer._encode_word",
    caught_by="test_merges_apply_in_their_order",
    advice="Taking the longest known piece is another segmentation: merge pairs, the earliest in `merges` first.",
)
def _encode_word(self, word):
    ids_of = {token: id_ for id_, token in self.vocab.items()}
    ids, start = [], 0
    while start < len(word):
        end = next(end for end in range(len(word), start, -1) if word[start:end] in ids_of)
        ids.append(ids_of[word[start:end]])
        start = end
    return ids


@mistake(
    "whatever_comes_from_the_left",
    replaces="Tokenizer._encode_word",
    caught_by="test_merges_apply_in_their_order",
    advice="Of all pairs that can be merged take the one that comes first in `merges`, not the leftmost.",
)
def _encode_word(self, word):
    ids = list(word)
    while pair := next((pair for pair in pairwise(ids) if pair in self.new_ids), None):
        place = list(pairwise(ids)).index(pair)
        ids[place : place + 2] = [self.new_ids[pair]]
    return ids


@mistake(
    "unknown_characters_dropped",
    replaces="Tokenizer._encode_ordinary",
    caught_by="test_any_text_can_be_encoded",
    advice="Begin with the bytes of the pre-token: all 256 have ids, so no character is unknown or has to be left out.",
)
def _encode_ordinary(self, text):
    known = text.encode("ascii", "ignore").decode()
    return [id_ for match in re.finditer(self.pattern, known) for id_ in self._encode_word(match[0].encode())]


@mistake(
    "encoded_across_pretokens",
    replaces="Tokenizer._encode_ordinary",
    caught_by="test_encoding_keeps_pretokens_apart",
    advice="Cut the text with the pattern first, as training did, and encode each pre-token by itself.",
)
def _encode_ordinary(self, text):
    return list(self._encode_word(text.encode()))


@mistake(
    "pattern_of_the_stub",
    replaces="Tokenizer._encode_ordinary",
    caught_by="test_encoding_keeps_pretokens_apart",
    advice="Cut with self.pattern, the one that this tokenizer was trained with; PATTERN is only its default.",
)
def _encode_ordinary(self, text):
    return [id_ for match in re.finditer(PATTERN, text) for id_ in self._encode_word(match[0].encode())]


@mistake(
    "cache_by_address",
    replaces="Tokenizer._encode_ordinary",
    caught_by="test_tokenizers_do_not_share",
    advice="Keep a cache in self. A shared one mixes tokenizers up; by id(self) too, which a later one may be given.",
)
def _encode_ordinary(self, text, caches={}):  # noqa: B006 — that is the mistake
    ids, cache = [], caches.setdefault(id(self), {})
    for match in re.finditer(self.pattern, text):
        ids += cache.setdefault(match[0], self._encode_word(match[0].encode()))
    return ids


@mistake(
    "every_merge_tried",
    replaces="Tokenizer._encode_word",
    caught_by="test_encoding_does_not_try_every_merge",
    advice="Look up the rank of the few pairs that the word has; real vocabularies have 50,000 merges or more.",
)
def _encode_word(self, word):
    ids = tuple(word)
    for rank, pair in enumerate(self.merges):
        ids = merge(ids, pair, 256 + rank)
    return ids


@mistake(
    "decoded_one_by_one",
    replaces="Tokenizer.decode",
    caught_by="test_bytes_are_joined_before_they_are_decoded",
    advice="An id may hold part of a character: join all bytes first, and decode once.",
)
def decode(self, ids):
    return "".join(self.bytes_of[id_].decode(errors="replace") for id_ in ids)


@mistake(
    "strict_about_bytes",
    replaces="Tokenizer.decode",
    caught_by="test_what_cannot_be_decoded",
    advice='A model may produce any ids, and their bytes need not be UTF-8: decode with errors="replace".',
)
def decode(self, ids):
    return b"".join(self.bytes_of[id_] for id_ in ids).decode()


@mistake(
    "unknown_ids_skipped",
    replaces="Tokenizer.decode",
    caught_by="test_what_cannot_be_decoded",
    advice="An id that the tokenizer lacks is a fault upstream, and a KeyError shows it: index, without a default.",
)
def decode(self, ids):
    return b"".join(self.bytes_of.get(id_, b"") for id_ in ids).decode(errors="replace")


@mistake(
    "pieces_joined",
    replaces="Tokenizer.encode",
    caught_by="test_allowed_special_tokens_become_their_id",
    advice="Each piece between special tokens is a text of its own: cut at them first, and pre-tokenise the pieces.",
)
def encode(self, text, allowed_special=frozenset()):
    allowed = self._allowed(text, allowed_special)
    special = f"{_any_of(allowed)}|" if allowed else ""
    ids = []
    for match in re.finditer(special + self.pattern, text):
        word = match[0]
        ids += [self.special_tokens[word]] if word in allowed else self._encode_word(word.encode())
    return ids


@mistake(
    "allowed_without_being_asked",
    replaces="Tokenizer._allowed",
    caught_by="test_special_tokens_are_refused_unless_allowed",
    advice="A special token is allowed if allowed_special says so: without it even one of them is a ValueError.",
)
def _allowed(self, text, allowed_special):
    return self.special_tokens.keys()


@mistake(
    "read_as_a_pattern",
    replaces="_any_of",
    caught_by="test_the_first_and_then_the_longest_special_token",
    advice="| . * and brackets mean something to re: pass each special token through re.escape.",
)
def _any_of(tokens):
    return "|".join(sorted(tokens, key=len, reverse=True))


@mistake(
    "not_the_longest",
    replaces="_any_of",
    caught_by="test_the_first_and_then_the_longest_special_token",
    advice="re takes the first alternative that matches, not the longest: put longer special tokens first.",
)
def _any_of(tokens):
    return "|".join(map(re.escape, tokens))


@mistake(
    "special_ids_unknown_to_decode",
    replaces="Tokenizer.decode",
    caught_by="test_special_tokens_decode_to_their_text",
    advice="decode knows the special ids too: their text is part of the result.",
)
def decode(self, ids):
    return b"".join(self.vocab[id_] for id_ in ids).decode(errors="replace")


@mistake(
    "counted_anew",
    replaces="train",
    caught_by="test_pairs_are_not_counted_anew",
    advice="Count once; then change the counts of the words in which the merge took place, and of no other.",
)
def train(text, vocab_size, pattern=PATTERN):
    return _recounted(text, vocab_size, pattern)


@mistake(
    "all_words_looked_through",
    replaces="_replace",
    caught_by="test_only_words_that_hold_the_pair_are_visited",
    advice="Keep an index from each pair to the words that hold it; most words have nothing to do with a merge.",
)
def _replace(words, counts, holders, pair, new_id):
    changed = set()
    for index, (old, frequency) in enumerate(words):
        if pair in pairwise(old):
            new = merge(old, pair, new_id)
            words[index] = new, frequency
            for sign, ids in ((-1, old), (1, new)):
                for other in pairwise(ids):
                    counts[other] += sign * frequency
                    changed.add(other)
    return changed
