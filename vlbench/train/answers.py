"""Answering by choosing among the answers of the training questions: the vocabulary, its soft targets, its head."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import torch

from vlbench.errors import UsageError
from vlbench.metrics.vqa import normalize_answer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from vlbench.models.model import VisionLanguageModel
    from vlbench.train.examples import Example

HEADS = ("generate", "classify")
"""How a model that is fine-tuned for questions answers: word by word, or with one answer of its vocabulary."""
ENOUGH = 3
"""Annotators who make an answer fully right (Antol et al. 2015)."""


class AnswerVocabulary(NamedTuple):
    """``answers``, most frequent first, and what was counted: ``unanswered`` of ``questions`` have none of them."""

    answers: tuple[str, ...]
    questions: int
    unanswered: int
    given: int
    outside: int

    def __str__(self) -> str:
        """Say what lies outside."""
        return (
            f"{len(self.answers)} answers to choose among; outside of them are {self.outside} of {self.given} answers "
            f"of annotators, and all answers to {self.unanswered} of {self.questions} questions, which teach nothing"
        )


def learn_answers(examples: Iterable[Example], least: int) -> AnswerVocabulary:
    """Return the answers that were the most given one to at least ``least`` questions, each in its usual spelling.

    Spellings that the official normalisation makes equal are one answer. Raises ``UsageError`` where there is none.
    """
    spellings: dict[str, Counter[str]] = {}
    all_given: list[dict[str, float]] = []
    given: Counter[str] = Counter()
    for example in examples:
        for asked in example.questions:
            spellings.setdefault(normalize_answer(asked.answer), Counter())[asked.answer] += 1
            all_given.append(soft_targets(asked.answers))
            given.update(map(normalize_answer, asked.answers))
    counts = {key: counter.total() for key, counter in spellings.items() if counter.total() >= least}
    if not counts:
        raise UsageError(f"no answer is the most given one to {least} training questions; lower min_answer_count")
    known = sorted(counts, key=lambda key: (-counts[key], key))
    usual = tuple(min(spellings[key], key=lambda text: (-spellings[key][text], text)) for key in known)
    return AnswerVocabulary(
        usual,
        len(all_given),
        sum(not counts.keys() & targets.keys() for targets in all_given),
        given.total(),
        sum(count for key, count in given.items() if key not in counts),
    )


def soft_targets(answers: Sequence[str]) -> dict[str, float]:
    """Return the accuracy min(n / 3, 1) of each answer that n annotators gave, by its normalised form.

    It is the measure of Antol et al. 2015 (section 3) as a target (Teney et al. 2018), without the mean over nine of
    ten annotators that the official scorer takes.

    >>> soft_targets(["Red", "red.", "a red", "dark red"])
    {'red': 1.0, 'dark red': 0.3333333333333333}
    """
    counts = Counter(map(normalize_answer, answers))
    return {answer: min(count / ENOUGH, 1.0) for answer, count in counts.items()}


def places_of(answers: Sequence[str]) -> Mapping[str, int]:
    """Return the number of each answer of a vocabulary by its normalised form."""
    return {normalize_answer(answer): number for number, answer in enumerate(answers)}


def give_answers(model: VisionLanguageModel, answers: tuple[str, ...], seed: int) -> None:
    """Let ``model`` choose among ``answers``, in place: those it had keep their weights, new ones get random ones."""
    old, known = model.answer_head, places_of(model.config.answers)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model.config = dataclasses.replace(model.config, answers=answers)
        model.answer_head = model.new_answer_head()
    if old is None:
        return
    model.answer_head[0].load_state_dict(old[0].state_dict())
    kept = [(new, known[key]) for key, new in places_of(answers).items() if key in known]
    places = torch.tensor(kept, dtype=torch.long).reshape(-1, 2)
    with torch.no_grad():
        for name in ("weight", "bias"):
            getattr(model.answer_head[-1], name)[places[:, 0]] = getattr(old[-1], name)[places[:, 1]]


def take_answers(model: VisionLanguageModel) -> None:
    """Let ``model`` write its answers again, in place; its answering head is lost."""
    kept = tuple(name for name in model.config.objectives if name != "answer")
    model.config = dataclasses.replace(model.config, answers=(), objectives=kept)
    model.answer_head = None
