"""The hidden checks. Rankings are asked only where the scores to be ranked are apart, or equal to the last bit."""

from itertools import pairwise

import numpy as np

from grader.checking import (
    assert_close,
    assert_equal,
    assert_inputs_unchanged,
    assert_raises,
    assert_true,
    check,
    cpu_seconds,
    keep,
    peak_bytes,
)

EXACT = {"rtol": 1e-9, "atol": 0}
SETTINGS = [{"smooth": smooth, "sublinear": sublinear} for smooth in (True, False) for sublinear in (False, True)]
RAW = SETTINGS[::2]
VOCAB, KNOWN = 40, 30
"""Documents hold tokens below KNOWN and the last one of all; the others are in no document."""
BAD_IDS = [-1], [0, VOCAB, 1], [VOCAB], [2, -1, 3], [1, VOCAB + 700], [-VOCAB]


def docs_of(rng, *lengths, known=KNOWN, vocab=VOCAB):
    """Documents of these lengths, in which low tokens repeat and high ones are rare."""
    docs = [(known * rng.random(length) ** 2).astype(int).tolist() for length in lengths]
    return [[vocab - 1 if token == known - 1 else token for token in doc] for doc in docs]


def corpus(rng):
    """14 documents of all lengths, an empty one among them, and the last token of the vocabulary in one."""
    docs = docs_of(rng, 0, 1, 2, *rng.integers(5, 30, 11))
    docs[-1].append(VOCAB - 1)
    return [docs[place] for place in rng.permutation(14)]


def queries(rng):
    """Queries with repetitions, unsorted, of one token and of many, some tokens in no document."""
    found = docs_of(rng, 1, 3, 8, 30)
    return [*found, [*found[1], KNOWN, found[0][0], KNOWN + 2, KNOWN], [7, 7, 7, 0, VOCAB - 1]]


def fitted(module, docs, vocab=VOCAB, **options):
    """A handle of an index over these documents, also where instances would travel as values."""
    index = keep(module.TfidfIndex)(vocab, **options)
    keep(index.fit)(docs)
    return index


def both(attempt, reference, docs, vocab=VOCAB, **options):
    """The attempt's index and the reference's."""
    return fitted(attempt, docs, vocab, **options), fitted(reference, docs, vocab, **options)


def apart(hits):
    """Whether there are two or more, with scores so far apart that no rounding ranks them."""
    return len(hits) > 1 and all(high - low > 1e-7 for (_, high), (_, low) in pairwise(hits))


def ranked_cases(reference, rng, kinds=range(6), ask="search", **options):
    """(docs, query) pairs in which no two documents are nearly equal in score, for queries of every kind."""
    for kind in kinds:
        hits = []
        while not apart(hits):
            docs, query = corpus(rng), queries(rng)[kind]
            hits = getattr(fitted(reference, docs, **options), ask)(query, len(docs))
        yield docs, query


def repeated_case(reference, rng, ask="search"):
    """60 documents that are copies of six, in any order, and a query."""
    while True:
        *different, query = docs_of(rng, *rng.integers(4, 20, 6), 6)
        if apart(getattr(fitted(reference, different), ask)(query, 6)):
            return [different[place] for place in rng.permutation(60) % 6], query


def refitted(attempt, reference, rng):
    """Two pairs of indices, each fitted with two corpora of one shape and with a longer one: yields them each time."""
    pairs = [[keep(module.TfidfIndex)(VOCAB, **options) for module in (attempt, reference)] for options in RAW]
    lengths = rng.integers(4, 9, 12)
    batches = [docs_of(rng, *some) for some in (lengths[:9], lengths[:9], lengths)]
    for turn in range(3):
        for number, pair in enumerate(pairs):
            for index in pair:
                keep(index.fit)(batches[turn - number])
        yield from ((got, want, len(batches[turn - number])) for number, (got, want) in enumerate(pairs))


def assert_scores(got, want, label):
    """Every document's score, and the scores in order: for rankings in which documents may be nearly equal."""
    pairs = isinstance(got, list) and all(isinstance(hit, tuple) and len(hit) == 2 for hit in got)
    assert_true(pairs, f"{label} is a list of pairs (document, score)", got=f"of type {type(got).__name__}")
    assert_close([score for _, score in got], [score for _, score in want], label=f"the scores of {label}", **EXACT)
    assert_close(dict(got), dict(want), label=f"{label} by document", **EXACT)


@check("idf", points=5)
def test_df_counts_documents(attempt, reference, rng):
    """df counts the documents that hold a token, once each, as [V] int64"""
    cases = [(corpus(rng), VOCAB), (docs_of(rng, 60, 50), VOCAB), (docs_of(rng, 9, 0, 9, known=3, vocab=8), 8)]
    for docs, vocab in (*cases, ([[0, 0], [], [0]], 1), ([[]], 3), ([], 5)):
        got = assert_inputs_unchanged(attempt.document_frequency, docs, vocab)
        assert_equal(got, reference.document_frequency(docs, vocab), label=f"N = {len(docs)}, V = {vocab}")


@check("idf", points=2)
def test_df_refuses_tokens_outside_the_vocabulary(attempt, reference, rng):
    """document_frequency raises ValueError for an id below 0 or from V on, wherever it stands; V − 1 is legal"""
    good = docs_of(rng, 4, 6)
    for bad in BAD_IDS:
        assert_raises(ValueError, attempt.document_frequency, [*good, bad], VOCAB)
        assert_raises(ValueError, attempt.document_frequency, [bad, *good], VOCAB)
    good.append([VOCAB - 1, 0])
    assert_equal(attempt.document_frequency(good, VOCAB), reference.document_frequency(good, VOCAB))


def frequencies(rng, n_docs):
    """df as int64, as float64, and as every other entry of an array; 0 and N are among them."""
    df = np.concatenate([rng.integers(0, n_docs + 1, 9), [0, n_docs, 0]])
    return df, df.astype(np.float64), np.repeat(df, 2)[::2], df[:1]


@check("idf", points=4)
def test_smooth_idf(attempt, reference, rng):
    """by default idf is ln((1 + N)/(1 + df)) + 1, df being counts or floats, from 0 to N, and N = 0 too"""
    for n_docs in (12, 1, 5000, 0):
        for df in frequencies(rng, n_docs):
            got, want = assert_inputs_unchanged(attempt.idf, df, n_docs), reference.idf(df, n_docs)
            assert_close(got, want, label=f"N = {n_docs}", **EXACT)
            assert_close(attempt.idf(df, n_docs, smooth=True), want, label=f"N = {n_docs}", **EXACT)


@check("idf", points=3)
def test_unsmoothed_idf(attempt, reference, rng):
    """with smooth=False idf is ln(N/df) + 1, and inf where df = 0, for N = 0 too"""
    for n_docs in (12, 1, 5000, 0):
        for df in frequencies(rng, n_docs):
            got = assert_inputs_unchanged(attempt.idf, df, n_docs, smooth=False)
            assert_close(got, reference.idf(df, n_docs, smooth=False), label=f"N = {n_docs}", **EXACT)


def assert_rows(got, want, count, label="row"):
    for doc_id in range(count):
        assert_close(got.row(doc_id), want.row(doc_id), label=label, **EXACT)


@check("fit", points=7)
def test_rows_are_normalised_tf_idf(attempt, reference, rng):
    """a row holds a document's tokens, ascending and once each, with count·idf divided by the row's L2 norm"""
    full = list(filter(None, corpus(rng)))
    cases = (full, VOCAB), (docs_of(rng, 60, 3, known=5, vocab=6), 6), (docs_of(rng, 9), VOCAB), ([[5] * 300 + [2]], 7)
    for docs, vocab in cases:
        index = keep(attempt.TfidfIndex)(vocab)
        assert_true(assert_inputs_unchanged(keep(index.fit), docs) is index, "fit returns self")
        assert_rows(index, fitted(reference, docs, vocab), len(docs))


@check("fit", points=4, needs="test_rows_are_normalised_tf_idf")
def test_rows_in_every_setting(attempt, reference, rng):
    """smooth and sublinear work in all four combinations: tf is 1 + ln(count) if sublinear"""
    docs = [*filter(None, corpus(rng)), [3] * 40 + [4] * 7]
    for options in SETTINGS:
        got, want = both(attempt, reference, docs, **options)
        assert_rows(got, want, len(docs), label=f"row with {options}")


@check("fit", points=4)
def test_empty_documents_have_empty_rows(attempt, reference, rng):
    """an empty document keeps its place and has an empty row of int64 and float64, wherever it stands"""
    full = docs_of(rng, 7, 9, 5)
    for docs in ([[], *full], [*full, []], [full[0], [], [], full[1]], [[]], [[], [], []], full[:1]):
        for options in RAW:
            got, want = both(attempt, reference, docs, **options)
            assert_rows(got, want, len(docs), label=f"row of {len(docs)} documents")


@check("fit", points=3)
def test_fit_begins_anew(attempt, reference, rng):
    """fit forgets the documents from before, and two indices do not meet; a bad token id raises ValueError"""
    for got, want, n_docs in refitted(attempt, reference, rng):
        assert_rows(got, want, n_docs, label="row after several calls of fit")
    for bad in BAD_IDS:
        assert_raises(ValueError, got.fit, [[1, 2], bad])


@check("fit", points=4, needs="test_rows_are_normalised_tf_idf")
def test_fit_makes_no_dense_array(attempt, reference, rng):
    """fitting 2500 short documents with V = 20000 takes less than 25 MB: there is no array of N·V, of bytes neither"""
    docs, index = rng.integers(0, 20_000, size=(2500, 20)).tolist(), keep(attempt.TfidfIndex)(20_000)
    assert_rows(*both(attempt, reference, docs[:2], 20_000), 2)
    used = peak_bytes(keep(index.fit), docs) / 1e6
    assert_true(used < 25, "too much memory: is there an array of N·V?", expected="< 25 MB", got=f"{used:.0f} MB")


@check("transform", points=6)
def test_query_is_weighted_with_the_corpus_idf(attempt, reference, rng):
    """a query's weights are those of a row, with the idf of the corpus, whatever the query is, in every setting"""
    for options in SETTINGS:
        docs = corpus(rng)
        got, want = both(attempt, reference, docs, **options)
        for query in (*queries(rng)[:4], [7, 7, 7, 0, VOCAB - 1], docs[0] + docs[1] + docs[2]):
            query = [token for token in query if any(token in doc for doc in docs)]
            vector = assert_inputs_unchanged(got.transform, query)
            assert_close(vector, want.transform(query), label=f"the vector with {options}", **EXACT)


@check("transform", points=4)
def test_tokens_in_no_document(attempt, reference, rng):
    """a token of df = 0 counts in the smooth query's norm, and is left out where its idf is infinite"""
    docs, new = corpus(rng), [KNOWN, KNOWN + 3, KNOWN]
    for options in SETTINGS:
        got, want = both(attempt, reference, docs, **options)
        for query in (new + docs[0][:1] + docs[1], docs[2] + new, new, new[:1]):
            assert_close(got.transform(query), want.transform(query), label=f"the vector with {options}", **EXACT)


@check("transform", points=3)
def test_query_edges(attempt, reference, rng):
    """an empty query has an empty vector of int64 and float64; ids outside the vocabulary raise ValueError"""
    for docs in (corpus(rng), [[]], []):
        for options in RAW:
            got, want = both(attempt, reference, docs, **options)
            for query in ([], [3], [VOCAB - 1, 0]):
                assert_close(got.transform(query), want.transform(query), label=f"N = {len(docs)}", **EXACT)
            for bad in BAD_IDS:
                assert_raises(ValueError, got.transform, bad)


@check("search", points=8)
def test_scores_are_cosines(attempt, reference, rng):
    """documents come with their cosine to the query, highest first, in every setting of smooth and sublinear"""
    for kinds, options in zip((range(6), (1, 2), (4,), (3,)), SETTINGS, strict=True):
        for docs, query in ranked_cases(reference, rng, kinds, **options):
            got, want = both(attempt, reference, docs, **options)
            for k in (len(want.search(query, 14)), 3, 1):
                hits = assert_inputs_unchanged(got.search, query, k)
                assert_close(hits, want.search(query, k), label=f"search(…, {k}) with {options}", **EXACT)


@check("search", points=5)
def test_lower_id_first_among_equals(attempt, reference, rng):
    """of documents with equal scores the lower id comes first, also where k cuts through them"""
    docs, query = repeated_case(reference, rng)
    got, want = both(attempt, reference, docs)
    for k in (60, 1, 4, 10, 15, 27, 41):
        assert_close(got.search(query, k), want.search(query, k), label=f"search(…, {k})", **EXACT)


@check("search", points=5)
def test_only_documents_that_share_a_token(attempt, reference, rng):
    """what shares no token with the query is no result: k may be above the number of hits, above N, and 0"""
    docs = [[1, 2, 3, 3], [4, 4, 5], [1, 5, 5, 6], [], [6, 7, 1], [8, *[11] * 2000]]
    rng.shuffle(docs)
    for some, options in (*((docs, options) for options in RAW), ([[]], {}), ([], {})):
        got, want = both(attempt, reference, some, 12, **options)
        for query in ([2], [2, 9], [4, 7, 7], [1, 3, 6, 6, 9], [9, 10], [8, *[10] * 300], []):
            for k in (0, 2, 50):
                assert_close(got.search(query, k), want.search(query, k), label=f"search(…, {k})", **EXACT)


@check("search", points=2)
def test_results_are_plain(attempt, reference, rng):
    """search returns a list of tuples of a Python int and a Python float, and refuses bad token ids with ValueError"""
    ((docs, query),) = ranked_cases(reference, rng, [3])
    got, want = both(attempt, reference, docs)
    assert_close(got.search(query, 4), want.search(query, 4), exact_type=True, **EXACT)
    for index, k in ((got, 2), (got, 0), (fitted(attempt, []), 2)):
        for bad in BAD_IDS:
            assert_raises(ValueError, index.search, bad, k)


@check("search", points=2)
def test_search_after_another_fit(attempt, reference, rng):
    """transform and search know the documents of the last fit alone, of their own index"""
    for got, want, n_docs in refitted(attempt, reference, rng):
        for query in ([0, 3, 3], [5, 1, 0, KNOWN]):
            assert_close(got.transform(query), want.transform(query), label="the vector after another fit", **EXACT)
            assert_scores(got.search(query, n_docs), want.search(query, n_docs), "search after another fit")


@check("inverted", points=4)
def test_postings_are_columns(attempt, reference, rng):
    """postings give the documents of a token, ascending, with the weights of their rows; a bad id raises ValueError"""
    for docs, options in (([], {}), ([[]], {}), *((corpus(rng), options) for options in SETTINGS)):
        got, want = both(attempt, reference, docs, **options)
        for token in (*range(0, VOCAB, 6), VOCAB - 1):
            assert_close(got.postings(token), want.postings(token), label=f"postings({token})", **EXACT)
    for token in (-1, VOCAB, VOCAB + 700, -VOCAB):
        assert_raises(ValueError, got.postings, token)
    for got, want, _ in refitted(attempt, reference, rng):
        for token in (0, 3, VOCAB - 1):
            assert_close(got.postings(token), want.postings(token), label="postings after another fit", **EXACT)


@check("inverted", points=8, needs="test_scores_are_cosines")
def test_search_touches_the_postings_alone(attempt, reference, rng):
    """with rare tokens among 600 long documents search takes at most 5 times the CPU time of an inverted index"""
    docs = rng.integers(2000, 12_000, size=(600, 350))
    for token in range(2000):
        docs[rng.integers(0, 600, 5), rng.integers(350)] = token
    first, *rounds = rng.permutation(2000)[:1800].reshape(4, 150, 3).tolist()  # 150 queries each, all tokens different
    indices = [(module, fitted(module, docs.tolist(), 12_000)) for module in (attempt, reference.confined())]
    assert_close(*(module.run("search_all", index, first, 10) for module, index in indices), **EXACT)
    got, want = (min(cpu_seconds(m.run, "search_all", index, asked, 10) for asked in rounds) for m, index in indices)
    assert_true(got <= 5 * want, "too slow: is every row looked at?", expected="≤ 5×", got=f"{got / want:.0f}×")


def tokenizer(width, asked):
    """One of pieces of so many letters, for which every case and space counts; it notes what it is asked."""

    def encode(text):
        asked.append(text)
        return [int.from_bytes(text[start : start + width].encode()) for start in range(0, len(text), width)]

    return encode


def texts_of(rng, size):
    """Different texts of letters, capitals and spaces, also at the ends."""
    return ["".join(rng.choice(list("aabcdeAB  "), 12 + place)) + " " * (place % 2) for place in range(size)]


def searched(module, encode, texts):
    index = keep(module.TextSearch)(encode, 2**16)
    assert_true(keep(index.fit)(texts) is index, "fit returns self")
    return index


@check("text", points=3)
def test_texts_are_found(attempt, reference, rng):
    """a search gives the texts themselves, as they were, with their scores; each index asks its own encode"""
    batches = texts_of(rng, 9), texts_of(rng, 7)
    cases = [(tokenizer(width, []), [*texts, texts[2]]) for width, texts in enumerate(batches, 1)]
    pairs = [[searched(module, *case) for module in (attempt, reference)] for case in cases]
    for query in (batches[0][4], batches[1][2], "Abc  ", "", "zz"):
        for got, want in pairs:
            for k in (20, 0):
                assert_scores(got.search(query, k), want.search(query, k), f"search({query!r}, {k})")
            assert_equal(len(got.search(query, 3)), len(want.search(query, 3)))
    (got, want), query = pairs[1], batches[0][1]
    for index in (got, want):
        keep(index.fit)(batches[0][:3])
    assert_scores(got.search(query, 9), want.search(query, 9), "search after a second fit")


@check("text", points=4)
def test_every_text_is_encoded_once(attempt, reference, rng):
    """fit encodes each text once, search the query alone, both as they are: nothing stripped, nothing lowercased"""
    asked, different = [], [*texts_of(rng, 8), "", " ", "Cafe\u0301\n"]
    texts = [*different, different[2], ""]
    want = searched(reference, tokenizer(1, []), texts)
    got = searched(attempt, tokenizer(1, asked), texts)
    assert_equal(sorted(asked), sorted(texts), label="what fit has encoded")
    for query in (" bcd AA", "Abc ", texts[2] + " ", "e\u0301 \n", "Abc "):
        asked.clear()
        hits = got.search(query, 20)
        assert_equal(asked, [query], label="what search has encoded")
        assert_scores(hits, want.search(query, 20), f"search({query!r}, 20)")


@check("bm25", points=5)
def test_bm25_scores(attempt, reference, rng):
    """BM25 sums over the query's tokens, repetitions too; smooth and sublinear do not matter; empty documents count"""
    for kinds, options in zip((range(6), (2, 4)), SETTINGS[::3], strict=True):
        for docs, query in ranked_cases(reference, rng, kinds, "bm25"):
            got, want = both(attempt, reference, docs, **options)
            for k in (len(want.bm25(query, 14)), 2):
                hits = assert_inputs_unchanged(got.bm25, query, k)
                assert_close(hits, want.bm25(query, k), label=f"bm25(…, {k})", **EXACT)


@check("bm25", points=3)
def test_bm25_parameters(attempt, reference, rng):
    """k1 and b work at any value: no saturation to speak of at 1e6, binary counts at 0, no length at b = 0"""
    for docs, query in ranked_cases(reference, rng, (2, 4), "bm25"):
        got, want = both(attempt, reference, docs)
        for k1, b in ((1.2, 0.4), (0.0, 0.75), (2.0, 0.0), (0.9, 1.0), (1e6, 0.3)):
            hits, label = want.bm25(query, 14, k1=k1, b=b), f"k1 = {k1}, b = {b}"
            assert_scores(got.bm25(query, len(hits), k1=k1, b=b), hits, label)


@check("bm25", points=2)
def test_bm25_edges(attempt, reference, rng):
    """results are as those of search: ties, hits alone, any k, plain types, ValueError for bad ids"""
    docs, query = repeated_case(reference, rng, "bm25")
    asked = (query, 60), (query, 7), (query, 25), (query, 0), ([*query, KNOWN], 90), ([KNOWN, KNOWN], 3), ([], 3)
    for some in (docs, [[], []], []):
        got, want = both(attempt, reference, some)
        for tokens, k in asked:
            hits = got.bm25(tokens, k)
            assert_close(hits, want.bm25(tokens, k), exact_type=True, label=f"bm25({tokens}, {k})", **EXACT)
        for bad in BAD_IDS:
            assert_raises(ValueError, got.bm25, bad, len(some))
    for got, want, n_docs in refitted(attempt, reference, rng):
        assert_scores(got.bm25([0, 3, 3], n_docs), want.bm25([0, 3, 3], n_docs), "bm25 after another fit")
