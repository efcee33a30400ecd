"""The TF-IDF kata's reference against scikit-learn, rank_bm25, bm25s and exact counting."""

import itertools
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from references import reference

pytestmark = pytest.mark.oracle

VOCAB = 120
SETTINGS = list(itertools.product((True, False), repeat=2))


@pytest.fixture(scope="module")
def tfidf() -> ModuleType:
    return reference("tfidf-retrieval")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def corpus(rng: np.random.Generator, n_docs: int = 200, used: int = 100) -> list[list[int]]:
    """Token lists of 0 to 60 tokens below `used`; the other tokens of the vocabulary are in no document."""
    lengths = [0, *rng.integers(1, 60, n_docs - 1)]
    return [(used * rng.random(length) ** 2).astype(int).tolist() for length in lengths]


def vectorizer(smooth: bool, sublinear: bool) -> Any:
    text = pytest.importorskip("sklearn.feature_extraction.text")
    return text.TfidfVectorizer(
        analyzer=list,
        lowercase=False,  # which would be applied to the tokens
        vocabulary={token: token for token in range(VOCAB)},
        smooth_idf=smooth,
        sublinear_tf=sublinear,
    )


def dense(vectors: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    table = np.zeros((len(vectors), VOCAB))
    for row, (token_ids, weights) in zip(table, vectors, strict=True):
        row[token_ids] = weights
    return table


@pytest.mark.parametrize(("smooth", "sublinear"), SETTINGS)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_rows_idf_and_queries_equal_scikit_learn(tfidf, rng, smooth, sublinear):
    theirs, docs, queries = vectorizer(smooth, sublinear), corpus(rng), corpus(rng, 30)
    rows = theirs.fit_transform(docs)
    index = tfidf.TfidfIndex(VOCAB, smooth, sublinear).fit(docs)
    np.testing.assert_allclose(index.idf, theirs.idf_, rtol=1e-14)
    np.testing.assert_allclose(dense([index.row(i) for i in range(len(docs))]), rows.toarray(), rtol=0, atol=1e-15)
    np.testing.assert_allclose(
        dense([index.transform(query) for query in queries]), theirs.transform(queries).toarray(), rtol=0, atol=1e-15
    )


def test_unseen_tokens_count_in_scikit_learns_smooth_norm(tfidf, rng):
    theirs, docs = vectorizer(smooth=True, sublinear=False), corpus(rng)
    theirs.fit(docs)
    query = [VOCAB - 1, 3, 3, VOCAB - 2]
    got = dense([tfidf.TfidfIndex(VOCAB).fit(docs).transform(query)])
    np.testing.assert_allclose(got, theirs.transform([query]).toarray(), rtol=0, atol=1e-15)
    assert got[0, VOCAB - 1] > 0


@pytest.mark.parametrize(("smooth", "sublinear"), SETTINGS)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_scores_equal_linear_kernel(tfidf, rng, smooth, sublinear):
    pairwise = pytest.importorskip("sklearn.metrics.pairwise")
    theirs, docs, queries = vectorizer(smooth, sublinear), corpus(rng), corpus(rng, 20)
    rows = theirs.fit_transform(docs)
    scores = pairwise.linear_kernel(theirs.transform(queries), rows)
    index = tfidf.TfidfIndex(VOCAB, smooth, sublinear).fit(docs)
    for query, want in zip(queries, scores, strict=True):
        got = index.search(query, len(docs))
        assert {doc_id for doc_id, _ in got} == set(np.flatnonzero(want).tolist())
        assert got == sorted(got, key=lambda hit: (-hit[1], hit[0]))
        np.testing.assert_allclose([score for _, score in got], want[[doc_id for doc_id, _ in got]], rtol=1e-13)
        assert index.search(query, 7) == got[:7]


def test_postings_are_the_columns_of_scikit_learns_matrix(tfidf, rng):
    docs = corpus(rng)
    columns = vectorizer(smooth=True, sublinear=False).fit_transform(docs).tocsc()
    columns.sort_indices()
    index = tfidf.TfidfIndex(VOCAB).fit(docs)
    for token in range(VOCAB):
        doc_ids, weights = index.postings(token)
        here = slice(columns.indptr[token], columns.indptr[token + 1])
        assert doc_ids.tolist() == columns.indices[here].tolist()
        np.testing.assert_allclose(weights, columns.data[here], rtol=1e-14)


def test_df_by_counting(tfidf, rng):
    docs = corpus(rng, 40)
    want = [sum(token in doc for doc in docs) for token in range(VOCAB)]
    assert tfidf.document_frequency(docs, VOCAB).tolist() == want


@pytest.mark.parametrize(("k1", "b"), [(1.5, 0.75), (0.9, 0.4), (2.0, 0.0), (1.2, 1.0)])
def test_bm25_is_okapi_with_another_idf(tfidf, rng, k1, b):
    """rank_bm25 has Robertson's idf with a floor; everything else in its sum is the same."""
    rank_bm25 = pytest.importorskip("rank_bm25")
    docs = corpus(rng)[1:]  # an empty one is 0/0 for rank_bm25 at b = 1
    df = tfidf.document_frequency(docs, VOCAB)
    theirs = rank_bm25.BM25Okapi(docs, k1=k1, b=b)
    theirs.idf = {token: np.log(1 + (len(docs) - df[token] + 0.5) / (df[token] + 0.5)) for token in theirs.idf}
    index = tfidf.TfidfIndex(VOCAB).fit(docs)
    for query in [*corpus(rng, 20), [5, 5, 5, 110]]:
        want = theirs.get_scores(query)
        got = index.bm25(query, len(docs), k1=k1, b=b)
        assert {doc_id for doc_id, _ in got} == set(np.flatnonzero(want).tolist())
        np.testing.assert_allclose([score for _, score in got], want[[doc_id for doc_id, _ in got]], rtol=1e-12)


def test_bm25_is_k1_plus_1_times_lucenes(tfidf, rng):
    bm25s = pytest.importorskip("bm25s")
    docs = corpus(rng)[1:]
    theirs = bm25s.BM25(method="lucene", k1=1.5, b=0.75, dtype="float64")
    theirs.index([[str(token) for token in doc] for doc in docs], show_progress=False)
    index = tfidf.TfidfIndex(VOCAB).fit(docs)
    for query in ([3], [7, 40], [0, 15, 60, 81]):
        want = 2.5 * theirs.get_scores([str(token) for token in query])
        got = np.zeros(len(docs))
        for doc_id, score in index.bm25(query, len(docs)):
            got[doc_id] = score
        np.testing.assert_allclose(got, want, rtol=1e-6)


def test_smooth_and_textbook_idf_rank_differently(tfidf, rng):
    """What the debrief says of the two, on a random corpus: most of the lists of the best six differ."""
    docs = corpus(rng, 300)
    index, textbook = tfidf.TfidfIndex(VOCAB).fit(docs), tfidf.TfidfIndex(VOCAB)
    textbook.fit(docs)
    rarity = tfidf.idf(index.df, len(docs), smooth=False) - 1
    table = dense([index.row(i) for i in range(len(docs))]) / index.idf * np.where(np.isfinite(rarity), rarity, 0)
    table /= np.maximum(np.linalg.norm(table, axis=1, keepdims=True), 1e-300)
    best = np.argsort(-(table @ table.T), axis=1, kind="stable")[:, :6]
    ours = [[doc_id for doc_id, _ in index.search(doc, 6)] for doc in docs[1:]]
    assert np.mean([a != b.tolist() for a, b in zip(ours, best[1:], strict=True)]) > 0.5
