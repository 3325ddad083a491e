"""Floors that any model should beat: chance, the most frequent answer, and the question without the picture.

Baselines see requests, as any model does, and none of them looks at a picture. What they know of answers comes from
train splits (``--model-arg train=FOLDER``; by default those of the bundled scenes), never from the answers under test.
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from vlbench.adapter import Adapter
from vlbench.errors import UsageError
from vlbench.hookspecs import hookimpl
from vlbench.specs import ModelSpec
from vlbench.types import Choose, Generate, Request, content_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import numpy as np
    from PIL import Image

    from vlbench.data.priors import QuestionPrior, TrainSplits

DIMENSION = 64
LEARNED = "learned"


@hookimpl
def vlbench_register_models() -> Iterable[ModelSpec]:
    """Return the baselines."""
    return [
        ModelSpec("baseline:chance", "floor: random embeddings, choices and train answers", Chance),
        ModelSpec("baseline:majority", "floor: the most frequent train answer, a typical train caption", Majority),
        ModelSpec("baseline:blind", "floor: answers from the question alone, by train statistics", Blind),
    ]


class Baseline(Adapter):
    """Reads train splits; answers a request by its texts, whatever the picture shows."""

    argument_names: ClassVar[tuple[str, ...]] = ("train",)
    taught: ClassVar[bool] = True
    """Whether train statistics decide the answers, so that results count as trained on those datasets."""

    def load(self) -> None:
        """Find the train splits; raises ``DataError`` where the folder has none. They are read when needed."""
        from vlbench.data.priors import TrainSplits

        folder = self.options.arguments.get("train")
        self.train: TrainSplits = TrainSplits.open(Path(folder) if folder else None)
        if self.taught:
            self.trained_on = self.train.trained_on

    def resolve_dtype(self, dtype: str) -> str:
        """Return ``float32``: there are no weights."""
        return "float32"

    def fingerprint(self) -> str:
        """Return ``sha256:…`` over the code of the baselines and the files of the train splits."""
        from vlbench.data import priors

        code = [hashlib.sha256(Path(str(file)).read_bytes()).hexdigest() for file in (__file__, priors.__file__)]
        return "sha256:" + content_key(type(self).__name__, code, self.train.digests())

    def prepare_image(self, image: Image.Image) -> None:
        """Look away."""

    def prepare(self, request: Request, images: tuple[Any, ...]) -> Request:
        """Return the request itself: its texts, and the keys of its pictures."""
        return request


class Chance(Baseline):
    """Random answers, the same for the same request whatever batch it is in; another seed gives others."""

    taught = False

    def _draw(self, request: Request) -> np.random.Generator:
        import numpy as np

        return np.random.default_rng(int(content_key(self.options.seed, request.key)[:16], 16))

    def embed_images(self, images: Sequence[Request]) -> np.ndarray:
        """Return (n, 64) standard normal numbers."""
        import numpy as np

        return np.stack([self._draw(request).standard_normal(DIMENSION) for request in images])

    def embed_texts(self, texts: Sequence[Request]) -> np.ndarray:
        """Return (n, 64) standard normal numbers; equal texts have equal ones."""
        return self.embed_images(texts)

    def choose(self, items: Sequence[Choose]) -> list[list[float]]:
        """Return uniform scores."""
        return [self._draw(item).random(len(item.choices)).tolist() for item in items]

    def generate(self, items: Sequence[Generate]) -> list[str]:
        """Draw from the distinct train answers, or for a caption from the train captions."""
        return [str(self._draw(item).choice(self._answers if item.prompt else self._captions)) for item in items]

    @cached_property
    def _answers(self) -> list[str]:
        return sorted({answer for _, answer in self.train.questions})

    @cached_property
    def _captions(self) -> list[str]:
        return sorted(set(self.train.captions))


class Majority(Baseline):
    """The same answer to everything: the most frequent train answer, one typical caption, one position."""

    def choose(self, items: Sequence[Choose]) -> list[list[float]]:
        """Choose the position that is right most often in train; the first where nothing is known of it."""
        return [self._position(len(item.choices)) for item in items]

    def generate(self, items: Sequence[Generate]) -> list[str]:
        """Return the most frequent train answer, or for a caption the typical train caption."""
        return [self._answer if item.prompt else self._caption for item in items]

    def _position(self, choices: int) -> list[float]:
        counts: Mapping[int, int] = self._positions.get(choices, {})
        best = max(range(choices), key=lambda k: (counts.get(k, 0), -k))
        return [float(k == best) for k in range(choices)]

    @cached_property
    def _positions(self) -> Mapping[int, Mapping[int, int]]:
        from vlbench.data.priors import positions

        return positions(self.train.choices)

    @cached_property
    def _answer(self) -> str:
        from collections import Counter

        from vlbench.data.priors import most_frequent

        return most_frequent(Counter(answer for _, answer in self.train.questions))

    @cached_property
    def _caption(self) -> str:
        from vlbench.data.priors import typical_caption

        return typical_caption(self.train.captions)


class Blind(Majority):
    """Answers from the question alone.

    Asked openly: the most frequent train answer to the very same question, else to questions that begin with the same
    words. Given choices: the one that ``choose`` prefers. ``learned`` (the default where there are train items of VCR)
    takes the one whose words right choices had in train; ``overlap`` (else) the one that repeats most words of the
    prompt; ``longest`` and ``centroid`` look for the traces that careless distractors leave.
    """

    argument_names = ("train", "choose")

    def load(self) -> None:
        """Take the way of choosing; raises ``UsageError`` for an unknown one and for one that lacks its train items."""
        super().load()
        taught = "vcr:train" in self.train.files
        way = self.options.arguments.get("choose", LEARNED if taught else "overlap")
        if way not in (LEARNED, *WAYS):
            raise UsageError(f"--model-arg choose={way} is none of: {', '.join((LEARNED, *WAYS))}")
        if way == LEARNED and not taught:
            raise UsageError("--model-arg choose=learned needs train items of VCR; give the folder with train=FOLDER")
        self._prefer = WAYS.get(way, self._learned)

    def choose(self, items: Sequence[Choose]) -> list[list[float]]:
        """Score the choices by their words."""
        return [self._prefer(item) for item in items]

    def _learned(self, item: Choose) -> list[float]:
        from vlbench.data.priors import words

        return [sum(self._odds.get(word, 0.0) for word in sorted(set(words(choice)))) for choice in item.choices]

    @cached_property
    def _odds(self) -> Mapping[str, float]:
        from vlbench.data.priors import word_odds

        return word_odds(self.train.choices)

    def generate(self, items: Sequence[Generate]) -> list[str]:
        """Answer the question, or for a caption return the typical train caption."""
        return [self._prior.answer(item.prompt) if item.prompt else self._caption for item in items]

    @cached_property
    def _prior(self) -> QuestionPrior:
        from vlbench.data.priors import QuestionPrior

        return QuestionPrior.of(self.train.questions)


def overlap(item: Choose) -> list[float]:
    """Score each choice by how many distinct words of the prompt it repeats."""
    from vlbench.data.priors import words

    asked = set(words(item.prompt))
    return [float(len(asked & set(words(choice)))) for choice in item.choices]


def longest(item: Choose) -> list[float]:
    """Score each choice by its number of words."""
    from vlbench.data.priors import words

    return [float(len(words(choice))) for choice in item.choices]


def centroid(item: Choose) -> list[float]:
    """Score each choice by its mean likeness (Jaccard, over words) to the others.

    Wrong choices that are made by changing the right one a little leave it in their middle.
    """
    from vlbench.data.priors import words

    sets = [set(words(choice)) for choice in item.choices]
    others = max(len(sets) - 1, 1)
    return [
        sum(len(own & other) / max(len(own | other), 1) for k, other in enumerate(sets) if k != n) / others
        for n, own in enumerate(sets)
    ]


WAYS: Mapping[str, Callable[[Choose], list[float]]] = {"overlap": overlap, "longest": longest, "centroid": centroid}
