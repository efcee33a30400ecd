"""Known wrong solutions. Each runs in a copy of the reference's namespace, and may use its names."""

from collections import defaultdict
from itertools import combinations, pairwise

import numpy as np

from grader.checking import mistake


def _hashes(items):
    return np.array([hash_shingle(item) for item in items], dtype=np.uint64)


def _buckets_of(values):
    """The documents by what they hold, as lists of ascending indices."""
    buckets = defaultdict(list)
    for document, value in enumerate(values):
        buckets[value].append(document)
    return list(buckets.values())


def _band_buckets(signatures, bands, rows):
    """The buckets of all bands, one after the other."""
    if bands * rows > signatures.shape[1]:
        raise ValueError("too few columns")
    for band in range(bands):
        yield from _buckets_of(row.tobytes() for row in signatures[:, band * rows : (band + 1) * rows])


def _pairs_of(buckets):
    return {pair for bucket in buckets for pair in combinations(bucket, 2)}


def _prepared(docs, k, a, b):
    """Shingle sets and signatures."""
    sets = [shingles(doc, k) for doc in docs]
    signatures = np.array([minhash_signature(_hashes(items), a, b) for items in sets], dtype=np.uint64)
    return sets, signatures.reshape(len(docs), len(a))


def _first_of_each(count, pairs):
    """The lowest index of every connected component, without recursion."""
    label, changed = list(range(count)), True
    while changed:
        changed = False
        for i, j in pairs:
            low = min(label[i], label[j])
            changed = changed or label[i] != label[j]
            label[i] = label[j] = low
    return [i for i in range(count) if label[i] == i]


def _verified(docs, threshold, k, a, b, bands, rows):
    sets, signatures = _prepared(docs, k, a, b)
    found = lsh_candidate_pairs(signatures, bands, rows)
    return sorted((i, j) for i, j in found if jaccard(sets[i], sets[j]) >= threshold)


@mistake(
    "last_window_missing",
    replaces="shingles",
    caught_by="test_shingles_are_all_windows_of_k_characters",
    advice="A text of length L has L − k + 1 windows of k characters; range(L − k) leaves out the last one.",
)
def shingles(text, k):
    text = " ".join(text.lower().split())
    return {text[i : i + k] for i in range(len(text) - k)} or ({text} if text else set())


@mistake(
    "short_text_has_none",
    replaces="shingles",
    caught_by="test_short_and_blank_texts",
    advice="A text shorter than k is its own only shingle; without one it would equal every other short text.",
)
def shingles(text, k):
    text = " ".join(text.lower().split())
    return {text[i : i + k] for i in range(len(text) - k + 1)}


@mistake(
    "blank_text_is_a_shingle",
    replaces="shingles",
    caught_by="test_short_and_blank_texts",
    advice="A text that is empty after normalising has no shingle at all: return the empty set, not {''}.",
)
def shingles(text, k):
    text = " ".join(text.lower().split())
    return {text[i : i + k] for i in range(max(len(text) - k, 0) + 1)}


@mistake(
    "casefolded",
    replaces="shingles",
    caught_by="test_text_is_normalised_first",
    advice="`casefold` makes ss of ß. The text is lowercased with `str.lower`, the whole of it, before it is cut.",
)
def shingles(text, k):
    text = " ".join(text.casefold().split())
    return {text[i : i + k] for i in range(max(len(text) - k, 0) + 1)} if text else set()


@mistake(
    "whitespace_only_stripped",
    replaces="shingles",
    caught_by="test_text_is_normalised_first",
    advice="`strip` cleans the ends alone. Every run of whitespace inside becomes one space: join what `split` gives.",
)
def shingles(text, k):
    text = text.lower().strip()
    return {text[i : i + k] for i in range(max(len(text) - k, 0) + 1)} if text else set()


@mistake(
    "pythons_hash",
    replaces="hash_shingle",
    caught_by="test_hash_is_four_bytes_of_sha1",
    advice="hash() of a string is salted anew in every process, so stored signatures never match again. Use SHA-1.",
)
def hash_shingle(shingle):
    return hash(shingle) % 2**32


@mistake(
    "empty_sets_differ",
    replaces="jaccard",
    caught_by="test_jaccard_is_intersection_over_union",
    advice="Two empty sets are equal, so their similarity is 1.0 here.",
)
def jaccard(a, b):
    return len(a & b) / len(a | b) if a or b else 0.0


@mistake(
    "minimum_before_the_modulus",
    replaces="minhash_signature",
    caught_by="test_signature_is_the_minimum_of_each_function",
    advice="The smallest x gives the smallest a·x + b, before mod p: then all functions pick the same shingle.",
)
def minhash_signature(hashes, a, b):
    return (a * (hashes % PRIME).min(initial=PRIME) + b) % PRIME if len(hashes) else np.full_like(a, PRIME)


@mistake(
    "hashes_not_reduced",
    replaces="minhash_signature",
    caught_by="test_signature_is_exact_for_hashes_of_any_size",
    advice="a·x overflows uint64, silently, for hashes beyond 33 bits. Reduce them mod p first: then a·x + b < 2^62.",
)
def minhash_signature(hashes, a, b):
    return ((a[:, None] * hashes + b[:, None]) % PRIME).min(axis=1, initial=PRIME)


@mistake(
    "floating_point",
    replaces="minhash_signature",
    caught_by="test_signature_is_exact_for_hashes_of_any_size",
    advice="float64 has 53 bits and a·x takes 62: the lowest are lost, and the remainder with them. Stay in uint64.",
)
def minhash_signature(hashes, a, b):
    x = (hashes % PRIME).astype(np.float64)
    return ((a[:, None] * x + b[:, None]) % PRIME).min(axis=1, initial=PRIME).astype(np.uint64)


@mistake(
    "nothing_has_no_minimum",
    replaces="minhash_signature",
    caught_by="test_signature_of_no_shingles",
    advice="`min` of an empty axis raises. Give it `initial=PRIME`: above all values, and the answer for no shingles.",
)
def minhash_signature(hashes, a, b):
    return ((a[:, None] * (hashes % PRIME) + b[:, None]) % PRIME).min(axis=1)


@mistake(
    "two_python_loops",
    replaces="minhash_signature",
    caught_by="test_signature_is_vectorised",
    advice="n·P steps in Python: 400 shingles × 1000 functions are 400,000. Let one of the two loops be NumPy's.",
)
def minhash_signature(hashes, a, b):
    xs = [x % PRIME for x in hashes.tolist()]
    coefficients = zip(a.tolist(), b.tolist(), strict=True)
    return np.array([min(((s * x + t) % PRIME for x in xs), default=PRIME) for s, t in coefficients], dtype=np.uint64)


@mistake(
    "values_as_sets",
    replaces="estimate_jaccard",
    caught_by="test_estimate_counts_equal_places",
    advice="Values are compared place by place, as each belongs to its own hash function; a set forgets the places.",
)
def estimate_jaccard(s1, s2):
    return len(set(s1.tolist()) & set(s2.tolist())) / len(s1)


@mistake(
    "strided_bands",
    replaces="lsh_candidate_pairs",
    caught_by="test_candidates_share_all_rows_of_a_band",
    advice="A band is `rows` neighbouring columns, i·rows to (i + 1)·rows, not every bands-th column.",
)
def lsh_candidate_pairs(signatures, bands, rows):
    if bands * rows > signatures.shape[1]:
        raise ValueError("too few columns")
    used = signatures[:, : bands * rows]
    return {pair for band in range(bands) for pair in _pairs_of(_buckets_of(map(tuple, used[:, band::bands].tolist())))}


@mistake(
    "band_not_in_the_key",
    replaces="lsh_candidate_pairs",
    caught_by="test_bands_and_places_are_kept_apart",
    advice="Buckets of different bands must not mix: put the band's number into the key, or start anew for each band.",
)
def lsh_candidate_pairs(signatures, bands, rows):
    if bands * rows > signatures.shape[1]:
        raise ValueError("too few columns")
    buckets = defaultdict(list)
    for band in range(bands):
        for document, row in enumerate(signatures[:, band * rows : (band + 1) * rows]):
            buckets[row.tobytes()].append(document)
    return _pairs_of(buckets.values())


@mistake(
    "sum_as_key",
    replaces="lsh_candidate_pairs",
    caught_by="test_bands_and_places_are_kept_apart",
    advice="Different values can have equal sums. The key is the tuple of the values, or their bytes.",
)
def lsh_candidate_pairs(signatures, bands, rows):
    if bands * rows > signatures.shape[1]:
        raise ValueError("too few columns")
    sums = signatures[:, : bands * rows].reshape(len(signatures), bands, rows).sum(axis=2)
    return {pair for band in sums.T.tolist() for pair in _pairs_of(_buckets_of(band))}


@mistake(
    "neighbours_in_the_bucket",
    replaces="lsh_candidate_pairs",
    caught_by="test_every_pair_of_a_bucket_once",
    advice="A bucket of m documents has m(m − 1)/2 pairs, not only those of neighbours in its list.",
)
def lsh_candidate_pairs(signatures, bands, rows):
    return {pair for bucket in _band_buckets(signatures, bands, rows) for pair in pairwise(bucket)}


@mistake(
    "too_few_columns_accepted",
    replaces="lsh_candidate_pairs",
    caught_by="test_columns_beyond_the_bands_are_not_used",
    advice="A slice past the end is short or empty, and silent: raise ValueError where bands·rows > P.",
)
def lsh_candidate_pairs(signatures, bands, rows):
    blocks = (signatures[:, band * rows : (band + 1) * rows] for band in range(bands))
    return {pair for block in blocks for pair in _pairs_of(_buckets_of(row.tobytes() for row in block))}


@mistake(
    "every_pair_compared",
    replaces="lsh_candidate_pairs",
    caught_by="test_pairs_are_not_all_compared",
    advice="Comparing each document with all others takes N² steps, which is what LSH is there to avoid: use buckets.",
)
def lsh_candidate_pairs(signatures, bands, rows):
    if bands * rows > signatures.shape[1]:
        raise ValueError("too few columns")
    blocks = signatures[:, : bands * rows].reshape(len(signatures), bands, rows)
    return {
        (i, i + 1 + int(j))
        for i in range(len(blocks))
        for j in np.flatnonzero((blocks[i + 1 :] == blocks[i]).all(axis=2).any(axis=1))
    }


@mistake(
    "exponents_exchanged",
    replaces="candidate_probability",
    caught_by="test_probability_of_a_candidate",
    advice="A band needs all its rows, s^rows; a miss needs all bands to fail, (1 − s^rows)^bands: not the reverse.",
)
def candidate_probability(s, bands, rows):
    with np.errstate(divide="ignore"):
        return -np.expm1(rows * np.log1p(-(s**bands)))


@mistake(
    "cancels_to_zero",
    replaces="candidate_probability",
    caught_by="test_tiny_probabilities_keep_their_digits",
    advice="1 − 1e-24 is 1 in float64, and the digits are gone: use log1p for log(1 − x) and expm1 for exp(z) − 1.",
)
def candidate_probability(s, bands, rows):
    return 1 - (1 - s**rows) ** bands


@mistake(
    "whole_table_only",
    replaces="choose_bands",
    caught_by="test_choose_bands_weighs_both_errors",
    advice="bands·rows may be less than num_perm: with its divisors alone the best choice is often left out.",
)
def choose_bands(threshold, num_perm):
    middles = (np.arange(400) + 0.5) / 400
    below, above = threshold * middles, threshold + (1 - threshold) * middles

    def error(option):
        positives = threshold * np.mean(candidate_probability(below, *option))
        return positives + (1 - threshold) * np.mean(1 - candidate_probability(above, *option))

    return min(((b, num_perm // b) for b in range(1, num_perm + 1) if num_perm % b == 0), key=error)


@mistake(
    "verified_by_the_estimate",
    replaces="deduplicate",
    caught_by="test_candidates_are_verified",
    advice="The signatures' agreement is off by 1/√P or so: verify with the exact Jaccard similarity of the sets.",
)
def deduplicate(docs, threshold, k, a, b, bands, rows):
    _, signatures = _prepared(docs, k, a, b)
    found = lsh_candidate_pairs(signatures, bands, rows)
    return _first_of_each(
        len(docs), [(i, j) for i, j in found if estimate_jaccard(signatures[i], signatures[j]) >= threshold]
    )


@mistake(
    "strictly_above",
    replaces="deduplicate",
    caught_by="test_candidates_are_verified",
    advice="A pair with exactly the threshold's similarity counts: ≥, not >.",
)
def deduplicate(docs, threshold, k, a, b, bands, rows):
    sets, signatures = _prepared(docs, k, a, b)
    found = lsh_candidate_pairs(signatures, bands, rows)
    return _first_of_each(len(docs), [(i, j) for i, j in found if jaccard(sets[i], sets[j]) > threshold])


@mistake(
    "all_pairs_verified",
    replaces="deduplicate",
    caught_by="test_only_candidates_count",
    advice="Only candidate pairs are verified; looking at all pairs is right in result, and hopeless for a corpus.",
)
def deduplicate(docs, threshold, k, a, b, bands, rows):
    sets = [shingles(doc, k) for doc in docs]
    return _first_of_each(
        len(docs), [(i, j) for i, j in combinations(range(len(docs)), 2) if jaccard(sets[i], sets[j]) >= threshold]
    )


@mistake(
    "later_one_dropped",
    replaces="deduplicate",
    caught_by="test_clusters_are_connected_components",
    advice="Two documents can be linked by a third that comes after both, and then have no pair that drops either.",
)
def deduplicate(docs, threshold, k, a, b, bands, rows):
    dropped = {j for _, j in _verified(docs, threshold, k, a, b, bands, rows)}
    return [i for i in range(len(docs)) if i not in dropped]


@mistake(
    "recursion",
    replaces="deduplicate",
    caught_by="test_a_cluster_may_be_long",
    advice="A search that calls itself goes as deep as the cluster is long, and Python stops at 1000: use a loop.",
)
def deduplicate(docs, threshold, k, a, b, bands, rows):
    neighbours = defaultdict(list)
    for i, j in _verified(docs, threshold, k, a, b, bands, rows):
        neighbours[i].append(j)
        neighbours[j].append(i)
    seen = set()

    def visit(document):
        seen.add(document)
        for other in neighbours[document]:
            if other not in seen:
                visit(other)
        return document

    return [visit(document) for document in range(len(docs)) if document not in seen]
