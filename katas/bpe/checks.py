"""The hidden checks. With ties pinned every merge is exact, so all is compared exactly but cost."""

from itertools import pairwise

import numpy as np

from grader.checking import assert_equal, assert_inputs_unchanged, assert_raises, assert_true, check, cpu_seconds

WORDS = r"\S+|\s"
WHOLE = r"[\s\S]+"
FLAGLESS = r"^\w+| [ab]+|.-|[\s\S]"
"""Cuts otherwise with any flag of `re`."""
BEHIND = r"(?<=\S)\S+|[\s\S]"
"""Cuts otherwise where it sees what stands before a text."""
END, START = "<|end|>", "<|start|>"


def text_of(rng, length, alphabet):
    return "".join(rng.choice(list(alphabet), size=length))


def words_of(rng, count, alphabet, shortest, longest):
    """So many random words of that alphabet, of lengths from shortest to longest."""
    lengths = rng.integers(shortest, longest + 1, count)
    letters, ends = text_of(rng, lengths.sum(), alphabet), np.cumsum(lengths)
    return [letters[end - length : end] for length, end in zip(lengths, ends, strict=True)]


def prose(rng, count, alphabet="abc"):
    """Words of a few letters, with spaces, line breaks, figures and signs among them."""
    between = rng.choice([" ", " ", " ", "  ", "\n\n ", ", ", "'s ", " 12", "-"], size=count)
    return "".join(word + gap for word, gap in zip(words_of(rng, count, alphabet, 1, 9), between, strict=True))


def id_words(rng, count, ids, longest):
    """Random words over these ids, with a frequency each, no two frequencies alike."""
    frequencies = rng.permutation(np.arange(1, 4 * count))
    return {
        tuple(int(i) for i in rng.choice(ids, size=rng.integers(0, longest + 1))): int(frequency)
        for frequency in frequencies[:count]
    }


def without_runs(words):
    """Those in which no id stands three times in a row, so that no two places of a pair overlap."""
    return {ids: count for ids, count in words.items() if all(one != two for one, two in pairwise(pairwise(ids)))}


def both(attempt, reference, *args, **kwargs):
    """A tokenizer of each."""
    return attempt.Tokenizer(*args, **kwargs), reference.Tokenizer(*args, **kwargs)


def least_cpu(module, cases, function="train"):
    return min(cpu_seconds(getattr(module, function), *case) for case in cases)


@check("pairs", points=6)
def test_counts_are_weighted_by_frequency(attempt, reference, rng):
    """each pair of neighbours counts once for each place, times the frequency of its word; (a, b) is not (b, a)"""
    for ids, longest in ((range(4), 6), ((97, 98, 300, 100_255), 9), (range(256), 5)):
        words = without_runs(id_words(rng, 12, ids, longest))
        got = assert_inputs_unchanged(attempt.get_pair_counts, words)
        assert_equal(got, reference.get_pair_counts(words))


@check("pairs", points=3)
def test_overlapping_pairs_count(attempt, reference, rng):
    """in a run of n equal ids the pair counts n − 1 times; words of one id or none have no pair"""
    a, b = (int(i) for i in rng.choice(500, size=2, replace=False))
    runs = {(a,) * 5: 3}, {(a,) * 4 + (b,) * 3: 2, (b, a, a, a): 7}, id_words(rng, 12, (a, b), 9)
    for words in (*runs, {(): 4, (b,): 2}, {}):
        assert_equal(attempt.get_pair_counts(words), reference.get_pair_counts(words))


@check("pairs", points=6)
def test_merge_replaces_every_occurrence(attempt, reference, rng):
    """merge replaces the pair wherever it stands, at both ends too, and nothing else, whatever digits the ids have"""
    a, b, c = (int(i) for i in rng.choice(np.arange(20, 90), size=3, replace=False))
    for ids, pair in (
        ((a, b, c, a, b), (a, b)), ((b, a, c, b), (a, b)), ((c, a, b, a, c), (a, b)), ((a, b, a, b), (b, a)),
        ((100 + a, b), (a, b)), ((a, b * 10), (a, b)), ((a * 10 + 1, b, 1, a), (1, b)), ((1000 * a + b,), (a, b)),
        ((), (a, b)), ((a,), (a, b)), ((a, b), (a, b)), ((b, a), (a, b)), ((a, c, b), (a, b)),
    ):  # fmt: skip
        assert_equal(attempt.merge(ids, pair, 256), reference.merge(ids, pair, 256))
    for ids in ((0, 1, 2), (300, 5, 100_255)):
        for word in id_words(rng, 8, ids, 12):
            args = word, (ids[2], ids[0]), 100_256
            assert_equal(attempt.merge(*args), reference.merge(*args))


@check("pairs", points=5)
def test_merge_is_one_pass_from_the_left(attempt, reference, rng):
    """in a run merge pairs up from the left, and what it put in is not merged again"""
    a, b = (int(i) for i in rng.choice(500, size=2, replace=False))
    for ids in (*((a,) * n for n in range(2, 8)), (b, a, a, a, b), (a, a, b, a, a, a)):
        for new_id in (600, a, b):
            assert_equal(attempt.merge(ids, (a, a), new_id), reference.merge(ids, (a, a), new_id))
    for ids in ((a, b, b), (a, a, b), (a, b, a, b, b)):
        for new_id in (a, b):
            assert_equal(attempt.merge(ids, (a, b), new_id), reference.merge(ids, (a, b), new_id))


def assert_trains_alike(attempt, reference, *args, label="", **kwargs):
    """The same merges, named first as they say more, and the same vocabulary."""
    (vocab, merges), (want_vocab, want_merges) = attempt.train(*args, **kwargs), reference.train(*args, **kwargs)
    assert_equal(merges, want_merges, label=f"merges{label}")
    assert_equal(vocab, want_vocab, label=f"vocab{label}")


@check("train", points=6)
def test_ties_go_to_the_smallest_pair(attempt, reference, rng):
    """of equally frequent pairs the one with the smallest (left id, right id) is merged"""
    for count in range(12):
        word = "".join(rng.permutation(list("fghijklmnopq")))
        assert_trains_alike(attempt, reference, f"{word} {word[::-1]}"[: 12 + count], 270, WORDS)
    for _ in range(6):
        words = dict.fromkeys(words_of(rng, 12, "abcd", 2, 5))  # each once
        assert_trains_alike(attempt, reference, " ".join(words), 290, WORDS)


@check("train", points=8)
def test_the_most_frequent_pair_is_merged(attempt, reference, rng):
    """merges and vocab are those of the definition, up to vocab_size entries; words that occur n times count n times"""
    for size in (257, 262, 290, 330):
        assert_trains_alike(attempt, reference, prose(rng, 60, "aaabbc"), size)
        assert_trains_alike(attempt, reference, text=prose(rng, 40, "abcdefgh"), vocab_size=size)
    for _ in range(4):
        words = words_of(rng, 9, "abcdefgh", 3, 5)
        repeated = [word for word, times in zip(words, rng.permutation(9), strict=True) for _ in range(3 * times + 1)]
        assert_trains_alike(attempt, reference, " ".join(rng.permutation(repeated)), 266)
    assert_trains_alike(attempt, reference, " ".join(words_of(rng, 3000, "abcdef", 3, 7)), 270, label=" of 3,000 words")


@check("train", points=5)
def test_pretokens_are_kept_apart(attempt, reference, rng):
    """merges stay inside the matches of whatever pattern is given, whole matches, also of a pattern with groups"""
    text = " ".join(words_of(rng, 50, "ab", 1, 3)) + "\n" + prose(rng, 10, "ab")
    for pattern in (WORDS, WHOLE, r"[\s\S]", r"[\s\S]{1,3}", r"(\S)(\S*)|\s", r"a(b?)|[^a]"):
        assert_trains_alike(attempt, reference, text, 280, pattern=pattern, label=f" of the pattern {pattern!r}")
    assert_trains_alike(attempt, reference, unusual(rng), 300, pattern=FLAGLESS, label=f" of the pattern {FLAGLESS!r}")


def unusual(rng):
    """A short text that shows flags: letters beyond ASCII, capitals, and a line break before a sign."""
    first, second, third = words_of(rng, 3, "ab", 4, 7)
    return f"é{first}\n{second} {third}AB \n-{first}é"


@check("train", points=3)
def test_words_are_bytes(attempt, reference, rng):
    """words are UTF-8 bytes: characters of two to four bytes have pairs inside; case and spaces stay as they are"""
    for alphabet in ("éèñ", "雪山a", "🙂🙃é ", "aAbB \t\r\n", ("\r\n", "a"), "ée\u0301", "\u212b\u00c5ｆf"):
        for pattern in (WORDS, WHOLE):
            assert_trains_alike(attempt, reference, text_of(rng, 40, alphabet), 275, pattern)
    assert_trains_alike(attempt, reference, text_of(rng, 40, "éa🙂 "), 300)


@check("train", points=4)
def test_training_ends_without_pairs(attempt, reference, rng):
    """training ends without error when no pair is left, pairs that occur once included; below 256 is a ValueError"""
    word = "".join(rng.permutation(list("abcdefghij")))
    for text in (word, word[:5] * 3, "a" * 13, "a", " \n", "", "abab ba", "🙂"):
        for size in (256, 257, 500):
            assert_trains_alike(attempt, reference, text, size, WORDS, label=f" of {text!r}")
    for size in (255, 1, 0, -3):
        assert_raises(ValueError, attempt.train, word, size)


@check("train", points=2, needs="test_the_most_frequent_pair_is_merged")
def test_equal_words_are_one(attempt, reference, rng):
    """with 8,000 pre-tokens of 40 kinds it takes no more than 10 times the CPU time of counting them first"""
    cases = []
    for _ in range(3):
        words = np.array(words_of(rng, 40, "abcdefghijklm", 4, 9))
        cases.append((" ".join(rng.choice(words, 8_000)), 296))
    assert_costs_at_most(attempt, reference, cases, 10, "does it walk over equal pre-tokens again and again?")


def assert_costs_at_most(attempt, reference, cases, limit, hint):
    """The first case is for the result and to warm up, the others for the clock."""
    assert_trains_alike(attempt, reference, *cases[0])
    confined = reference.confined()
    confined.train(*cases[0])
    ratio = least_cpu(attempt, cases[1:]) / least_cpu(confined, cases[1:])
    assert_true(ratio <= limit, f"too slow: {hint}", expected=f"≤ {limit}×", got=f"{ratio:.1f}×")


@check("encode", points=7)
def test_merges_apply_in_their_order(attempt, reference, rng):
    """in a pre-token the pair that was merged first in training is merged first, everywhere, again and again"""
    for alphabet in ("ab", "abc", "aaab", "abcd"):
        vocab, merges = reference.train(" ".join(words_of(rng, 60, alphabet, 2, 9)), 300, WORDS)
        mine, theirs = both(attempt, reference, vocab, merges, WORDS)
        for longest in (9, 9, 30, 30):
            text = " ".join(words_of(rng, 25, alphabet, 1, longest))
            assert_equal(mine.encode(text), theirs.encode(text))


@check("encode", points=3)
def test_any_text_can_be_encoded(attempt, reference, rng):
    """texts unlike those of training, of any script, come out as bytes and merges; the empty one as []"""
    tokenizers = both(attempt, reference, *reference.train(prose(rng, 60, "abcé") + "🙂🙂 雪雪", 300))
    texts = [text_of(rng, 30, alphabet) for alphabet in ("abcé", "éñ雪🙂", "XYZ \r\n\t", "0123 a.;'s")]
    texts += [prose(rng, 20, "abcz"), text_of(rng, 1200, "abc")]
    for text in ("", " ", "a", "🙂", "\x00\x7f\u00a0", "  e\u0301\u212b\r\n a\r\n", END, *texts):
        mine, theirs = (tokenizer.encode(text) for tokenizer in tokenizers)
        assert_equal(mine, theirs, label=f"the ids of {text!r}")
    plain = both(attempt, reference, *reference.train("", 256))
    assert_equal(*(tokenizer.encode(texts[1]) for tokenizer in plain), label="the ids without merges")


@check("encode", points=3)
def test_encoding_keeps_pretokens_apart(attempt, reference, rng):
    """encoding cuts with the tokenizer's pattern, and merges nothing across the cuts"""
    text = unusual(rng) + text_of(rng, 40, "ab ")
    vocab, merges = reference.train(text, 400, WHOLE)
    for pattern in (WHOLE, WORDS, r"[\s\S]{1,3}", r"(\S)(\S*)|\s", r"a(b?)|[^a]", r"[\s\S]", FLAGLESS):
        mine, theirs = both(attempt, reference, vocab, merges, pattern)
        assert_equal(mine.encode(text), theirs.encode(text), label=f"the ids with the pattern {pattern!r}")
    mine, theirs = both(attempt, reference, vocab, merges)
    assert_equal(mine.encode(text), theirs.encode(text))


@check("encode", points=3)
def test_tokenizers_do_not_share(attempt, reference, rng):
    """several tokenizers each use their own merges, also one made when another is gone; none modifies what it is of"""
    kinds = [reference.train(" ".join(words_of(rng, 40, letters, 2, 6)), 290, WORDS) for letters in ("ab", "abc")]
    pairs = []
    for vocab, merges in kinds:
        mine = assert_inputs_unchanged(attempt.Tokenizer, vocab, merges, WORDS)
        pairs.append((mine, reference.Tokenizer(vocab, merges, WORDS)))
    for text in words_of(rng, 4, "ab", 6, 12):
        for mine, theirs in (*pairs, *pairs):
            got, want = (tokenizer.encode(text) for tokenizer in (mine, theirs))
            assert_equal(got, want, label=f"the ids of {text!r}")
            assert_equal(assert_inputs_unchanged(mine.decode, want), text)
        got, want = (side.run("in_turn", kinds * 10, WORDS, text) for side in (attempt, reference))
        assert_equal(got, want, label=f"the ids of {text!r}, from tokenizers one after the other")


@check("encode", points=3)
def test_bytes_are_joined_before_they_are_decoded(attempt, reference, rng):
    """decode joins the bytes of all ids first, so that characters cut in two come out whole"""
    text = f" \n{text_of(rng, 40, 'aAé雪🙂 ')}e\u0301\r\n "
    vocab, merges = reference.train(text, 290, WHOLE)
    mine, theirs = both(attempt, reference, vocab, merges)
    for ids in ([], list(text.encode()), theirs.encode(text), [int(i) for i in rng.permutation(theirs.encode(text))]):
        assert_equal(mine.decode(ids), theirs.decode(ids))
    assert_equal(mine.decode(list(vocab)), theirs.decode(list(vocab)), label="the text of all ids")


@check("encode", points=2)
def test_what_cannot_be_decoded(attempt, reference, rng):
    """bytes that are not UTF-8 decode to U+FFFD, and an id that the tokenizer does not have raises KeyError"""
    mine, theirs = both(attempt, reference, *reference.train(prose(rng, 20), 270), special_tokens={END: 400})
    for ids in ([195], [97, 240, 159, 153, 98], [255, 254], [169, 195, 169], [int(i) for i in rng.integers(0, 256, 9)]):
        assert_equal(mine.decode(ids), theirs.decode(ids))
    for unknown in (-1, 270, 399, 401, 10**6):
        assert_raises(KeyError, mine.decode, [97, unknown, 98])


def many_merges():
    """2600 merges that no training made: all pairs of 24 letters, and those with one more."""
    letters = b"abcdefghijklmnopqrstuvwx"
    two = [(left, right) for left in letters for right in letters]
    merges = two + [(256 + i, right) for i in range(len(two)) for right in letters][: 2600 - len(two)]
    vocab = {i: bytes([i]) for i in range(256)}
    for left, right in merges:
        vocab[len(vocab)] = vocab[left] + vocab[right]
    return vocab, merges


@check("encode", points=3, needs="test_merges_apply_in_their_order")
def test_encoding_does_not_try_every_merge(attempt, reference, rng):
    """with 2600 merges it takes no more than 10 times the CPU time of looking up the pairs that are there"""
    texts = [" ".join(words_of(rng, 200, "abcdefghijklmnopqrstuvwx", 4, 9)) for _ in range(3)]
    kinds = [module.Tokenizer(*many_merges()) for module in (attempt, reference.confined())]
    mine, theirs = (tokenizer.encode(texts[0]) for tokenizer in kinds)
    assert_equal(mine, theirs)
    spent, least = (least_cpu_of_calls(tokenizer.encode, texts[1:]) for tokenizer in kinds)
    ratio = spent / least
    assert_true(ratio <= 10, "too slow: does it try every merge?", expected="≤ 10×", got=f"{ratio:.0f}×")


def least_cpu_of_calls(function, arguments):
    return min(cpu_seconds(function, argument) for argument in arguments)


def special_pair(attempt, reference, rng, special, text="", **how):
    """A tokenizer of each, with merges also of what the special tokens are made of, and of the text."""
    text = prose(rng, 40, "abc") + " " + " ".join([*special, text] * 3)
    return both(attempt, reference, *reference.train(text, 310), special_tokens=special, **how)


@check("special", points=4)
def test_allowed_special_tokens_become_their_id(attempt, reference, rng):
    """an allowed special token becomes its id wherever it stands, and each piece between is a text of its own"""
    one, two = words_of(rng, 2, "abc", 4, 9)
    mine, theirs = special_pair(attempt, reference, rng, {END: 1000, START: 400, "<|é|>": 999_999})
    texts = (END, END * 1200, f"{one}{END}{two}", f"{one} {END} {two}  {START}", f"{START}{one}\n  {END}\n{two}")
    for text in (*texts, f"{one} <|é|>{START}  <|é|>", f"{one} {two}", "", "<|en d|>", "<|end|", "<|END|>"):
        for allowed in ("all", {END, START, "<|é|>", *one, " "}, frozenset({END, START, "<|é|>", one, "<|no|>"})):
            got = assert_inputs_unchanged(mine.encode, text, allowed_special=allowed)
            want = theirs.encode(text, allowed_special=allowed)
            assert_equal(got, want, label=f"the ids of {text[:80]!r} with {allowed!r} allowed")
    mine, theirs = special_pair(attempt, reference, rng, {END: 1000}, f"{one}," * 9, pattern=BEHIND)
    for text in (f"{one}{END}{one}", f"{END}{one} {two}{END} "):
        got, want = (tokenizer.encode(text, allowed_special="all") for tokenizer in (mine, theirs))
        assert_equal(got, want, label=f"the ids of {text!r} with the pattern {BEHIND!r}")


@check("special", points=3)
def test_special_tokens_are_refused_unless_allowed(attempt, reference, rng):
    """a special token that is not allowed raises ValueError wherever it occurs; without any it is ordinary text"""
    longer = f"{END}{START}"
    mine, theirs = special_pair(attempt, reference, rng, {END: 1000, START: 1001, longer: 1002})
    word = text_of(rng, 5, "abc")
    for text, allowed in (
        (END, ()), (f"{word}{START}", ()), (f"{word} {END}{word}", {START}), (f"{START}{word}{END}", {END}),
        (f"{word}{START}", {word, "<|no|>"}), (END, {"all"}), (longer, {longer}), (f"{word}{longer}", {longer, END}),
    ):  # fmt: skip
        assert_raises(ValueError, mine.encode, text, allowed_special=frozenset(allowed))
    assert_raises(ValueError, mine.encode, f"{word} {END}")
    for text, allowed in ((word, set()), (f"{START} {word}", {START}), (f"{END}x", {END}), ("<|end |>", {START})):
        assert_equal(mine.encode(text, allowed_special=allowed), theirs.encode(text, allowed_special=allowed))
    assert_raises(ValueError, mine.encode, f"{END}x")  # though it was allowed a moment ago
    for special in (None, {}):
        mine, theirs = both(attempt, reference, theirs.get("vocab"), theirs.get("merges"), special_tokens=special)
        for allowed in (frozenset(), "all", {END}):
            text = f"{word} {END}"
            assert_equal(mine.encode(text, allowed_special=allowed), theirs.encode(text, allowed_special=allowed))


@check("special", points=4)
def test_the_first_and_then_the_longest_special_token(attempt, reference, rng):
    """special tokens are found from the left, the longest of those that begin at a place, and are no patterns"""
    word = text_of(rng, 4, "abc")
    for names, texts in (
        (("<|a|>", "<|a|><|b|>", "<|a|>b"), ("<|a|><|b|><|a|>", "x<|a|>b<|a|>", "<|a|><|a|><|b|>b")),
        (("[x]y", "y[z][z]"), ("[x]y[z][z]", "y[x]y[z][z]", "[x][z]y[z][z]")),
        (("a.b", "*", "(c)", "\\d", "$", "^a"), ("axb a.b", f"{word}*{word}(c)c", "1\\d1", "$5", "a^a", "a\\\\d.b")),
        (("stop", " ", "aa"), (f"stop {word}", "stopstops aaa aaaa", f"{word} stopaa")),
    ):
        for order in (names, names[::-1]):
            special = {name: 1000 + 7 * place for place, name in enumerate(order)}
            tokenizers = special_pair(attempt, reference, rng, special)
            for text in (*texts, *(f"{word}{text} {text}" for text in texts)):
                got, want = (tokenizer.encode(text, allowed_special="all") for tokenizer in tokenizers)
                assert_equal(got, want, label=f"the ids of {text!r} with the special tokens {order}")


@check("special", points=2)
def test_special_tokens_decode_to_their_text(attempt, reference, rng):
    """decode gives back special tokens' text, also between the bytes of a character; each tokenizer has its own ids"""
    mine, theirs = special_pair(attempt, reference, rng, {END: 5000, "<|é雪|>": 700, "stop": 701})
    for ids in ([5000], [97, 5000, 700, 300, 701], [195, 5000, 169], [701, 701], theirs.encode(f"ab {END}cab", "all")):
        assert_equal(mine.decode(ids), theirs.decode(ids))
    vocab, merges, others = theirs.get("vocab"), theirs.get("merges"), []
    for special in ({END: 1000}, {END: 1001}):
        mine = assert_inputs_unchanged(attempt.Tokenizer, vocab, merges, special_tokens=special)
        others.append((mine, reference.Tokenizer(vocab, merges, special_tokens=special)))
    for mine, theirs in (*others, *others):
        ids = mine.encode(f"ab{END}", allowed_special={END})
        assert_equal(ids, theirs.encode(f"ab{END}", allowed_special={END}))
        assert_equal(mine.decode(ids), f"ab{END}")


def long_tail(rng):
    """Three corpora of 60 words that occur 60 times each, and 2000 that occur once and share no letter with them."""
    cases = []
    for _ in range(3):
        frequent, rare = words_of(rng, 60, "abcdefghij", 4, 8), words_of(rng, 2000, "ABCDEFGHIJKLMNOPQRST", 4, 12)
        words = frequent * 60 + rare
        cases.append((" ".join(words[i] for i in rng.permutation(len(words))), 486))
    return cases


@check("incremental", points=8, needs="test_the_most_frequent_pair_is_merged")
def test_pairs_are_not_counted_anew(attempt, reference, rng):
    """230 merges that leave 2000 words alone: exact, and no more than 32 times the CPU time of an indexed solution"""
    assert_costs_at_most(attempt, reference, long_tail(rng), 32, "are all pairs counted anew?")


@check("incremental", points=7, needs="test_the_most_frequent_pair_is_merged")
def test_only_words_that_hold_the_pair_are_visited(attempt, reference, rng):
    """230 merges that leave 2000 words alone: exact, and no more than 5 times the CPU time of an indexed solution"""
    assert_costs_at_most(attempt, reference, long_tail(rng), 5, "does each merge look at words without the pair?")
