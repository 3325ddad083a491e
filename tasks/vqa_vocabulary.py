"""The shortlist of answers for models that rank instead of generate: frequent *train* answers by question type.

Question types stand only in annotations, so the type of a question under test is taken to be the longest train type
that it starts with. Nothing here ever looks at the answers under test.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from vlbench.data.checks import expect, refuse
from vlbench.data.vqa import read_annotations
from vlbench.errors import DataError
from vlbench.types import content_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from vlbench.data.source import LocalFolder
    from vlbench.data.vqa import Annotation


@dataclass(frozen=True)
class Vocabulary:
    """At most K answers for each question type, most frequent first, and at most K for questions of no known type."""

    by_type: Mapping[str, tuple[str, ...]]
    overall: tuple[str, ...]

    def shortlist(self, question: str) -> tuple[str, ...]:
        """Return the answers for the longest type that the question starts with.

        A type may end inside a word: "is there a" takes "Is there an egg?" too, and "is" takes "Isn't it?".

        >>> Vocabulary({"is": ("red",), "is there a": ("yes", "no")}, ("2",)).shortlist("Is there an egg?")
        ('yes', 'no')
        """
        start = fold(question)[: self._longest]
        for end in range(len(start), 0, -1):
            if start[:end] in self.by_type:
                return self.by_type[start[:end]]
        return self.overall

    @cached_property
    def _longest(self) -> int:
        return max(map(len, self.by_type), default=0)

    @property
    def digest(self) -> str:
        """16 hex digits over all shortlists, for the signature."""
        return content_key(sorted(self.by_type.items()), self.overall)[:16]


def fold(text: str) -> str:
    """Return ``text`` in lower case with single blanks."""
    return " ".join(text.lower().split())


def most_frequent(counts: Counter[str], top: int) -> tuple[str, ...]:
    """Return the ``top`` most frequent answers; equally frequent ones in alphabetical order."""
    return tuple(sorted(counts, key=lambda answer: (-counts[answer], answer))[:top])


def from_annotations(annotations: Iterable[Annotation], top: int) -> Vocabulary:
    """Count the annotators' majority answers (``multiple_choice_answer``)."""
    overall: Counter[str] = Counter()
    by_type: dict[str, Counter[str]] = defaultdict(Counter)
    for annotation in annotations:
        overall[annotation.majority] += 1
        by_type[fold(annotation.question_type)][annotation.majority] += 1
    return Vocabulary(
        {name: most_frequent(counts, top) for name, counts in by_type.items()}, most_frequent(overall, top)
    )


def from_lists(document: Mapping[str, Any], top: int, where: str) -> Vocabulary:
    """Take ``{question_type: [answers]}``, best first.

    The key "" holds the answers for questions of no known type; without it these are the answers that most types list,
    then those listed furthest in front.
    """
    lists: dict[str, tuple[str, ...]] = {}
    for name, answers in document.items():
        given = expect(answers, list, f"{where}: {name!r}")
        if not given or not all(isinstance(answer, str) and answer for answer in given):
            raise DataError(f"{where}: {name!r} is not a list of one or more answers")
        lists[fold(name)] = tuple(dict.fromkeys(given))
    if not lists:
        raise DataError(f"{where} has no question types")
    overall = lists.pop("", None)
    if overall is None:
        places: dict[str, list[int]] = defaultdict(list)
        for values in lists.values():
            for place, answer in enumerate(values):
                places[answer].append(place)
        overall = tuple(sorted(places, key=lambda answer: (-len(places[answer]), min(places[answer]), answer)))
    return Vocabulary({name: values[:top] for name, values in lists.items()}, overall[:top])


def read_vocabulary(folder: LocalFolder, name: str, top: int, under_test: Sequence[str]) -> Vocabulary:
    """Read VQA v2 annotations or ``{question_type: [answers]}``.

    Raises ``DataError`` where the file is neither, or has answers to the questions ``under_test``.
    """
    where = folder.describe(name)
    document = expect(folder.read_json(name), dict, f"{where}: the document")
    if "annotations" not in document:
        return from_lists(document, top, where)
    return train_vocabulary(read_annotations(document, where), top, under_test, where)


def train_vocabulary(annotations: Sequence[Annotation], top: int, under_test: Sequence[str], where: str) -> Vocabulary:
    """Count train answers; raises ``DataError`` where there are answers to the questions ``under_test`` among them."""
    tested = set(under_test)
    seen = [annotation.question_id for annotation in annotations if annotation.question_id in tested]
    refuse(seen, "answers under test cannot make the shortlist; give another vocabulary, questions", where)
    return from_annotations(annotations, top)


def train_file(task: str, folder: LocalFolder, names: Sequence[str]) -> str:
    """Return the first of ``names`` that exists; raises ``DataError`` that offers ``vocabulary=FILE``."""
    found = folder.first(*names)
    if found is None:
        raise DataError(
            f"{task}: a model that does not generate ranks frequent train answers, but {folder.describe(names[0])} is "
            f"missing; add it, or give --task-arg {task}:vocabulary=FILE (VQA v2 annotations, or JSON "
            "{question_type: [answers]})"
        )
    return found
