"""Ranks against brute force: all orders of tied items are tried one by one."""

from __future__ import annotations

import itertools
import math
import tracemalloc
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlbench.metrics.retrieval import (
    Distinct,
    Ranks,
    Search,
    expected_hit,
    median_rank,
    normalise,
    ranks_from_scores,
    rerank,
    retrieval_ranks,
    strip_queries,
    strips,
    top_items,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

KS = (1, 2, 3, 5)


def orders(keys: Sequence[tuple[float, ...]]) -> list[tuple[int, ...]]:
    """All rankings by falling key in which tied items stand in any order."""
    groups = [[i for i, key in enumerate(keys) if key == value] for value in sorted(set(keys), reverse=True)]
    return [
        tuple(itertools.chain.from_iterable(parts))
        for parts in itertools.product(*(itertools.permutations(group) for group in groups))
    ]


def brute_force(keys: Sequence[tuple[float, ...]], right: Sequence[int]) -> tuple[list[float], float]:
    """Mean hit at each of KS and mean rank of the best right item, over all orders of ties."""
    ranks = [min(order.index(i) for i in right) + 1 for order in orders(keys)]
    return [float(np.mean([rank <= k for rank in ranks])) for k in KS], float(np.mean(ranks))


def check(ranks: Ranks, keys: Sequence[Sequence[tuple[float, ...]]], positives: Sequence[Sequence[int]]) -> None:
    for i, (row, right) in enumerate(zip(keys, positives, strict=True)):
        hits, rank = brute_force(row, right)
        assert [ranks.hits(k)[i] for k in KS] == pytest.approx(hits, abs=1e-12)
        assert ranks.expected_rank()[i] == pytest.approx(rank, abs=1e-12)


@st.composite
def problems(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, list[list[int]]]:
    """Small integer vectors: products are exact, and ties are many."""
    d, n, m = draw(st.integers(1, 2)), draw(st.integers(1, 4)), draw(st.integers(1, 6))
    numbers = st.integers(-1, 1)
    queries = draw(st.lists(st.lists(numbers, min_size=d, max_size=d), min_size=n, max_size=n))
    gallery = draw(st.lists(st.lists(numbers, min_size=d, max_size=d), min_size=m, max_size=m))
    items = st.lists(st.integers(0, m - 1), min_size=1, max_size=3, unique=True)
    positives = draw(st.lists(items, min_size=n, max_size=n))
    return np.array(queries, dtype=np.float32), np.array(gallery, dtype=np.float32), positives


@given(problems(), st.sampled_from([1, 3, 1 << 20]))
@settings(deadline=None, max_examples=150)
def test_ranks_equal_brute_force_over_all_orders_of_ties(
    problem: tuple[np.ndarray, np.ndarray, list[list[int]]], elements: int
) -> None:
    queries, gallery, positives = problem
    keys = [[(float(value),) for value in row] for row in queries @ gallery.T]
    check(retrieval_ranks(queries, gallery, positives, elements=elements), keys, positives)
    check(ranks_from_scores(queries @ gallery.T, positives), keys, positives)


@given(problems(), st.integers(1, 4), st.integers(0, 10_000))
@settings(deadline=None, max_examples=150)
def test_reranked_ranks_equal_brute_force(
    problem: tuple[np.ndarray, np.ndarray, list[list[int]]], top: int, seed: int
) -> None:
    queries, gallery, positives = problem
    found = Search(queries, gallery, positives).run(top)
    random = np.random.default_rng(seed)
    first = queries @ gallery.T
    keys, matches = [], []
    for i in range(len(queries)):
        candidates = found.candidates[i][found.candidates[i] >= 0].tolist()
        assert sorted(first[i][candidates]) == sorted(first[i])[-len(candidates) :]
        values = random.integers(0, 3, len(candidates)).astype(float).tolist()
        of = dict(zip(candidates, values, strict=True))
        keys.append([(1.0, of[j]) if j in of else (0.0, float(first[i, j])) for j in range(len(gallery))])
        matches.append(values)
    check(rerank(found, matches, positives), keys, positives)


def test_closed_form_of_the_expected_hit() -> None:
    assert expected_hit(5, 5, 0, 1) == 0
    assert expected_hit(5, 2, 2, 1) == 1
    assert expected_hit(5, 2, 4, 2) == pytest.approx(1 - math.comb(4, 3) / math.comb(6, 3))
    assert expected_hit(1, 0, 0, 0) == 0


def test_a_collapsed_embedding_scores_chance() -> None:
    """All vectors alike: recall@K is that of a random order, in both directions, whatever the number of captions."""
    n, captions = 200, 5
    images, texts = normalise(np.ones((n, 7))), normalise(np.full((n * captions, 7), 3.7))
    of_image = [list(range(captions * i, captions * (i + 1))) for i in range(n)]
    of_text = [[t // captions] for t in range(n * captions)]
    assert retrieval_ranks(texts, images, of_text).hits(10) == pytest.approx(np.full(n * captions, 10 / n))
    missed = math.comb(n * captions - captions, 10) / math.comb(n * captions, 10)
    assert retrieval_ranks(images, texts, of_image).hits(10) == pytest.approx(np.full(n, 1 - missed))


@pytest.mark.parametrize("d", [3, 17, 64, 511])
def test_equal_vectors_tie_wherever_they_stand(d: int) -> None:
    """A product of matrices rounds the same row differently by its place in a block; here it must not show."""
    random = np.random.default_rng(d)
    distinct = random.standard_normal((37, d)).astype(np.float32)
    gallery = normalise(distinct[random.permutation(np.repeat(np.arange(37), 9))])
    queries = normalise(random.standard_normal((50, d)))
    for _, scores in strips(queries, gallery, elements=700):
        for row in scores:
            assert len(np.unique(row)) == len(np.unique(gallery, axis=0)) == 37
    doubled = normalise(np.concatenate([queries, queries]))
    first: dict[int, np.ndarray] = {}
    for numbers, scores in strips(doubled, gallery, elements=700):
        for number, row in zip(numbers.tolist(), scores, strict=True):
            assert np.array_equal(first.setdefault(number % 50, row.copy()), row)
    assert len(first) == 50


def test_duplicate_captions_neither_help_nor_hurt() -> None:
    """Two images share a caption: each finds its own at rank 1.5, not at 1 and 2 by the order of the file."""
    images = normalise(np.eye(2) + 1)
    texts = normalise(np.ones((2, 2)))
    ranks = retrieval_ranks(images, texts, [[0], [1]])
    assert ranks.expected_rank().tolist() == [1.5, 1.5] and ranks.hits(1).tolist() == [0.5, 0.5]


def test_signed_zeros_are_equal() -> None:
    vectors = normalise(np.array([[0.0, 1.0], [-0.0, 1.0], [0.0, 0.0], [-0.0, -0.0]]))
    assert len(Distinct.of(vectors).rows) == 2


def test_what_failed_is_never_retrieved() -> None:
    """A failed item leaves the gallery; a query is lost when it failed itself or all that it seeks did."""
    texts = normalise(np.eye(4))
    images = normalise(np.eye(4)[:3])
    of_image = [[0], [1, 3], [2]]
    valid = np.array([True, False, False, True])
    ranks = retrieval_ranks(images, texts, of_image, gallery_valid=valid)
    assert ranks.tied_positives.tolist() == [1, 1, 0]
    assert ranks.expected_rank().tolist() == [1.0, 1.5, np.inf]
    assert ranks.hits(10).tolist() == [1.0, 1.0, 0.0]
    lost = retrieval_ranks(images, texts, of_image, query_valid=np.array([False, True, True]))
    assert lost.expected_rank()[0] == np.inf and lost.expected_rank()[1] == 1.0
    none = retrieval_ranks(images, texts, of_image, gallery_valid=np.zeros(4, dtype=bool))
    assert none.expected_rank().tolist() == [np.inf] * 3


def test_not_a_number_is_not_retrieved() -> None:
    ranks = ranks_from_scores(np.array([[np.nan, 1.0, 2.0], [0.5, np.nan, 2.0]]), [[0, 1], [1]])
    assert ranks.expected_rank().tolist() == [2.0, np.inf]


def test_a_query_whose_matching_failed_finds_nothing() -> None:
    found = Search(normalise(np.eye(2)), normalise(np.eye(2)), [[0], [1]]).run(2)
    ranks = rerank(found, [None, [1.0, 2.0]], [[0], [1]])
    assert ranks.hits(10).tolist() == [0.0, 1.0]
    assert ranks.expected_rank().tolist() == [np.inf, 2.0], "the wrong candidate matched better"


def test_the_tied_candidates_that_get_in_are_drawn() -> None:
    """If the order of the gallery decided, a collapsed embedding with a good matcher would favour the first items."""
    drawn = np.array([top_items(np.ones(10), 3, seed) for seed in range(2000)])
    assert np.bincount(drawn.ravel(), minlength=10) == pytest.approx(np.full(10, 600), rel=0.15)
    scores = np.array([1.0, 3.0, 2.0, 2.0, 2.0])
    assert all(top_items(scores, 2, seed)[0] == 1 for seed in range(20))
    assert {int(top_items(scores, 2, seed)[1]) for seed in range(50)} == {2, 3, 4}


def test_median_rank_is_that_of_vse() -> None:
    """floor(median of ranks from 0) + 1: between the 1st and the 2nd it says 1."""
    assert median_rank(np.array([1.0, 2.0])) == 1.0
    assert median_rank(np.array([2.0, 5.0, 9.0])) == 5.0
    assert median_rank(np.array([1.0, 1.0, np.inf])) == 1.0
    assert median_rank(np.array([1.0, np.inf])) is None


def test_recall_equals_a_full_sort_where_nothing_ties() -> None:
    random = np.random.default_rng(0)
    images = normalise(random.standard_normal((60, 16)))
    texts = normalise(np.repeat(images, 5, axis=0) + 0.35 * random.standard_normal((300, 16)))
    owners = np.repeat(np.arange(60), 5)
    order = np.argsort(-(images.astype(np.float64) @ texts.T), axis=1)
    first = (owners[order] == np.arange(60)[:, None]).argmax(axis=1) + 1
    ranks = retrieval_ranks(images, texts, [np.flatnonzero(owners == i).tolist() for i in range(60)], elements=1000)
    assert ranks.expected_rank().tolist() == first.tolist()
    assert ranks.hits(5).mean() == np.mean(first <= 5)


def test_memory_stays_bounded_where_the_matrix_would_not_fit() -> None:
    """No strip holds more scores than allowed, even if all queries are equal."""
    random = np.random.default_rng(1)
    gallery = normalise(random.standard_normal((500, 4)))
    for queries in (normalise(random.standard_normal((300, 4))), normalise(np.ones((300, 4)))):
        seen = []
        for numbers, scores in strips(queries, gallery, elements=2_000):
            assert scores.shape == (len(numbers), 500) and scores.size <= 2_000
            seen += numbers.tolist()
        assert sorted(seen) == list(range(300))


def test_a_strip_is_wide_enough_to_compute_and_no_wider_than_it_need_be() -> None:
    assert strip_queries(1_000_000) == 128  # 0.5 GiB of float32
    assert strip_queries(5_000) * 5_000 * 4 <= 64 << 20


def test_peak_memory_is_far_below_the_matrix() -> None:
    random = np.random.default_rng(2)
    queries, gallery = normalise(random.standard_normal((1_000, 4))), normalise(random.standard_normal((20_000, 4)))
    tracemalloc.start()
    try:
        retrieval_ranks(queries, gallery, [[i] for i in range(1_000)], elements=100_000)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1_000 * 20_000 * 4 / 8
