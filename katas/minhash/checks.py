"""The hidden checks. Coefficients are arguments, so signatures, pairs and clusters are exact and compared exactly."""

import numpy as np

from grader.checking import (
    assert_close,
    assert_equal,
    assert_inputs_unchanged,
    assert_raises,
    assert_true,
    check,
    cpu_seconds,
)

PRIME = 2**31 - 1
TIGHT = {"rtol": 1e-9, "atol": 0}
# (threshold, num_perm), each ahead of its runner-up by 5e-4 or more.
BANDINGS = (
    (0.5, 1), (0.3, 8), (0.85, 8), (0.5, 12), (0.5, 16), (0.7, 16), (0.45, 24), (0.9, 24), (0.85, 48), (0.6, 64),
)  # fmt: skip


def text_of(rng, length, alphabet="abcdefghijklmnopqrstuvwxyz"):
    return "".join(rng.choice(list(alphabet), size=length))


def family(rng, size):
    """The coefficients a and b of so many hash functions."""
    return rng.integers(1, PRIME, size, dtype=np.uint64), rng.integers(0, PRIME, size, dtype=np.uint64)


def sig_rows(rng, *shape):
    """Signatures that agree nowhere, but for one chance in a million."""
    return rng.integers(0, PRIME, shape, dtype=np.uint64)


@check("shingles", points=5)
def test_shingles_are_all_windows_of_k_characters(attempt, reference, rng):
    """shingles are the set of all k-character windows, from the first to the last, spaces and accents included"""
    for alphabet in ("ab", "abcdefgh", "aé雪🙂ñ"):
        for k, length in ((1, 6), (3, 20), (3, 3), (4, 5), (5, 40)):
            text = text_of(rng, length, alphabet)
            assert_equal(attempt.shingles(text, k), reference.shingles(text, k))
    text = " ".join(text_of(rng, size) for size in (4, 1, 3, 6))
    assert_equal(attempt.shingles(text, 4), reference.shingles(text, 4))


@check("shingles", points=3)
def test_short_and_blank_texts(attempt, reference, rng):
    """a text shorter than k is its own only shingle, a blank one has none"""
    accents = text_of(rng, 4, "é雪🙂ñ")  # shorter than k in characters, not in bytes
    for text, k in (
        (text_of(rng, 2), 5), (text_of(rng, 4), 5), (accents, 5), ("", 5), ("", 1), (" \n\t ", 1), (" \n\t ", 3)
    ):  # fmt: skip
        assert_equal(attempt.shingles(text, k), reference.shingles(text, k))


@check("shingles", points=4)
def test_text_is_normalised_first(attempt, reference, rng):
    """case, line breaks, tabs, repeated spaces and whitespace at the ends make no difference"""
    one, two, three = (text_of(rng, 5) for _ in range(3))
    for text in (
        f"{one} {two.upper()} {three.title()}",
        f"{one}  {two}    {three}",
        f"{one}\n{two}\t \r\n{three}",
        f"  {one} {two}\n",
        f"{one}\u00a0{two.upper()} \n\n {three}\t",
        f"{one}İ{two.upper()}Σ ß{three}",  # i and a dot, two characters; ς at a word's end; ß stays
    ):
        for k in (3, 7):
            assert_equal(attempt.shingles(text, k), reference.shingles(text, k))


@check("shingles", points=4)
def test_hash_is_four_bytes_of_sha1(attempt, reference, rng):
    """hash_shingle is the first 4 bytes of SHA-1, little-endian and unsigned: the same in every run, for any text"""
    for alphabet in ("abcdefgh", "ABC xyz\n", "aé雪🙂ñ"):
        for length in (1, 3, 5, 9):
            shingle = text_of(rng, length, alphabet)
            assert_equal(attempt.hash_shingle(shingle), reference.hash_shingle(shingle))


@check("shingles", points=5)
def test_jaccard_is_intersection_over_union(attempt, reference, rng):
    """jaccard divides the intersection by the union, and is 1.0 for two empty sets"""
    numbers = [int(x) for x in rng.permutation(40)]
    sets = [set(numbers[:9]), set(numbers[4:17]), set(numbers[6:8]), {str(x) for x in numbers[:5]}, set(numbers[30:])]
    for one in (*sets, set()):
        for other in (sets[1], sets[2], set()):
            assert_close(assert_inputs_unchanged(attempt.jaccard, one, other), reference.jaccard(one, other), **TIGHT)


@check("signature", points=8)
def test_signature_is_the_minimum_of_each_function(attempt, reference, rng):
    """signature[j] is the least (a[j]·x + b[j]) mod p over the hashes: exact, uint64, for n and P of any size"""
    for n, size in ((4, 4), (1, 1), (7, 5), (5, 7), (1, 9), (9, 1), (400, 16)):
        hashes, (a, b) = sig_rows(rng, n), family(rng, size)
        got = assert_inputs_unchanged(attempt.minhash_signature, hashes, a, b)
        assert_equal(got, reference.minhash_signature(hashes, a, b), label=f"n = {n}, P = {size}")
    hashes, (a, b) = sig_rows(rng, 22)[::2], family(rng, 12)
    args = np.concatenate([hashes, hashes[:3]]), a[::-3], b[1::3]
    assert_equal(attempt.minhash_signature(*args), reference.minhash_signature(*args), label="not contiguous")


@check("signature", points=5)
def test_signature_is_exact_for_hashes_of_any_size(attempt, reference, rng):
    """hashes of 32 and of 64 bits are reduced mod p first, so that nothing overflows; coefficients up to p − 1"""
    for bits in (32, 63, 64):
        a, b = family(rng, 11)
        a[:4], b[:4] = (1, 1, PRIME - 1, PRIME - 1), (0, PRIME - 1, 0, PRIME - 1)
        for value in (*rng.integers(2 ** (bits - 1), 2**bits, 3, dtype=np.uint64), 2**bits - 1, PRIME, PRIME + 1):
            hashes = np.array([value], dtype=np.uint64)  # one alone, so that no other's minimum hides it
            got = assert_inputs_unchanged(attempt.minhash_signature, hashes, a, b)
            assert_equal(got, reference.minhash_signature(hashes, a, b), label=f"the hash {value}")


@check("signature", points=3)
def test_signature_of_no_shingles(attempt, reference, rng):
    """without any shingle every place of the signature is p"""
    for size in (1, 6):
        args = np.array([], dtype=np.uint64), *family(rng, size)
        assert_equal(attempt.minhash_signature(*args), reference.minhash_signature(*args))


def least_cpu(module, name, cases):
    return min(cpu_seconds(getattr(module, name), *case) for case in cases)


@check("signature", points=4, needs="test_signature_is_the_minimum_of_each_function")
def test_signature_is_vectorised(attempt, reference, rng):
    """with 400 shingles and P = 1000 it takes no more than 7 times the CPU time of one array expression"""
    cases = [(sig_rows(rng, 400), *family(rng, 1000)) for _ in range(4)]
    small = sig_rows(rng, 1), *family(rng, 5)
    assert_equal(attempt.minhash_signature(*small), reference.minhash_signature(*small))
    confined = reference.confined()
    for module in (attempt, confined):
        module.minhash_signature(*cases[0])
    ratio = least_cpu(attempt, "minhash_signature", cases[1:]) / least_cpu(confined, "minhash_signature", cases[1:])
    assert_true(ratio <= 7, "too slow: let NumPy loop over shingles or functions", expected="≤ 7×", got=f"{ratio:.0f}×")


@check("signature", points=5)
def test_estimate_counts_equal_places(attempt, reference, rng):
    """estimate_jaccard is the fraction of places where both signatures hold the same value"""
    for size, equal in ((1, 1), (5, 2), (16, 16), (7, 6), (40, 13)):
        s1, s2 = sig_rows(rng, 2, size)
        where = rng.permutation(size)[:equal]
        s2[where] = s1[where]
        got = assert_inputs_unchanged(attempt.estimate_jaccard, s1, s2)
        assert_close(got, reference.estimate_jaccard(s1, s2), **TIGHT)
    s1 = np.repeat(sig_rows(rng, 4), 3)  # values that stand at several places, and in the other at others
    for s2 in (s1[::-1], np.roll(s1, 1), np.roll(s1, 3)):
        assert_close(attempt.estimate_jaccard(s1, s2), reference.estimate_jaccard(s1, s2), **TIGHT)


def paired_signatures(rng, bands, rows):
    """23 documents: four pairs share one or more bands, six never quite a whole one, and three make a chain."""
    signatures = sig_rows(rng, 23, bands * rows)
    order = rng.permutation(23)
    pairs, (first, second, third) = order[:20].reshape(10, 2), order[20:]
    for count, (i, j) in zip((1, 1, 2, bands), pairs[:4], strict=True):
        for band in rng.permutation(bands)[:count]:
            signatures[j, band * rows : (band + 1) * rows] = signatures[i, band * rows : (band + 1) * rows]
    for i, j in pairs[4:7]:  # as many equal neighbours as rows, but across a border
        signatures[j, rows - 1 : 2 * rows - 1] = signatures[i, rows - 1 : 2 * rows - 1]
    for i, j in pairs[7:]:  # all rows but one, in every band
        kept = np.arange(bands * rows) % rows != rng.integers(rows)
        signatures[j, kept] = signatures[i, kept]
    signatures[second, :rows] = signatures[first, :rows]
    if bands > 1:
        signatures[third, rows : 2 * rows] = signatures[second, rows : 2 * rows]
    return signatures


@check("candidates", points=8)
def test_candidates_share_all_rows_of_a_band(attempt, reference, rng):
    """a pair is a candidate if it agrees in all rows of one band or more, a band being neighbouring columns"""
    for bands, rows in ((3, 3), (4, 3), (3, 5), (2, 6), (6, 2), (1, 8), (8, 1)):
        signatures = paired_signatures(rng, bands, rows)
        for stored in (signatures, np.asfortranarray(signatures)):
            got = assert_inputs_unchanged(attempt.lsh_candidate_pairs, stored, bands, rows)
            want = reference.lsh_candidate_pairs(signatures, bands, rows)
            assert_equal(got, want, label=f"{bands} bands of {rows} rows")


@check("candidates", points=5)
def test_bands_and_places_are_kept_apart(attempt, reference, rng):
    """equal values in another band, or in another order inside a band, make no candidates"""
    u, v, w, x = (int(value) for value in sig_rows(rng, 4))
    cases = {
        "the bands exchanged": [[u, v, w, x], [w, x, u, v]],
        "the rows exchanged": [[u, v, w, x], [v, u, x, w]],
        "digits run together": [[1, 23, u, v], [12, 3, v, w]],
        "equal sums": [[100, 300, u, v], [200, 200, v, w]],
        "equal weighted sums": [[100, 300, u, v], [102, 299, v, w]],
        "numbers beyond 2^53": [[2**60, 2**60 + 2, u, v], [2**60 + 1, 2**60 + 2, v, w]],
    }
    for label, rows in cases.items():
        signatures = np.array([*rows, rows[0]], dtype=np.uint64)
        got = attempt.lsh_candidate_pairs(signatures, 2, 2)
        assert_equal(got, reference.lsh_candidate_pairs(signatures, 2, 2), label=label)


@check("candidates", points=5)
def test_every_pair_of_a_bucket_once(attempt, reference, rng):
    """a bucket of many gives every pair in it, once, as (i, j) with i < j"""
    signatures = sig_rows(rng, 10, 6)
    order = rng.permutation(10)
    signatures[order[:4]] = signatures[order[0]]
    signatures[order[4:7]] = signatures[order[4]]
    assert_equal(attempt.lsh_candidate_pairs(signatures, 3, 2), reference.lsh_candidate_pairs(signatures, 3, 2))
    same = np.repeat(signatures[:1], 5, axis=0)
    for count in (0, 1, 2, 5):
        got = attempt.lsh_candidate_pairs(same[:count], 3, 2)
        assert_equal(got, reference.lsh_candidate_pairs(same[:count], 3, 2), label=f"{count} equal documents")


@check("candidates", points=3)
def test_columns_beyond_the_bands_are_not_used(attempt, reference, rng):
    """columns beyond bands·rows are not looked at, and bands·rows > P raises ValueError"""
    for bands, rows, size in ((3, 3, 10), (2, 3, 8), (1, 2, 7)):
        signatures = sig_rows(rng, 7, size)
        used = bands * rows
        signatures[1, used:] = signatures[0, used:]
        signatures[3, :used] = signatures[2, :used]
        signatures[5] = signatures[4]
        got = attempt.lsh_candidate_pairs(signatures, bands, rows)
        assert_equal(got, reference.lsh_candidate_pairs(signatures, bands, rows))
        for more in ((bands, size // bands + 1), (size // rows + 1, rows)):
            for count in (7, 1, 0):
                assert_raises(ValueError, attempt.lsh_candidate_pairs, signatures[:count], *more)


def crowd(rng):
    """3000 documents, 30 of them copies: (signatures, bands, rows)."""
    signatures = sig_rows(rng, 3000, 32)
    signatures[1::100] = signatures[::100]
    return signatures, 8, 4


@check("candidates", points=4, needs="test_candidates_share_all_rows_of_a_band")
def test_pairs_are_not_all_compared(attempt, reference, rng):
    """with 3000 documents and few candidates it takes no more than 15 times the CPU time of a solution with buckets"""
    cases = [crowd(rng) for _ in range(3)]
    assert_equal(attempt.lsh_candidate_pairs(*cases[0]), reference.lsh_candidate_pairs(*cases[0]))
    confined = reference.confined()
    ratio = least_cpu(attempt, "lsh_candidate_pairs", cases[1:]) / least_cpu(confined, "lsh_candidate_pairs", cases[1:])
    assert_true(ratio <= 15, "too slow: do all pairs meet?", expected="≤ 15×", got=f"{ratio:.0f}×")


@check("bands", points=4)
def test_probability_of_a_candidate(attempt, reference, rng):
    """candidate_probability is 1 − (1 − s^rows)^bands, for a float and elementwise for an array, from 0 to 1"""
    for bands, rows in ((16, 8), (8, 16), (1, 5), (5, 1), (1, 1), (25, 5)):
        s = rng.uniform(0.3, 0.8, size=(2, 3))
        for value in (s, np.array([0.0, 0.4, 1.0]), float(s[0, 0]), 0.0, 1.0):
            got = attempt.candidate_probability(value, bands, rows)
            # room for the formula as it stands: how many digits it keeps is another check's matter
            assert_close(got, reference.candidate_probability(value, bands, rows), rtol=1e-9, atol=1e-13)


@check("bands", points=2)
def test_tiny_probabilities_keep_their_digits(attempt, reference, rng):
    """a probability of 1e-20 comes out as that, to nine digits, not as 0"""
    for size in (4, 6, 9):
        s = 10.0 ** rng.uniform(-4, -1, size=7)
        got = assert_inputs_unchanged(attempt.candidate_probability, s, size, size)
        assert_close(got, reference.candidate_probability(s, size, size), **TIGHT)


@check("bands", points=6)
def test_choose_bands_weighs_both_errors(attempt, reference, rng):
    """choose_bands has the least sum of both integrals, over all bands·rows up to num_perm"""
    for threshold, num_perm in rng.permutation(BANDINGS):
        args = float(threshold), int(num_perm)
        assert_equal(attempt.choose_bands(*args), reference.choose_bands(*args), label=f"choose_bands{args}")


def near(rng, length, changed):
    """A text of so many letters, and one with that many letters at the end replaced: J = (l − c)/(l + c) or so."""
    text = text_of(rng, length)
    return text, text[: length - changed] + text_of(rng, changed)


def windows(rng, count, length, shift):
    """Texts that overlap like tiles: each is near its neighbours alone."""
    text = text_of(rng, length + shift * count)
    return [text[shift * i : shift * i + length] for i in range(count)]


@check("deduplicate", points=6)
def test_candidates_are_verified(attempt, reference, rng):
    """a candidate counts only if the exact Jaccard similarity is at least the threshold, equality included"""
    pairs = [near(rng, 30, changed) for changed in (2, 5, 8, 12)]
    docs = [text for pair in pairs for text in pair]
    settings = {"k": 3, "bands": 64, "rows": 1} | dict(zip("ab", family(rng, 64), strict=True))
    for pair in pairs:
        similarity = reference.jaccard(*(reference.shingles(text, 3) for text in pair))
        for threshold, label in ((similarity, "exactly the threshold"), (similarity + 1e-9, "just below it")):
            got = assert_inputs_unchanged(attempt.deduplicate, docs, threshold, **settings)
            assert_equal(got, reference.deduplicate(docs, threshold, **settings), label=f"a pair at {label}")


@check("deduplicate", points=3)
def test_only_candidates_count(attempt, reference, rng):
    """documents that share no band stay apart, however similar they are"""
    docs = [text for changed in (2, 3, 4, 5, 0) for text in near(rng, 40, changed)]
    settings = {"threshold": 0.6, "k": 4, "bands": 1, "rows": 64} | dict(zip("ab", family(rng, 64), strict=True))
    assert_equal(attempt.deduplicate(docs, **settings), reference.deduplicate(docs, **settings))


@check("deduplicate", points=5)
def test_clusters_are_connected_components(attempt, reference, rng):
    """of every chain of near-duplicates the lowest index alone is kept, in whatever order its documents come"""
    texts = [text for _ in range(4) for text in windows(rng, 5, length=30, shift=5)]
    docs = [texts[i] for i in rng.permutation(len(texts))]
    lone = [text_of(rng, 30) for _ in range(3)]
    settings = {"threshold": 0.6, "k": 3, "bands": 40, "rows": 2} | dict(zip("ab", family(rng, 80), strict=True))
    left, middle, right = windows(rng, 3, length=30, shift=5)
    for batch in ([*docs[:7], "", lone[0], *docs[7:], " \n", *lone[1:]], [left, right, middle], lone, []):
        assert_equal(attempt.deduplicate(batch, **settings), reference.deduplicate(batch, **settings))


@check("deduplicate", points=3, needs="test_clusters_are_connected_components")
def test_a_cluster_may_be_long(attempt, reference, rng):
    """a chain of 1400 documents is one cluster"""
    docs = windows(rng, 1400, length=12, shift=1)
    docs.insert(700, text_of(rng, 12))
    settings = {"threshold": 0.75, "k": 4, "bands": 12, "rows": 1} | dict(zip("ab", family(rng, 12), strict=True))
    assert_equal(attempt.deduplicate(docs, **settings), reference.deduplicate(docs, **settings))
