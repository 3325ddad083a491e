"""Derived capabilities equal what they are derived from."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vlbench.capabilities import Expander, plain_tags, route
from vlbench.data.source import LocalFolder
from vlbench.task import Protocol
from vlbench.types import (
    ChoiceScores,
    Choose,
    Embedding,
    EmbedImage,
    EmbedText,
    Failure,
    ImageRef,
    LogLikelihood,
    LogProbability,
    Match,
    MatchScore,
    Response,
)


@pytest.fixture
def image(tmp_path: object) -> ImageRef:
    return ImageRef(LocalFolder(tmp_path), "x.png")  # type: ignore[arg-type]


def _vector(*values: float) -> Embedding:
    return Embedding(np.array(values, dtype=np.float32))


def test_routes_prefer_the_native_capability() -> None:
    assert route("choose", frozenset({"choose", "match", "embed_images", "embed_texts"})) == "choose"
    assert route("choose", frozenset({"match", "embed_images", "embed_texts"})) == "match"
    assert route("choose", frozenset({"loglikelihood", "generate"})) == "likelihood-per-token"
    assert route("match", frozenset({"embed_images", "embed_texts"})) == "embed"
    assert route("match", frozenset({"embed_images"})) is None
    assert route("generate", frozenset({"match"})) is None


def test_match_from_embeddings_is_the_scaled_cosine(image: ImageRef) -> None:
    expander = Expander(Protocol("embed", {"match": "embed"}), logit_scale=10.0)
    request = Match(image, "a")
    assert expander.expand(request) == (EmbedImage(image), EmbedText("a"))
    response = expander.combine(request, [_vector(3, 4), _vector(4, 3)])
    assert isinstance(response, MatchScore)
    assert math.isclose(response.value, 10 * 24 / 25, rel_tol=1e-9)


def test_choose_from_embeddings_ranks_templated_texts(image: ImageRef) -> None:
    expander = Expander(Protocol("p", {"choose": "embed"}, template="Q: {prompt} A: {choice}"), logit_scale=1.0)
    request = Choose((image, image), "who is [person1]?", ("x", "[person2]"))
    texts = [part for part in expander.expand(request) if isinstance(part, EmbedText)]
    assert [part.text for part in texts] == ["Q: who is person1? A: x", "Q: who is person1? A: person2"]
    response = expander.combine(request, [_vector(1, 0), _vector(0, 1), _vector(1, 0), _vector(1, 1)])
    assert isinstance(response, ChoiceScores)
    assert np.allclose(response.scores, [0.5, math.sqrt(0.5)])


def test_choose_from_match_averages_over_images(image: ImageRef) -> None:
    expander = Expander(Protocol("p", {"choose": "match"}), logit_scale=1.0)
    request = Choose((image, image), "q", ("a", "b"))
    assert [part.text for part in expander.expand(request) if isinstance(part, Match)] == ["q a", "q b", "q a", "q b"]
    response = expander.combine(request, [MatchScore(v) for v in (1.0, 2.0, 3.0, 6.0)])
    assert isinstance(response, ChoiceScores) and response.scores == (2.0, 4.0)


@pytest.mark.parametrize(
    ("way", "expected"),
    [
        ("likelihood-sum", (-4.0, -3.0)),
        ("likelihood-per-token", (-1.0, -1.5)),
        ("likelihood-less-blind", (1.0, -1.0)),
    ],
)
def test_choose_from_likelihood(image: ImageRef, way: str, expected: tuple[float, ...]) -> None:
    expander = Expander(Protocol("p", {"choose": way}), logit_scale=1.0)
    request = Choose((image,), "q", ("a b c d", "e f"))
    parts = expander.expand(request)
    assert all(isinstance(part, LogLikelihood) for part in parts)
    values: list[Response] = [LogProbability(-4.0, 4), LogProbability(-3.0, 2)]
    if way == "likelihood-less-blind":
        assert len(parts) == 4 and parts[2].image_refs == ()
        values += [LogProbability(-5.0, 4), LogProbability(-2.0, 2)]
    response = expander.combine(request, values)
    assert isinstance(response, ChoiceScores) and response.scores == expected


def test_a_failed_part_fails_the_whole_and_truncation_is_passed_on(image: ImageRef) -> None:
    expander = Expander(Protocol("p", {"match": "embed"}), logit_scale=1.0)
    request = Match(image, "a")
    assert isinstance(expander.combine(request, [Failure("gone"), _vector(1)]), Failure)
    cut = Embedding(np.ones(2, dtype=np.float32), truncated=True)
    assert expander.combine(request, [_vector(1, 1), cut]).truncated


def test_only_region_tags_lose_their_brackets() -> None:
    assert plain_tags("[person1] and [dog2] [not a tag]") == "person1 and dog2 [not a tag]"
