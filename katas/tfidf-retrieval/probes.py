"""Many searches in one call, since a single one is too short to be timed from outside; and what the benches run."""

from typing import Any


def search_all(module: Any, index: Any, queries: list[list[int]], k: int) -> list[list[tuple[int, float]]]:
    """[index.search(query, k) for query in queries]"""
    del module
    return [index.search(query, k) for query in queries]


def bm25_all(module: Any, index: Any, queries: list[list[int]], k: int) -> list[list[float]]:
    """The scores of all queries: documents of one length and count are equals, which rounding ranks."""
    del module
    return [[score for _, score in index.bm25(query, k)] for query in queries]


def fit_array(module: Any, docs: Any, vocab_size: int) -> list[Any]:
    """Some rows and postings of an index over the rows of an int array, which travels faster than lists do."""
    index = module.TfidfIndex(vocab_size).fit(docs.tolist())
    return [*map(index.row, range(0, len(docs), 200)), *map(index.postings, range(0, vocab_size, 5000))]
