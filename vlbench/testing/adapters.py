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
from vlbench.testing.samples import pictures, requests_for
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
        case _:
            raise AssertionError(f"the model failed: {response}")


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
        images = pictures(tmp_path)
        return {name: requests_for(name, images) for name in sorted(adapter.capabilities(adapter.options))}

    def test_it_has_a_known_capability(self, adapter: Adapter) -> None:
        """At least one, all of them known."""
        capabilities = adapter.capabilities(adapter.options)
        assert capabilities and capabilities <= set(CAPABILITIES)

    def test_a_batch_of_one_equals_a_batch_of_many(
        self, adapter: Adapter, requests_by_capability: dict[str, Sequence[Request]]
    ) -> None:
        """Padding and neighbours do not change an answer."""
        for requests in requests_by_capability.values():
            together = answer(adapter, requests)
            for request, response in zip(requests, together, strict=True):
                assert same(answer(adapter, [request])[0], response, self.tolerance), request

    def test_order_is_kept(self, adapter: Adapter, requests_by_capability: dict[str, Sequence[Request]]) -> None:
        """The answers come in the order of the requests."""
        for requests in requests_by_capability.values():
            forwards = answer(adapter, requests)
            backwards = answer(adapter, requests[::-1])
            assert all(same(a, b, self.tolerance) for a, b in zip(forwards, reversed(backwards), strict=True))

    def test_it_is_deterministic(self, adapter: Adapter, requests_by_capability: dict[str, Sequence[Request]]) -> None:
        """The same batch gives the same answers to the bit."""
        for requests in requests_by_capability.values():
            first, second = answer(adapter, requests), answer(adapter, requests)
            assert all(np.array_equal(numbers(a), numbers(b)) for a, b in zip(first, second, strict=True))

    def test_images_and_texts_share_a_space(
        self, adapter: Adapter, requests_by_capability: dict[str, Sequence[Request]]
    ) -> None:
        """Embeddings of both kinds have one dimension and a finite, non-zero length."""
        sides = [
            requests_by_capability[name] for name in ("embed_images", "embed_texts") if name in requests_by_capability
        ]
        vectors = [numbers(response) for requests in sides for response in answer(adapter, requests)]
        assert len({np.shape(vector) for vector in vectors}) <= 1
        assert all(np.linalg.norm(np.asarray(vector)) > 0 for vector in vectors)

    def test_a_capability_that_it_lacks_raises(self, adapter: Adapter) -> None:
        """Not a wrong answer, not None."""
        for name in set(CAPABILITIES) - adapter.capabilities(adapter.options):
            with pytest.raises(NotImplementedError):
                getattr(adapter, name)([])

    def test_it_is_in_eval_mode(self, adapter: Adapter) -> None:
        """Dropout and batch statistics are off."""
        if adapter.model is not None:
            assert not any(module.training for module in adapter.model.modules())

    def test_the_fingerprint_follows_the_weights(self, adapter: Adapter) -> None:
        """Stable while nothing changes; another one when a single weight changes."""
        before = adapter.fingerprint()
        assert before == adapter.fingerprint() and before.startswith("sha256:")
        if adapter.model is None:
            return
        import torch

        weight = next(p for p in adapter.model.parameters() if p.is_floating_point() and p.numel())
        original = weight.data.clone()
        try:
            with torch.no_grad():
                weight.view(-1)[0] += 1.0
            assert adapter.fingerprint() != before
        finally:
            weight.data.copy_(original)
        assert adapter.fingerprint() == before

    def test_an_unknown_argument_is_refused(self, adapter: Adapter) -> None:
        """A misspelt --model-arg is an error, not a silent default."""
        with pytest.raises(UsageError, match="no_such_argument"):
            type(adapter)(LoadOptions(checkpoint=adapter.options.checkpoint, arguments={"no_such_argument": "1"}))

    def test_neutral_arguments_are_arguments(self, adapter: Adapter) -> None:
        """A misspelt one would still identify results."""
        assert adapter.neutral_arguments <= set(adapter.argument_names)

    def test_preprocessing_is_described(self, adapter: Adapter) -> None:
        """The text that is hashed into the result does not change between calls."""
        assert adapter.preprocessing() and adapter.preprocessing() == adapter.preprocessing()

    def test_pictures_of_any_size_are_taken(self, adapter: Adapter, tmp_path: Path) -> None:
        """Tall, wide and tiny images do not break preparation."""
        from PIL import Image

        for size in ((1, 1), (640, 20), (20, 640)):
            adapter.prepare_image(Image.new("RGB", size, "white"))
