"""Known wrong solutions. Each runs in a copy of the reference's namespace, and may use its names."""

from itertools import chain

import numpy as np

from grader.checking import mistake


def _vector(index, tokens, vocab_size):
    """Ids, counts and idf of a query's tokens."""
    ids, counts = np.unique(_token_ids(tokens, vocab_size), return_counts=True)
    return ids, counts, index.idf[ids]


def _bm25(index, tokens, k1, b, rarity, boost=None):
    """BM25 with the parts that mistakes differ in."""
    scores = np.zeros(len(index.lengths))
    boost = k1 + 1 if boost is None else boost
    relative = index.lengths / (index.mean_length or 1)
    for token in _token_ids(tokens, index.vocab_size):
        entries = index._postings(token)
        doc_ids, tf = index.posting_docs[entries], index.posting_counts[entries]
        scores[doc_ids] += rarity(len(scores), len(tf)) * tf * boost / (tf + k1 * (1 - b + b * relative[doc_ids]))
    return scores


def _rarity(n_docs, df):
    return np.log(1 + (n_docs - df + 0.5) / (df + 0.5))


@mistake(
    "occurrences",
    replaces="document_frequency",
    caught_by="test_df_counts_documents",
    advice="df counts documents, not occurrences: take the set of a document's tokens, so that each counts once.",
)
def document_frequency(docs, vocab_size):
    return np.bincount(_token_ids(chain.from_iterable(docs), vocab_size), minlength=vocab_size)


@mistake(
    "negative_ids_wrap",
    replaces="_token_ids",
    caught_by="test_df_refuses_tokens_outside_the_vocabulary",
    advice="A negative id must raise ValueError too: as an index it would silently count from the end.",
)
def _token_ids(tokens, vocab_size):
    ids = np.fromiter(tokens, dtype=np.int64)
    if ids.size and ids.max() >= vocab_size:
        raise ValueError("too high")
    return ids % vocab_size


@mistake(
    "textbook_idf",
    replaces="idf",
    caught_by="test_smooth_idf",
    advice="The + 1 after the logarithm is missing: a token that every document holds weighs 1 here, not 0.",
)
def idf(df, n_docs, smooth=True):
    if smooth:
        return np.log((1 + n_docs) / (1 + df))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(df > 0, np.log(n_docs / df), np.inf)


@mistake(
    "half_smoothed",
    replaces="idf",
    caught_by="test_smooth_idf",
    advice="Smoothing adds 1 above and below the line: (1 + N)/(1 + df). N/(1 + df) gives common tokens less than 1.",
)
def idf(df, n_docs, smooth=True):
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(n_docs / (1 + df)) + 1 if smooth else np.where(df > 0, np.log(n_docs / df) + 1, np.inf)


@mistake(
    "zero_for_unseen",
    replaces="idf",
    caught_by="test_unsmoothed_idf",
    advice="Unsmoothed, a token of df = 0 has idf inf: N/0. Do not set it to 0, nor leave 0/0 = NaN for N = 0.",
)
def idf(df, n_docs, smooth=True):
    if smooth:
        return np.log((1 + n_docs) / (1 + df)) + 1
    return np.where(df > 0, np.log(max(n_docs, 1) / np.maximum(df, 1)) + 1, 0.0)


@mistake(
    "norm_over_columns",
    replaces="_normalised",
    caught_by="test_rows_are_normalised_tf_idf",
    advice="Each document is divided by its own norm. This divides by one taken over all documents.",
)
def _normalised(weights, doc_ids, n_docs):
    return weights / (np.linalg.norm(weights) or 1)


@mistake(
    "log_of_one_plus_tf",
    replaces="TfidfIndex._tf",
    caught_by="test_rows_in_every_setting",
    advice="Sublinear tf is 1 + ln(tf), not ln(1 + tf).",
)
def _tf(self, counts):
    return np.log1p(counts) if self.sublinear else counts


@mistake(
    "empty_documents_dropped",
    replaces="_entries",
    caught_by="test_empty_documents_have_empty_rows",
    advice="Empty documents keep their numbers: where they are skipped, all later ones move up by one.",
)
def _entries(docs, vocab_size):
    docs = [doc for doc in docs if doc]
    owners = np.repeat(np.arange(len(docs)), np.array([len(doc) for doc in docs], dtype=np.int64))
    keys = owners * vocab_size + _token_ids(chain.from_iterable(docs), vocab_size)
    keys, counts = np.unique(keys, return_counts=True)
    return *np.divmod(keys, vocab_size), counts


fit_once = TfidfIndex.fit


@mistake(
    "fit_adds",
    replaces="TfidfIndex.fit",
    caught_by="test_fit_begins_anew",
    advice="fit begins anew: reset all that it fills. Otherwise documents of an earlier corpus are still found.",
)
def fit(self, docs):
    self.docs = [*getattr(self, "docs", []), *docs]
    return fit_once(self, self.docs)


@mistake(
    "dense_rows",
    replaces="_entries",
    caught_by="test_fit_makes_no_dense_array",
    advice="An array of N × V is nearly all zeros. Keep, for each document, only the ids and counts that it has.",
)
def _entries(docs, vocab_size):
    table = np.zeros((len(docs), vocab_size))
    for row, doc in zip(table, docs, strict=True):
        np.add.at(row, _token_ids(doc, vocab_size), 1)
    doc_ids, token_ids = np.nonzero(table)
    return doc_ids, token_ids, table[doc_ids, token_ids].astype(np.int64)


transform_once = TfidfIndex.transform


@mistake(
    "queries_not_checked",
    replaces="TfidfIndex.transform",
    caught_by="test_query_edges",
    advice="A query with an id outside the vocabulary raises ValueError; −1 must not come to mean the last token.",
)
def transform(self, tokens):
    return transform_once(self, [token % self.vocab_size for token in tokens])


@mistake(
    "idf_of_the_query",
    replaces="TfidfIndex.transform",
    caught_by="test_query_is_weighted_with_the_corpus_idf",
    advice="A query is weighted with the idf of the corpus, which fit has stored, not with one of the query alone.",
)
def transform(self, tokens):
    ids, counts, _ = _vector(self, tokens, self.vocab_size)
    weights = self._tf(counts) * idf(document_frequency([tokens], self.vocab_size), 1, self.smooth)[ids]
    return ids, weights / (np.linalg.norm(weights) or 1)


@mistake(
    "query_without_norm",
    replaces="TfidfIndex.transform",
    caught_by="test_query_is_weighted_with_the_corpus_idf",
    advice="The query's vector has norm 1 too. Without that the ranking is the same, but scores are no cosines.",
)
def transform(self, tokens):
    ids, counts, rarity = _vector(self, tokens, self.vocab_size)
    return ids[rarity < np.inf], (self._tf(counts) * rarity)[rarity < np.inf]


@mistake(
    "unseen_dropped",
    replaces="TfidfIndex.transform",
    caught_by="test_tokens_in_no_document",
    advice="Under smooth idf a token in no document stays in the query's vector: it is part of the norm.",
)
def transform(self, tokens):
    ids, counts, rarity = _vector(self, tokens, self.vocab_size)
    seen = self.df[ids] > 0
    weights = (self._tf(counts) * rarity)[seen]
    return ids[seen], weights / (np.linalg.norm(weights) or 1)


@mistake(
    "infinite_weights",
    replaces="TfidfIndex.transform",
    caught_by="test_tokens_in_no_document",
    advice="inf divided by an infinite norm is NaN. Leave tokens of infinite idf out before the norm is taken.",
)
def transform(self, tokens):
    ids, counts, rarity = _vector(self, tokens, self.vocab_size)
    weights = self._tf(counts) * rarity
    with np.errstate(invalid="ignore"):
        return ids, weights / (np.linalg.norm(weights) or 1)


@mistake(
    "lowest_first",
    replaces="_top",
    caught_by="test_scores_are_cosines",
    advice="argsort ascends: sort the negated scores to have the most similar first.",
)
def _top(scores, k):
    hits = np.flatnonzero(scores)
    best = hits[np.argsort(scores[hits], kind="stable")[:k]]
    return list(zip(best.tolist(), scores[best].tolist(), strict=True))


@mistake(
    "ties_reversed",
    replaces="_top",
    caught_by="test_lower_id_first_among_equals",
    advice="[::-1] turns equal scores round too. Sort the negated scores with kind='stable', or by (−score, doc_id).",
)
def _top(scores, k):
    hits = np.flatnonzero(scores)
    best = hits[np.argsort(scores[hits], kind="stable")[::-1][:k]]
    return list(zip(best.tolist(), scores[best].tolist(), strict=True))


@mistake(
    "filled_up_with_zeros",
    replaces="_top",
    caught_by="test_only_documents_that_share_a_token",
    advice="A document that shares no token with the query is no result: drop scores of 0, be there k others or not.",
)
def _top(scores, k):
    best = np.argsort(-scores, kind="stable")[:k]
    return list(zip(best.tolist(), scores[best].tolist(), strict=True))


@mistake(
    "small_scores_dropped",
    replaces="_top",
    caught_by="test_only_documents_that_share_a_token",
    advice="A small score is a hit: without a shared token it is exactly 0, so compare with 0 and allow no tolerance.",
)
def _top(scores, k):
    hits = np.flatnonzero(scores > 1e-5)
    best = hits[np.argsort(-scores[hits], kind="stable")[:k]]
    return list(zip(best.tolist(), scores[best].tolist(), strict=True))


@mistake(
    "numpy_scalars",
    replaces="_top",
    caught_by="test_results_are_plain",
    advice="Zipping arrays gives NumPy scalars, which json refuses. `tolist()` makes Python ints and floats of them.",
)
def _top(scores, k):
    hits = np.flatnonzero(scores)
    best = hits[np.argsort(-scores[hits], kind="stable")[:k]]
    return list(zip(best, scores[best], strict=True))


search_once = TfidfIndex.search


@mistake(
    "nothing_asked",
    replaces="TfidfIndex.search",
    caught_by="test_results_are_plain",
    advice="Check the query's ids before leaving early: a bad id raises ValueError for k = 0 and N = 0 too.",
)
def search(self, tokens, k):
    return search_once(self, tokens, k) if k and len(self.lengths) else []


@mistake(
    "queries_remembered",
    replaces="TfidfIndex.transform",
    caught_by="test_search_after_another_fit",
    advice="Vectors of queries depend on the corpus: what is remembered of them has to be forgotten by fit.",
)
def transform(self, tokens):
    known = self.__dict__.setdefault("known", {})
    if tuple(tokens) not in known:
        known[tuple(tokens)] = transform_once(self, tokens)
    return known[tuple(tokens)]


@mistake(
    "postings_not_checked",
    replaces="TfidfIndex._postings",
    caught_by="test_postings_are_columns",
    advice="postings checks its token too: outside 0 to V − 1 it raises ValueError, instead of slicing from the end.",
)
def _postings(self, token):
    return slice(self.posting_ends[token % self.vocab_size], self.posting_ends[token % self.vocab_size + 1])


@mistake(
    "every_row_looked_at",
    replaces="TfidfIndex.search",
    caught_by="test_search_touches_the_postings_alone",
    advice="This multiplies every row with the query. Store the rows by token in fit, and add up the query's postings.",
)
def search(self, tokens, k):
    query = np.zeros(self.vocab_size)
    ids, weights = self.transform(tokens)
    query[ids] = weights
    products = query[self.token_ids] * self.weights
    return _top(np.bincount(np.repeat(np.arange(len(self.lengths)), np.diff(self.row_ends)), products), k)


@mistake(
    "numbers_for_texts",
    replaces="TextSearch.search",
    caught_by="test_texts_are_found",
    advice="A text search gives the texts: look them up by their doc_id.",
)
def search(self, text, k):
    return self.index.search(self.encode(text), k)


@mistake(
    "another_normalisation",
    replaces="TextSearch.search",
    caught_by="test_texts_are_found",
    advice="The query goes through encode as it is. Lowercased or stripped, its tokens are others than the corpus has.",
)
def search(self, text, k):
    return [(self.texts[i], score) for i, score in self.index.search(self.encode(text.lower().strip()), k)]


@mistake(
    "encoded_for_each_query",
    replaces="TextSearch.search",
    caught_by="test_every_text_is_encoded_once",
    advice="The texts are encoded in fit. A search encodes the query alone; all else is stored in the index.",
)
def search(self, text, k):
    index = TfidfIndex(self.index.vocab_size).fit([self.encode(one) for one in self.texts])
    return [(self.texts[i], score) for i, score in index.search(self.encode(text), k)]


@mistake(
    "bm25_of_a_set",
    replaces="TfidfIndex.bm25",
    caught_by="test_bm25_scores",
    advice="The sum runs over the query's tokens with their repetitions: what is asked twice counts twice.",
)
def bm25(self, tokens, k, k1=1.5, b=0.75):
    return _top(_bm25(self, sorted(set(tokens)), k1, b, _rarity), k)


@mistake(
    "negative_idf",
    replaces="TfidfIndex.bm25",
    caught_by="test_bm25_scores",
    advice="The 1 + inside the logarithm is missing: a token that most documents hold would count against them.",
)
def bm25(self, tokens, k, k1=1.5, b=0.75):
    return _top(_bm25(self, tokens, k1, b, lambda n, df: np.log((n - df + 0.5) / (df + 0.5))), k)


@mistake(
    "boost_of_default_k1",
    replaces="TfidfIndex.bm25",
    caught_by="test_bm25_parameters",
    advice="The numerator holds k1 + 1 with the k1 that was given, not that of the default.",
)
def bm25(self, tokens, k, k1=1.5, b=0.75):
    return _top(_bm25(self, tokens, k1, b, _rarity, boost=2.5), k)


@mistake(
    "bm25_filled_up",
    replaces="TfidfIndex.bm25",
    caught_by="test_bm25_edges",
    advice="As in search, only documents that share a token with the query are results.",
)
def bm25(self, tokens, k, k1=1.5, b=0.75):
    scores = _bm25(self, tokens, k1, b, _rarity)
    best = np.argsort(-scores, kind="stable")[:k]
    return list(zip(best.tolist(), scores[best].tolist(), strict=True))
