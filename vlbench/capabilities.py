"""Derived capabilities, in one place.

A model that lacks a capability may still answer through another: ``match`` from embeddings (cosine times logit scale,
Radford et al. 2021), ``choose`` from ``match`` or embeddings through a template, ``choose`` from the log-likelihood
of a generator, and ``choose`` by asking a generator that follows instructions for the letter of an option. A derivation
expands one request into native ones and combines their responses.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vlbench import letters
from vlbench.types import (
    ChoiceScores,
    Choose,
    Embedding,
    EmbedImage,
    EmbedText,
    Failure,
    Generate,
    Generated,
    LogLikelihood,
    LogProbability,
    Match,
    MatchScore,
    Request,
    Response,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vlbench.task import Protocol

INSTRUCTIONS = "follow_instructions"
"""Stands among native capabilities for a generator that follows instructions; no request of its own."""

ROUTES: dict[str, tuple[tuple[str, frozenset[str]], ...]] = {
    "match": (("match", frozenset({"match"})), ("embed", frozenset({"embed_images", "embed_texts"}))),
    "choose": (
        ("choose", frozenset({"choose"})),
        ("match", frozenset({"match"})),
        ("likelihood-per-token", frozenset({"loglikelihood"})),
        (letters.ROUTE, frozenset({"generate", INSTRUCTIONS})),
        ("embed", frozenset({"embed_images", "embed_texts"})),
    ),
}
"""For each capability that can be derived: routes in order of preference with the native capabilities they need."""

LIKELIHOOD_ROUTES = ("likelihood-sum", "likelihood-per-token", "likelihood-less-blind")


def route(capability: str, available: frozenset[str]) -> str | None:
    """Return the preferred route by which ``available`` native capabilities answer ``capability``, or None.

    >>> route("choose", frozenset({"embed_images", "embed_texts"}))
    'embed'
    """
    for name, needed in ROUTES.get(capability, ((capability, frozenset({capability})),)):
        if needed <= available:
            return name
    return None


def plain_tags(text: str) -> str:
    """Replace region tags by plain names, for models that cannot point: ``[person1]`` becomes ``person1``.

    >>> plain_tags("Why is [person1] near [person2]?")
    'Why is person1 near person2?'
    """
    return re.sub(r"\[(\w+)\]", r"\1", text)


@dataclass(frozen=True)
class Expander:
    """Expands requests along the routes of a protocol and combines the native responses."""

    protocol: Protocol
    logit_scale: float

    def expand(self, request: Request) -> Sequence[Request]:
        """Return the native requests whose responses answer ``request``."""
        way = self.protocol.routes.get(request.capability, request.capability)
        if way == request.capability:
            return (request,)
        if isinstance(request, Match):
            return (EmbedImage(request.image), EmbedText(request.text))
        if isinstance(request, Choose):
            return self._expand_choose(request, way)
        raise TypeError(f"{type(request).__name__} cannot be derived by {way!r}")

    def _expand_choose(self, request: Choose, way: str) -> Sequence[Request]:
        if way in LIKELIHOOD_ROUTES:
            seen = [LogLikelihood(request.images, request.prompt, choice) for choice in request.choices]
            if way != "likelihood-less-blind":
                return seen
            return [*seen, *(LogLikelihood((), request.prompt, choice) for choice in request.choices)]
        if way == letters.ROUTE:
            options = [plain_tags(choice) for choice in request.choices]
            prompt = letters.ask(self.protocol.template, plain_tags(request.prompt), options)
            return [Generate(request.images, prompt, letters.DECODING)]
        texts = [
            plain_tags(self.protocol.template.format(prompt=request.prompt, choice=choice))
            for choice in request.choices
        ]
        if way == "match":
            return [Match(image, text) for image in request.images for text in texts]
        return [*(EmbedImage(image) for image in request.images), *(EmbedText(text) for text in texts)]

    def combine(self, request: Request, responses: Sequence[Response]) -> Response:
        """Return the response to ``request`` from the responses to its expansion, in order."""
        for response in responses:
            if isinstance(response, Failure):
                return response
        way = self.protocol.routes.get(request.capability, request.capability)
        if way == request.capability:
            return responses[0]
        truncated = any(response.truncated for response in responses)
        if isinstance(request, Match):
            return MatchScore(self._cosines(responses[:1], responses[1:])[0, 0].item(), truncated=truncated)
        assert isinstance(request, Choose)
        if way == letters.ROUTE:
            assert isinstance(responses[0], Generated)
            return _chosen(responses[0], [plain_tags(choice) for choice in request.choices])
        if way in LIKELIHOOD_ROUTES:
            scores = _likelihoods(responses, len(request.choices), way)
        elif way == "match":
            values = [r.value for r in responses if isinstance(r, MatchScore)]
            # Several images: each choice is judged by its mean over the images.
            scores = np.asarray(values).reshape(len(request.images), -1).mean(axis=0)
        else:
            images = len(request.images)
            scores = self._cosines(responses[:images], responses[images:]).mean(axis=0)
        return ChoiceScores(tuple(float(s) for s in scores), truncated=truncated)

    def _cosines(self, images: Sequence[Response], texts: Sequence[Response]) -> np.ndarray:
        left, right = (
            np.stack([r.vector for r in side if isinstance(r, Embedding)]).astype(np.float64)
            for side in (images, texts)
        )
        left /= np.maximum(np.linalg.norm(left, axis=1, keepdims=True), 1e-12)
        right /= np.maximum(np.linalg.norm(right, axis=1, keepdims=True), 1e-12)
        return self.logit_scale * (left @ right.T)


def _chosen(written: Generated, options: Sequence[str]) -> Response:
    """Return 1 for the option that ``written`` names and 0 for the others."""
    taken = letters.read(written.text, options)
    if taken is None:
        return Failure(f"the answer names no option: {written.text[:200]!r}")
    return ChoiceScores(tuple(float(n == taken) for n in range(len(options))), truncated=written.truncated)


def _likelihoods(responses: Sequence[Response], choices: int, way: str) -> np.ndarray:
    """Return one score a choice: the sum, the mean a token, or the sum less the image-free sum."""
    seen = [r for r in responses if isinstance(r, LogProbability)]
    totals: np.ndarray = np.array([r.total for r in seen])
    if way == "likelihood-sum":
        return totals
    if way == "likelihood-per-token":
        return np.asarray(totals / np.maximum([r.tokens for r in seen], 1))
    return np.asarray(totals[:choices] - totals[choices:])
