"""Responses survive the journal to the bit."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vlbench.runner.codec import decode, encode
from vlbench.types import ChoiceScores, Embedding, Failure, Generated, LogProbability, MatchScore

finite = st.floats(allow_nan=False, allow_infinity=False)


@given(
    vector=st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=40),
    value=finite,
    scores=st.lists(finite, max_size=6),
    text=st.text(),
    cut=st.booleans(),
)
def test_round_trip(vector: list[float], value: float, scores: list[float], text: str, cut: bool) -> None:
    embedding = np.array(vector, dtype=np.float32)
    text = text.encode("utf-8", "replace").decode()
    sent = [
        Embedding(embedding, truncated=cut),
        MatchScore(value),
        ChoiceScores(tuple(scores), truncated=cut),
        Generated(text),
        LogProbability(value, 3),
        Failure(text),
        Embedding(embedding[:1]),
    ]
    back = decode(encode(sent))
    assert [type(r) for r in back] == [type(r) for r in sent]
    assert [r.truncated for r in back] == [r.truncated for r in sent]
    first, match, choice, generated, likelihood, failure, last = back
    assert isinstance(first, Embedding) and first.vector.tobytes() == embedding.tobytes()
    assert isinstance(last, Embedding) and last.vector.tobytes() == embedding[:1].tobytes()
    assert isinstance(match, MatchScore) and match.value == value
    assert isinstance(choice, ChoiceScores) and choice.scores == tuple(scores)
    assert isinstance(generated, Generated) and generated.text == text
    assert isinstance(likelihood, LogProbability) and (likelihood.total, likelihood.tokens) == (value, 3)
    assert isinstance(failure, Failure) and failure.reason == text
