"""One batch through an adapter: from prepared items to checked responses."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from vlbench.errors import EvaluationFailed, VlbenchError
from vlbench.types import ChoiceScores, Embedding, Failure, Generated, LogProbability, MatchScore, Response

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vlbench.adapter import Adapter

NOT_A_NUMBER = "the model returned a value that is not a finite number"


def execute(adapter: Adapter, capability: str, prepared: Sequence[tuple[Any, bool] | Failure]) -> list[Response]:
    """Return one response for each prepared item; items that failed in preparation keep their failure.

    Raises ``MemoryError`` when the device is out of memory and ``EvaluationFailed`` when the model answers no item of
    the batch, alone or together, or breaks its contract. An error that one item alone provokes fails that item.
    """
    good = [entry for entry in prepared if not isinstance(entry, Failure)]
    answers = iter(_answer(adapter, capability, good)) if good else iter(())
    return [entry if isinstance(entry, Failure) else next(answers) for entry in prepared]


def _answer(adapter: Adapter, capability: str, good: Sequence[tuple[Any, bool]]) -> list[Response]:
    items = [item for item, _ in good]
    truncated = [cut for _, cut in good]
    try:
        return _call(adapter, capability, items, truncated)
    except (MemoryError, VlbenchError):
        raise
    except Exception as error:  # the boundary to the model's code: find out whether one item is to blame
        if _out_of_memory(error):
            raise MemoryError(str(error)) from None
        first = error
    responses: list[Response] = []
    for item, cut in zip(items, truncated, strict=True):
        try:
            responses.extend(_call(adapter, capability, [item], [cut]))
        except Exception as error:
            if _out_of_memory(error) or isinstance(error, VlbenchError):
                raise
            responses.append(Failure(f"{type(error).__name__}: {' '.join(str(error).split())}"))
    if all(isinstance(response, Failure) for response in responses):
        name = type(adapter).__name__
        raise EvaluationFailed(f"{name}.{capability} failed: {type(first).__name__}: {first}") from first
    return responses


def _out_of_memory(error: BaseException) -> bool:
    """Tell whether torch reports that the device is full; CPU allocation failures are plain ``RuntimeError``."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and "can't allocate memory" in str(error))
    )


def _call(adapter: Adapter, capability: str, items: Sequence[Any], truncated: Sequence[bool]) -> list[Response]:
    output = getattr(adapter, capability)(items)
    if len(output) != len(items):
        raise EvaluationFailed(
            f"{type(adapter).__name__}.{capability} returned {len(output)} answers for {len(items)} requests"
        )
    if capability in ("embed_images", "embed_texts"):
        output = _matrix(output, adapter, capability)
    make = _RESPONSES[capability]
    return [
        value if isinstance(value, Failure) else make(value, cut) for value, cut in zip(output, truncated, strict=True)
    ]


def _matrix(output: Any, adapter: Adapter, capability: str) -> np.ndarray:
    """Return a float32 array of shape (n, d) from an array or a tensor on any device in any dtype."""
    if hasattr(output, "detach"):
        output = output.detach().float().cpu().numpy()
    matrix = np.asarray(output, dtype=np.float32)
    if matrix.ndim != 2:
        raise EvaluationFailed(f"{type(adapter).__name__}.{capability} returned shape {matrix.shape}; (n, d) is needed")
    return matrix


def _embedding(value: Any, cut: bool) -> Response:
    return Embedding(value, truncated=cut) if np.isfinite(value).all() else Failure(NOT_A_NUMBER)


def _match(value: Any, cut: bool) -> Response:
    score = float(value)
    return MatchScore(score, truncated=cut) if math.isfinite(score) else Failure(NOT_A_NUMBER)


def _choice(value: Any, cut: bool) -> Response:
    scores = tuple(float(score) for score in value)
    return ChoiceScores(scores, truncated=cut) if all(map(math.isfinite, scores)) else Failure(NOT_A_NUMBER)


def _generated(value: Any, cut: bool) -> Response:
    return Generated(str(value), truncated=cut)


def _likelihood(value: Any, cut: bool) -> Response:
    total, tokens = float(value[0]), int(value[1])
    return LogProbability(total, tokens, truncated=cut) if math.isfinite(total) else Failure(NOT_A_NUMBER)


_RESPONSES: dict[str, Callable[[Any, bool], Response]] = {
    "embed_images": _embedding,
    "embed_texts": _embedding,
    "match": _match,
    "choose": _choice,
    "generate": _generated,
    "loglikelihood": _likelihood,
}
