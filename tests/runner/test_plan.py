"""Batches are a pure function of the set of requests."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vlbench.runner.plan import plan
from vlbench.types import EmbedText

texts = st.lists(st.text(alphabet="abc ", max_size=12), max_size=60)


@given(texts=texts, size=st.integers(1, 9), seed=st.randoms(use_true_random=False))
def test_order_and_repetition_do_not_change_the_batches(texts: list[str], size: int, seed: object) -> None:
    requests = [EmbedText(text) for text in texts]
    shuffled = [EmbedText(text) for text in texts + texts]
    seed.shuffle(shuffled)  # type: ignore[attr-defined]
    one = plan(requests, lambda _: size)
    two = plan(shuffled, lambda _: size)
    assert [batch.key for batch in one] == [batch.key for batch in two]
    assert sorted(r.text for b in one for r in b.requests if isinstance(r, EmbedText)) == sorted(set(texts))
    assert all(len(batch.requests) == size for batch in one[:-1])


@given(texts=texts)
def test_texts_of_like_length_come_together_longest_first(texts: list[str]) -> None:
    lengths = [r.length for b in plan([EmbedText(t) for t in texts], lambda _: 4) for r in b.requests]
    assert lengths == sorted(lengths, reverse=True)


def test_halves_cover_the_batch() -> None:
    (batch,) = plan([EmbedText(c) for c in "abcde"], lambda _: 5)
    left, right = batch.halves()
    assert left.requests + right.requests == batch.requests
    assert len({batch.key, left.key, right.key}) == 3
