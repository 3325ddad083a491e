"""What can be known of the answers without looking at any picture: statistics of train splits.

Baselines answer from these. Only train splits are read, so nothing here was made of the answers under test.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from vlbench.data.checks import Table
from vlbench.data.coco import FILES as CAPTION_FILES
from vlbench.data.coco import load_coco, train_split
from vlbench.data.source import DataRoot, parse_json
from vlbench.data.vcr import FILES as VCR_FILES
from vlbench.data.vcr import object_labels, read_choices, read_label
from vlbench.data.vqa import FILES as QUESTION_FILES
from vlbench.data.vqa import TRAIN_SPLIT, annotation_files, load_vqa, most_common
from vlbench.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from vlbench.data.source import LocalFolder

FIRST_WORDS = 4
"""Longest beginning of a question, in words, whose answers are counted apart."""


class ChoiceItem(NamedTuple):
    """Choices as text, and the position of the right one."""

    choices: tuple[str, ...]
    label: int


Question = tuple[str, str]
"""A train question and the most frequent answer of its annotators."""


def words(text: str) -> tuple[str, ...]:
    """Return the words of a text in lower case, without marks.

    >>> words("What's [person1] doing?")
    ("what's", 'person1', 'doing')
    """
    return tuple(re.findall(r"[\w']+", text.lower()))


@dataclass(frozen=True)
class TrainSplits:
    """The train splits of COCO Captions, VQA v2 and VCR under one data root, each read when it is needed."""

    root: DataRoot
    name: str = ""

    @classmethod
    def open(cls, folder: Path | None) -> TrainSplits:
        """Open a data root, or the bundled scenes for None; raises ``DataError`` where it has no train split."""
        if folder is None:
            from vlbench.data.scenes.cache import ensure

            return cls(DataRoot(ensure()), "scenes-train")
        if not folder.is_dir():
            raise DataError(f"train={folder} is not a folder; it takes one with the train splits of coco, vqa or vcr")
        splits = cls(DataRoot(folder))
        if not splits.files:
            raise DataError(f"train={folder} has no train split of coco, vqa or vcr; give the folder that holds one")
        return splits

    @property
    def files(self) -> Mapping[str, tuple[LocalFolder, tuple[str, ...]]]:
        """The files that are read, by dataset and split."""
        coco, vqa, vcr = (self.root.folder(dataset) for dataset in ("coco", "vqa", "vcr"))
        split = train_split(coco)
        captions = coco.first(*CAPTION_FILES[split]) if split else None
        asked = vqa.first(*QUESTION_FILES[TRAIN_SPLIT]), vqa.first(*annotation_files(TRAIN_SPLIT))
        items = vcr.first(*VCR_FILES["train"])
        found: dict[str, tuple[LocalFolder, tuple[str, ...]]] = {}
        if captions:
            found[f"coco:{split}"] = coco, (captions,)
        if asked[0] and asked[1]:
            found[f"vqa:{TRAIN_SPLIT}"] = vqa, (asked[0], asked[1])
        if items:
            found["vcr:train"] = vcr, (items,)
        return found

    @property
    def trained_on(self) -> tuple[str, ...]:
        """Names of the train splits, as results show them."""
        return (self.name,) if self.name else tuple(self.files)

    def digests(self) -> list[str]:
        """Return the SHA-256 hex digests of all files."""
        return [folder.digest(name) for folder, names in self.files.values() for name in names]

    @cached_property
    def captions(self) -> tuple[str, ...]:
        """All train captions; raises ``DataError`` where there are none."""
        folder = self.root.folder("coco")
        split = train_split(folder)
        if split is None:
            raise DataError(f"{folder.path} has no train captions of COCO, from which a baseline makes its caption")
        return tuple(caption.text.strip() for image in load_coco(folder, split).samples for caption in image.captions)

    @cached_property
    def questions(self) -> tuple[Question, ...]:
        """All train questions with their answers; raises ``DataError`` where there are none."""
        asked = load_vqa(self.root.folder("vqa"), TRAIN_SPLIT).samples
        return tuple((sample.question, most_common(sample.answers)) for sample in asked)

    @cached_property
    def choices(self) -> tuple[ChoiceItem, ...]:
        """The texts and the right one of each train question of VCR and of each rationale; none where it is absent."""
        folder, names = self.files.get("vcr:train", (None, ()))
        if folder is None:
            return ()
        where = folder.describe(names[0])
        lines = folder.read(names[0]).splitlines()
        table = Table([parse_json(line, f"{where} line {n}") for n, line in enumerate(lines, 1) if line.strip()], where)
        return tuple(_choice_item(table, n, kind) for kind in ("answer", "rationale") for n in range(len(table)))


def _choice_item(table: Table, index: int, kind: str) -> ChoiceItem:
    labels = object_labels(table.get(index, "objects", list))
    texts = read_choices(table, index, f"{kind}_choices", labels)
    return ChoiceItem(texts, read_label(table, index, f"{kind}_label", texts))


def positions(items: Iterable[ChoiceItem]) -> Mapping[int, Counter[int]]:
    """Return how often each position holds the right one of so many choices."""
    counts: dict[int, Counter[int]] = defaultdict(Counter)
    for item in items:
        counts[len(item.choices)][item.label] += 1
    return counts


def word_odds(items: Iterable[ChoiceItem]) -> Mapping[str, float]:
    """Return for each word how much likelier right choices have it than wrong ones, as a logarithm.

    Each word counts once a choice, and the wrong choices of an item together as one; one is added to both counts.
    """
    right: Counter[str] = Counter()
    wrong: dict[str, float] = defaultdict(float)
    for item in items:
        for position, choice in enumerate(item.choices):
            for word in set(words(choice)):
                if position == item.label:
                    right[word] += 1
                else:
                    wrong[word] += 1 / (len(item.choices) - 1)
    return {word: math.log((right[word] + 1) / (wrong.get(word, 0.0) + 1)) for word in {*right, *wrong}}


def most_frequent(counts: Counter[str]) -> str:
    """Return the most frequent text, of equally frequent ones the first in the alphabet."""
    return min(counts, key=lambda text: (-counts[text], text))


def typical_caption(captions: Iterable[str]) -> str:
    """Return the caption of median length whose neighbouring words are the most usual ones.

    A pair of words weighs as many captions as it occurs in; a caption has the mean over its pairs. Of equal captions
    the first in the alphabet.

    >>> typical_caption(["a red dog", "a red cat", "a blue cat", "snow"])
    'a red cat'
    """
    texts = {text: words(text) for text in captions}
    pairs = {text: set(zip(found, found[1:], strict=False)) for text, found in texts.items()}
    usual = Counter(pair for found in pairs.values() for pair in found)
    median = sorted(len(found) for found in texts.values())[(len(texts) - 1) // 2]

    def rank(text: str) -> tuple[float, str]:
        return -sum(usual[pair] for pair in pairs[text]) / max(len(pairs[text]), 1), text

    return min((text for text, found in texts.items() if len(found) == median), key=rank)


@dataclass(frozen=True)
class QuestionPrior:
    """The most frequent train answer of each question, of each beginning of one, and of all (under the empty one)."""

    by_question: Mapping[tuple[str, ...], str]
    by_beginning: Mapping[tuple[str, ...], str]

    @classmethod
    def of(cls, questions: Sequence[Question]) -> QuestionPrior:
        """Count the answers."""
        whole: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
        begun: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
        for question, answer in questions:
            found = words(question)
            whole[found][answer] += 1
            for end in range(min(FIRST_WORDS, len(found)) + 1):
                begun[found[:end]][answer] += 1
        tables = ({key: most_frequent(counts) for key, counts in table.items()} for table in (whole, begun))
        return cls(*tables)

    def answer(self, question: str) -> str:
        """Return the answer to the very same question, else to those with as many equal first words as there are.

        >>> prior = QuestionPrior.of([("Is it red?", "yes"), ("Is it blue?", "no"), ("Is it old?", "no")])
        >>> prior.answer("is it red"), prior.answer("Is it green?"), prior.answer("Why?")
        ('yes', 'no', 'no')
        """
        found = words(question)
        if found in self.by_question:
            return self.by_question[found]
        beginnings = (found[:end] for end in range(min(FIRST_WORDS, len(found)), -1, -1))
        return next(self.by_beginning[start] for start in beginnings if start in self.by_beginning)
