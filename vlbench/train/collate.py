"""From examples to the tensors of one step.

All randomness is keyed by (seed, step, example), so that a resumed run, another number of workers or another number of
ranks makes the very same batches.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from vlbench.models.batch import pad
from vlbench.models.tokenizer import EOS, MASK, SPECIAL, Tokens, pair, prompted, single
from vlbench.train.answers import places_of, soft_targets
from vlbench.train.objectives import IGNORED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vlbench.models.config import ModelConfig
    from vlbench.models.tokenizer import TextTokenizer
    from vlbench.train.examples import AskedQuestion, Example, Source
    from vlbench.train.recipe import Recipe
    from vlbench.train.teacher import Teacher


class Draw(NamedTuple):
    """One example of one step, at its place in the batch of all ranks, with the random numbers that belong to it.

    ``number`` is that of the example in the source.
    """

    step: int
    place: int
    number: int
    example: Example
    rng: np.random.Generator


class Draws(torch.utils.data.Dataset[Draw]):
    """The examples of all steps in order: draw i belongs to step i // batch size."""

    def __init__(self, source: Source, recipe: Recipe) -> None:
        """Shuffle ``source`` anew for each pass over it."""
        self._source = source
        self._recipe = recipe
        self._order: tuple[int, np.ndarray] = (-1, np.empty(0))

    def __len__(self) -> int:
        """Return steps times batch size."""
        return self._recipe.steps * self._recipe.batch_size

    def __getitem__(self, draw: int) -> Draw:
        """Return draw number ``draw``."""
        step, in_batch = divmod(draw, self._recipe.batch_size)
        number, place = divmod(draw, len(self._source))
        if self._order[0] != number:
            shuffled = np.random.default_rng([self._recipe.seed, number]).permutation(len(self._source))
            self._order = (number, shuffled)
        index = int(self._order[1][place])
        return Draw(
            step, in_batch, index, self._source.example(index), np.random.default_rng([self._recipe.seed, step, index])
        )


@dataclass(frozen=True)
class Collator:
    """Makes the batch of a step: what its objectives need, and nothing else."""

    texts: TextTokenizer
    config: ModelConfig
    recipe: Recipe
    teacher: Teacher | None = None

    def __call__(self, draws: Sequence[Draw]) -> dict[str, Any]:
        """Return ``{"batch": …}`` with tensors by name; see ``TrainingModel`` for what each is."""
        active = self.recipe.active(draws[0].step)
        side = self.config.image_size
        batch: dict[str, Any] = {
            "pixels": torch.from_numpy(np.stack([draw.example.pixels(side) for draw in draws])),
            "uniform": torch.from_numpy(np.stack([draw.rng.random(2) for draw in draws])).float(),
            "active": active,
        }
        if {"itc", "itm", "distill"} & set(active):
            batch |= self._captions(draws)
        if "mlm" in active:
            batch |= self._masked(draws)
        if "caption" in active:
            written = [(n, "", _pick(d.rng, d.example.captions)) for n, d in enumerate(draws) if d.example.captions]
            batch |= self._written("caption", written)
        if "vqa" in active:
            batch |= self._written("vqa", [(n, q.question, q.answer) for n, q in self._asked(draws)])
        if "tag" in active:
            batch |= self._tags(draws)
        if "vcr" in active:
            batch |= self._choices(draws)
        if "answer" in active:
            batch |= self._classified(draws)
        return {"batch": batch}

    def _captions(self, draws: Sequence[Draw]) -> dict[str, Any]:
        texts = [(n, _pick(d.rng, d.example.captions)) for n, d in enumerate(draws) if d.example.captions]
        groups = [int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big") for _, text in texts]
        limit = self.config.max_length
        padded = pad([single(self.texts.encode(text), limit) for _, text in texts])
        taught = {}
        if self.teacher is not None:
            taught["teacher_images"] = self.teacher.images(draws)[[n for n, _ in texts]]
            # A share of a batch without captions still has the teacher's width.
            taught["teacher_texts"] = self.teacher.texts([text for _, text in texts] or ["image"])[: len(texts)]
        return taught | {
            "text_ids": padded.ids,
            "text_lengths": padded.lengths,
            "text_groups": torch.tensor(groups, dtype=torch.long),
            "text_image": torch.tensor([n for n, _ in texts], dtype=torch.long),
        }

    def _masked(self, draws: Sequence[Draw]) -> dict[str, Any]:
        rows: list[Tokens] = []
        labels: list[list[int]] = []
        owners: list[int] = []
        for n, draw in enumerate(draws):
            if not draw.example.captions:
                continue
            text = single(self.texts.encode(_pick(draw.rng, draw.example.captions)), self.config.max_length)
            ids, wanted = mask_tokens(text.ids, self.recipe.mask_fraction, len(self.texts), draw.rng)
            rows.append(Tokens(tuple(ids), text.boxes))
            labels.append(wanted)
            owners.append(n)
        padded = pad(rows)
        return {
            "mlm_ids": padded.ids,
            "mlm_lengths": padded.lengths,
            "mlm_labels": _label_tensor(labels, padded.ids.shape[1]),
            "mlm_image": torch.tensor(owners, dtype=torch.long),
        }

    def _asked(self, draws: Sequence[Draw]) -> list[tuple[int, AskedQuestion]]:
        asked = []
        for n, draw in enumerate(draws):
            questions = draw.example.questions
            count = min(len(questions), self.recipe.questions_per_image)
            for k in draw.rng.permutation(len(questions))[:count].tolist():
                asked.append((n, questions[k]))
        return asked

    def _classified(self, draws: Sequence[Draw]) -> dict[str, Any]:
        """Questions with the soft targets of the vocabulary's answers; those without any such answer are left out."""
        places = places_of(self.config.answers)
        rows: list[Tokens] = []
        owners: list[int] = []
        targets: list[dict[int, float]] = []
        for n, asked in self._asked(draws):
            found = {places[answer]: score for answer, score in soft_targets(asked.answers).items() if answer in places}
            if found:
                rows.append(single(self.texts.encode(asked.question), self.config.max_length))
                owners.append(n)
                targets.append(found)
        padded = pad(rows)
        scores = torch.zeros(len(rows), len(places))
        for row, found in enumerate(targets):
            scores[row, list(found)] = torch.tensor(list(found.values()))
        return {
            "answer_ids": padded.ids,
            "answer_lengths": padded.lengths,
            "answer_image": torch.tensor(owners, dtype=torch.long),
            "answer_targets": scores,
        }

    def _written(self, name: str, texts: Sequence[tuple[int, str, str]]) -> dict[str, Any]:
        """Prompts with what is to be written after them: (number of the image, prompt, text)."""
        limit = self.config.max_length
        rows: list[Tokens] = []
        labels: list[list[int]] = []
        prefixes: list[int] = []
        for _, prompt, text in texts:
            head = prompted(self.texts.encode(prompt), limit // 2)
            tail = self.texts.encode(text)
            ids = (*tail.ids, EOS)[: limit - len(head.ids)]
            rows.append(head + Tokens(ids, tail.boxes[:1] * len(ids)))
            # The hidden state at one place predicts the token at the next.
            labels.append([IGNORED] * (len(head.ids) - 1) + list(ids))
            prefixes.append(len(head.ids))
        padded = pad(rows)
        return {
            f"{name}_ids": padded.ids,
            f"{name}_prefixes": torch.tensor(prefixes, dtype=torch.long),
            f"{name}_labels": _label_tensor(labels, padded.ids.shape[1]),
            f"{name}_image": torch.tensor([n for n, _, _ in texts], dtype=torch.long),
        }

    def _tags(self, draws: Sequence[Draw]) -> dict[str, Any]:
        """Which tags are true of each image; of one without captions nothing is known, not even what is not there."""
        places = {tag: k for k, tag in enumerate(self.config.tags)}
        owners = [n for n, draw in enumerate(draws) if draw.example.captions]
        present = torch.zeros(len(owners), len(places))
        for row, n in enumerate(owners):
            present[row, [places[tag] for tag in draws[n].example.tags if tag in places]] = 1.0
        return {"tags": present, "tags_image": torch.tensor(owners, dtype=torch.long)}

    def _choices(self, draws: Sequence[Draw]) -> dict[str, Any]:
        """One item each of as many images of the batch as the recipe says.

        The place in the batch decides which, spread evenly, so that ranks have like shares and together the same items.
        """
        limit = self.config.max_length
        rows: list[Tokens] = []
        owners: list[int] = []
        labels: list[int] = []
        counts: list[int] = []
        wanted, size = self.recipe.items_per_step, self.recipe.batch_size
        for n, draw in enumerate(draws):
            if not draw.example.items or (draw.place + 1) * wanted // size == draw.place * wanted // size:
                continue
            example = draw.example
            item = example.items[int(draw.rng.integers(len(example.items)))]
            prompt = self.texts.encode(item.prompt, example.regions, example.size)
            for choice in item.choices:
                rows.append(pair(prompt, self.texts.encode(choice, example.regions, example.size), limit))
                owners.append(n)
            labels.append(item.label)
            counts.append(len(item.choices))
        padded = pad(rows)
        return {
            "vcr_ids": padded.ids,
            "vcr_lengths": padded.lengths,
            "vcr_boxes": padded.boxes,
            "vcr_image": torch.tensor(owners, dtype=torch.long),
            "vcr_labels": torch.tensor(labels, dtype=torch.long),
            "vcr_counts": torch.tensor(counts, dtype=torch.long),
        }


def mask_tokens(
    ids: Sequence[int], fraction: float, vocabulary: int, rng: np.random.Generator
) -> tuple[list[int], list[int]]:
    """Mask tokens as BERT does (Devlin et al. 2019, section 3.1): of the chosen 80 % [MASK], 10 % random, 10 % kept.

    Returns the new ids and the labels, ``IGNORED`` where nothing is asked. Special tokens are never chosen; of the
    others one at least.
    """
    places = [k for k, token in enumerate(ids) if token >= len(SPECIAL)]
    changed, labels = list(ids), [IGNORED] * len(ids)
    count = min(len(places), max(1, round(fraction * len(places))))
    for k in rng.permutation(len(places))[:count].tolist():
        place = places[k]
        labels[place] = changed[place]
        fate = rng.random()
        if fate < 0.8:
            changed[place] = MASK
        elif fate < 0.9:
            changed[place] = int(rng.integers(len(SPECIAL), vocabulary))
    return changed, labels


def _label_tensor(labels: Sequence[Sequence[int]], length: int) -> torch.Tensor:
    tensor = torch.full((len(labels), length), IGNORED, dtype=torch.long)
    for row, values in enumerate(labels):
        tensor[row, : len(values)] = torch.tensor(values, dtype=torch.long)
    return tensor


def _pick(rng: np.random.Generator, values: Sequence[str]) -> str:
    return values[int(rng.integers(len(values)))]
