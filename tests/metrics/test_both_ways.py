"""Both directions from one product: what two searches find, to the last tie."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlbench.metrics import both_ways
from vlbench.metrics.both_ways import search_both
from vlbench.metrics.retrieval import Found, Search, normalise


def _two_searches(images: np.ndarray, texts: np.ndarray, owners: list[int], *valid: np.ndarray) -> tuple[Found, Found]:
    captions_of, images_of = _sides(len(images), owners)
    image_valid, text_valid = valid or (None, None)
    return (
        Search(images, texts, captions_of, image_valid, text_valid).run(0),
        Search(texts, images, images_of, text_valid, image_valid).run(0),
    )


def _sides(images: int, owners: list[int]) -> tuple[list[list[int]], list[list[int]]]:
    return [[t for t, owner in enumerate(owners) if owner == i] for i in range(images)], [[owner] for owner in owners]


def _equal(found: tuple[Found, Found], expected: tuple[Found, Found], scores: np.ndarray | None = None) -> None:
    for one, other in zip(found, expected, strict=True):
        for name in ("above", "tied_negatives", "tied_positives"):
            assert getattr(one.ranks, name).tolist() == getattr(other.ranks, name).tolist(), name
    if scores is not None:
        # Of several that score highest either may be named.
        for one, other, table in zip(found, expected, (scores, scores.T), strict=True):
            asked = np.flatnonzero(other.best >= 0)
            assert (one.best >= 0).tolist() == (other.best >= 0).tolist()
            assert table[asked, one.best[asked]].tolist() == table[asked, other.best[asked]].tolist()


@st.composite
def problems(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, list[int], np.ndarray, np.ndarray]:
    """Small integer vectors: products are exact, and ties are many."""
    d, n, m = draw(st.integers(1, 2)), draw(st.integers(1, 5)), draw(st.integers(1, 7))
    numbers = st.integers(-1, 1)
    images = draw(st.lists(st.lists(numbers, min_size=d, max_size=d), min_size=n, max_size=n))
    texts = draw(st.lists(st.lists(numbers, min_size=d, max_size=d), min_size=m, max_size=m))
    owners = draw(st.lists(st.integers(0, n - 1), min_size=m, max_size=m))
    valid = (
        draw(st.lists(st.booleans() if draw(st.booleans()) else st.just(True), min_size=k, max_size=k)) for k in (n, m)
    )
    return np.array(images, np.float32), np.array(texts, np.float32), owners, *(np.array(v, bool) for v in valid)


@given(problems(), st.sampled_from([1, 3, 1 << 20]), st.sampled_from([0, 3, 1 << 20]))
@settings(deadline=None, max_examples=300)
def test_ranks_and_ties_are_those_of_two_searches(
    problem: tuple[np.ndarray, np.ndarray, list[int], np.ndarray, np.ndarray], elements: int, most: int
) -> None:
    images, texts, owners, *valid = problem
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(both_ways, "MOST_NEAR", most)
        found = search_both(images, texts, *_sides(len(images), owners), *valid, elements=elements)
    _equal(found, _two_searches(images, texts, owners, *valid), images @ texts.T)


@pytest.fixture
def one_product(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Fail where texts get a product of their own, unless the list is emptied."""
    ran: list[str] = []
    run = Search.run

    def counted(self: Search, *arguments: object) -> Found:
        ran.append("product")
        return run(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Search, "run", counted)
    return ran


def test_many_strips_and_blocks(one_product: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """700 images, some of them twice, and five captions each, of which some are equal, over blocks of 128 by 1,000."""
    monkeypatch.setattr(both_ways, "COLUMNS", 1_000)
    random = np.random.default_rng(0)
    images = normalise(random.standard_normal((700, 16)))
    images[600:] = images[:100]
    owners = np.repeat(np.arange(700), 5)
    texts = normalise(images[owners] + 0.5 * random.standard_normal((3500, 16)))
    texts[3000:] = texts[:500]
    found = search_both(images, texts, *_sides(700, owners.tolist()), elements=300 * 3500)
    assert one_product == ["product"]
    _equal(found, _two_searches(images, texts, owners.tolist()))


@pytest.mark.parametrize("spread", [0.0, 1e-8, 1e-7, 1e-6])
def test_a_nearly_collapsed_embedding_scores_chance(one_product: list[str], spread: float) -> None:
    """Scores differ by less than what rounding does to them; what is within the margin is decided by the product."""
    random = np.random.default_rng(1)
    centre = random.standard_normal(64)
    images = normalise(centre + spread * random.standard_normal((300, 64)))
    texts = normalise(centre + spread * random.standard_normal((1500, 64)))
    owners = np.repeat(np.arange(300), 5).tolist()
    found = search_both(images, texts, *_sides(300, owners))
    assert one_product == ["product"]
    assert found[1].ranks.hits(1).mean() < 0.02 and found[0].ranks.hits(1).mean() < 0.03
    assert found[1].ranks.hits(150).mean() == pytest.approx(0.5, abs=0.1)


def test_beyond_the_margin_texts_have_a_product_of_their_own(one_product: list[str]) -> None:
    """Vectors a thousand times as long are rounded a million times as much."""
    random = np.random.default_rng(2)
    images = (1e3 * random.standard_normal((50, 64))).astype(np.float32)
    texts = (1e3 * random.standard_normal((250, 64))).astype(np.float32)
    owners = np.repeat(np.arange(50), 5).tolist()
    found = search_both(images, texts, *_sides(50, owners))
    assert one_product == ["product", "product"]
    _equal(found, _two_searches(images, texts, owners))


def test_what_is_no_number_finds_nothing() -> None:
    """Runs count such vectors as failed before; here nothing may break off."""
    images, texts = normalise(np.eye(2)), normalise(np.eye(2))
    texts[1] = np.nan
    for one in search_both(images, texts, *_sides(2, [0, 1])):
        assert one.ranks.tied_positives.tolist()[1] == 0
