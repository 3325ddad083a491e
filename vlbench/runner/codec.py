"""Responses as bytes and back: a JSON head, then the float32 vectors of embeddings."""

from __future__ import annotations

import dataclasses
import json
import struct
from typing import TYPE_CHECKING

import numpy as np

from vlbench.types import ChoiceScores, Embedding, Failure, Generated, LogProbability, MatchScore, Response

if TYPE_CHECKING:
    from collections.abc import Sequence

_KINDS: dict[str, type[Response]] = {
    kind.__name__: kind for kind in (ChoiceScores, Embedding, Failure, Generated, LogProbability, MatchScore)
}


def encode(responses: Sequence[Response]) -> bytes:
    """Return the responses as bytes; floats survive to the bit."""
    heads = []
    vectors = []
    for response in responses:
        fields = {f.name: getattr(response, f.name) for f in dataclasses.fields(response)}
        if isinstance(response, Embedding):
            vector = np.ascontiguousarray(response.vector, dtype="<f4")
            fields["vector"] = vector.size
            vectors.append(vector.tobytes())
        heads.append([type(response).__name__, fields])
    head = json.dumps(heads, separators=(",", ":")).encode()
    return struct.pack("<Q", len(head)) + head + b"".join(vectors)


def decode(data: bytes) -> list[Response]:
    """Return the responses that ``encode`` wrote."""
    (length,) = struct.unpack_from("<Q", data)
    position = 8 + length
    responses: list[Response] = []
    for name, fields in json.loads(data[8:position]):
        if name == "Embedding":
            size = fields["vector"]
            fields["vector"] = np.frombuffer(data, dtype="<f4", count=size, offset=position)
            position += 4 * size
        elif name == "ChoiceScores":
            fields["scores"] = tuple(fields["scores"])
        responses.append(_KINDS[name](**fields))
    return responses
