"""The contract that every adapter keeps, as a test class.

::

    from vlbench.testing import AdapterContract

    class TestMyModel(AdapterContract):
        def make_adapter(self):
            return MyModel()
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from vlbench.adapter import CAPABILITIES, Adapter, LoadOptions
from vlbench.errors import UsageError
from vlbench.runner.execute import execute
from vlbench.testing.samples import requests_of
from vlbench.types import ChoiceScores, Embedding, Failure, Generated, LogProbability, MatchScore, Request, Response

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

TOLERANCE = 1e-4
"""Largest difference, relative to the largest value, between a batch of one and a batch of many in float32."""


def answer(adapter: Adapter, requests: Sequence[Request]) -> list[Response]:
    """Answer requests of one capability as one batch, as the engine does."""
    from vlbench.runner.engine import inference_mode

    prepared: list[tuple[Any, bool] | Failure] = []
    for request in requests:
        images = tuple(adapter.prepare_image(image.load()) for image in request.image_refs)
        prepared.append((adapter.prepare(request, images), adapter.truncates(request)))
    with inference_mode():
        return execute(adapter, requests[0].capability, prepared)


def numbers(response: Response) -> np.ndarray | str:
    """Return what can be compared of a response."""
    match response:
        case Embedding():
            return np.asarray(response.vector)
        case MatchScore():
            return np.array([response.value])
        case ChoiceScores():
            return np.array(response.scores)
        case LogProbability():
            return np.array([response.total, response.tokens])
        case Generated():
            return response.text
        case Failure():
            raise AssertionError(f"the model failed: {response.reason}")
        case _:
            raise TypeError(f"{type(response).__name__} is no response of a model")


def same(left: Response, right: Response, tolerance: float = TOLERANCE) -> bool:
    """Tell whether two responses agree: texts exactly, numbers to ``tolerance`` of the largest."""
    one, other = numbers(left), numbers(right)
    if isinstance(one, str) or isinstance(other, str):
        return one == other
    scale = max(float(np.abs(one).max()), 1e-6)
    return one.shape == other.shape and bool(np.abs(one - other).max() <= tolerance * scale)


class AdapterContract:
    """Subclass it in a test module and write ``make_adapter``, which returns a loaded adapter in float32."""

    tolerance = TOLERANCE

    def make_adapter(self) -> Adapter:
        """Return the adapter under test; called once a class."""
        raise NotImplementedError("write make_adapter")

    @pytest.fixture
    def adapter(self) -> Adapter:
        """Return the adapter, loaded once for all tests of the class."""
        kind = type(self)
        if "_adapter" not in vars(kind):
            kind._adapter = self.make_adapter()  # type: ignore[attr-defined]
        return kind._adapter  # type: ignore[attr-defined, no-any-return]

    @pytest.fixture
    def requests_by_capability(self, adapter: Adapter, tmp_path: Path) -> dict[str, Sequence[Request]]:
        """Return requests of every capability that the adapter has, over four pictures."""
        return requests_of(adapter, tmp_path)

    def test_it_has_a_known_capability(self, adapter: Adapter) -> None:
        """At least one, all of them known."""
        capabilities = adapter.capabilities(adapter.options)
        assert capabilities, f"it can do nothing; write one of the methods {', '.join(CAPABILITIES)}"
        unknown = sorted(capabilities - set(CAPABILITIES))
        assert not unknown, f"it claims {unknown[0]!r}, which is none of {', '.join(CAPABILITIES)}"

    def test_a_batch_of_one_equals_a_batch_of_many(
        self, adapter: Adapter, requests_by_capability: dict[str, Sequence[Request]]
    ) -> None:
        """Padding and neighbours do not change an answer."""
        for name, requests in requests_by_capability.items():
            together = answer(adapter, requests)
            for n, (request, response) in enumerate(zip(requests, together, strict=True)):
                assert same(answer(adapter, [request])[0], response, self.tolerance), (
                    f"{name} answers request {n} otherwise alone than among {len(requests)}"
                )

    def test_order_is_kept(self, adapter: Adapter, requests_by_capability: dict[str, Sequence[Request]]) -> None:
        """The answers come in the order of the requests."""
        for name, requests in requests_by_capability.items():
            forwards = answer(adapter, requests)
            backwards = reversed(answer(adapter, requests[::-1]))
            for n, (one, other) in enumerate(zip(forwards, backwards, strict=True)):
                assert same(one, other, self.tolerance), (
                    f"{name} answers request {n} otherwise where the batch has the reverse order"
                )

    def test_it_is_deterministic(self, adapter: Adapter, requests_by_capability: dict[str, Sequence[Request]]) -> None:
        """The same batch gives the same answers to the bit."""
        for name, requests in requests_by_capability.items():
            first, second = answer(adapter, requests), answer(adapter, requests)
            for n, (one, other) in enumerate(zip(first, second, strict=True)):
                assert np.array_equal(numbers(one), numbers(other)), (
                    f"{name} answers request {n} of the same batch otherwise the second time"
                )

    def test_images_and_texts_share_a_space(
        self, adapter: Adapter, requests_by_capability: dict[str, Sequence[Request]]
    ) -> None:
        """Embeddings of both kinds have one dimension and a finite, non-zero length."""
        sides = [
            requests_by_capability[name] for name in ("embed_images", "embed_texts") if name in requests_by_capability
        ]
        vectors = [np.asarray(numbers(response)) for requests in sides for response in answer(adapter, requests)]
        lengths = sorted({len(vector) for vector in vectors})
        assert len(lengths) <= 1, f"embeddings of images and texts have different lengths: {lengths}"
        assert all(np.linalg.norm(vector) > 0 for vector in vectors), "an embedding is zero, which has no direction"

    def test_a_capability_that_it_lacks_raises(self, adapter: Adapter) -> None:
        """Not a wrong answer, not None."""
        for name in sorted(set(CAPABILITIES) - adapter.capabilities(adapter.options)):
            try:
                getattr(adapter, name)([])
            except NotImplementedError:
                continue
            raise AssertionError(f"{name} is none of its capabilities and must raise NotImplementedError")

    def test_it_is_in_eval_mode(self, adapter: Adapter) -> None:
        """Dropout and batch statistics are off."""
        modules = adapter.model.named_modules() if adapter.model is not None else ()
        training = [name or type(module).__name__ for name, module in modules if module.training]
        assert not training, f"{len(training)} modules are in training mode, first {training[0]}; call eval() in load"

    def test_the_fingerprint_follows_the_weights(self, adapter: Adapter) -> None:
        """Stable while nothing changes; another one when a single weight changes."""
        before = adapter.fingerprint()
        assert before.startswith("sha256:"), f"the fingerprint {before[:40]!r} does not begin with sha256:"
        assert adapter.fingerprint() == before, "the fingerprint changes while the weights do not"
        if adapter.model is None:
            return
        import torch

        weight = next(p for p in adapter.model.parameters() if p.is_floating_point() and p.numel())
        original = weight.data.clone()
        try:
            with torch.no_grad():
                weight.view(-1)[0] += 1.0
            assert adapter.fingerprint() != before, "the fingerprint stays the same when a weight changes"
        finally:
            weight.data.copy_(original)
        assert adapter.fingerprint() == before, "the fingerprint changes while the weights do not"

    def test_an_unknown_argument_is_refused(self, adapter: Adapter) -> None:
        """A misspelt --model-arg is an error, not a silent default."""
        try:
            type(adapter)(LoadOptions(checkpoint=adapter.options.checkpoint, arguments={"no_such_argument": "1"}))
        except UsageError as error:
            assert "no_such_argument" in str(error), f"the error for an unknown argument does not name it: {error}"
            return
        raise AssertionError("a --model-arg that it does not know is taken without a word")

    def test_neutral_arguments_are_arguments(self, adapter: Adapter) -> None:
        """A misspelt one would still identify results."""
        unknown = sorted(adapter.neutral_arguments - set(adapter.argument_names))
        assert not unknown, f"neutral_arguments has {unknown}, which argument_names lacks"

    def test_preprocessing_is_described(self, adapter: Adapter) -> None:
        """The text that is hashed into the result does not change between calls."""
        described = adapter.preprocessing()
        assert described, "preprocessing() returns no text; it must say how images and texts are prepared"
        assert adapter.preprocessing() == described, "preprocessing() returns another text at each call"

    def test_pictures_of_any_size_are_taken(self, adapter: Adapter, tmp_path: Path) -> None:
        """Tall, wide and tiny images do not break preparation."""
        from PIL import Image

        for width, height in ((1, 1), (640, 20), (20, 640)):
            try:
                adapter.prepare_image(Image.new("RGB", (width, height), "white"))
            except Exception as error:
                reason = f"{type(error).__name__}: {error}"
                raise AssertionError(f"prepare_image breaks on a picture of {width} x {height}: {reason}") from error
