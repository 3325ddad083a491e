"""What the tasks of open questions about one image share: asking, ranking a shortlist, scoring and averaging."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from vlbench.data.source import LocalFolder
from vlbench.errors import DataError, UsageError
from vlbench.metrics.answer_extraction import EXTRACTIONS
from vlbench.metrics.vqa import mean, means_by
from vlbench.task import Protocol, Task
from vlbench.tasks.arguments import (
    DECODING_HELP,
    LIKELIHOOD_HELP,
    choice,
    choosing,
    decoding,
    integer,
    read_predictions,
    shown_prompt,
    template,
)
from vlbench.tasks.vqa_vocabulary import Vocabulary, read_vocabulary, train_file, train_vocabulary
from vlbench.types import (
    ChoiceScores,
    Choose,
    Dataset,
    Decoding,
    Failure,
    Generate,
    Generated,
    Metric,
    Request,
    Response,
    SampleRow,
    VisualQuestion,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vlbench.data.source import DataRoot
    from vlbench.data.vqa import Annotation

DEFAULT_TOPK = 16


class OpenQuestions(Task[VisualQuestion]):
    """Base of the tasks of open questions.

    Class attributes of a subclass: ``score_names``, the scores of a sample that ``measure`` returns, with ``accuracy``
    among them; ``train_files``, the names under which the train answers may lie, unless ``vocabulary`` takes the
    answers to rank from elsewhere; ``id_key`` and ``answer_key`` of the official results format, and ``integer_ids``
    where its ids are numbers.
    """

    primary_metric = "accuracy"
    score_names: ClassVar[tuple[str, ...]] = ("accuracy",)
    train_files: ClassVar[tuple[str, ...]]
    id_key: ClassVar[str] = "question_id"
    answer_key: ClassVar[str] = "answer"
    integer_ids: ClassVar[bool] = False
    argument_help: ClassVar[Mapping[str, str]] = {
        "answer": "how to answer: auto (generate where the model can), generate or rank",
        "prompt": "prompt for generating, with {question} (default {question})",
        "extract": f"take the short answer out of a chatty one: off (default), or a version: {', '.join(EXTRACTIONS)}",
        "topk": f"answers in the shortlist of a model that ranks (default {DEFAULT_TOPK})",
        "vocabulary": "file with the answers to rank: VQA v2 annotations, or JSON {question_type: [answers]}",
        "template": "text that ranks an answer, with {prompt} and {choice} (default {prompt} {choice})",
        **LIKELIHOOD_HELP,
        **DECODING_HELP,
    }

    def __init__(self, arguments: Mapping[str, str] | None = None) -> None:
        """Read the arguments; raises ``UsageError`` for one that is unknown or out of range."""
        super().__init__(arguments)
        given = self.arguments
        self._way = choice(self.name, given, "answer", ("auto", "generate", "rank"))
        choosing(self.name, given, frozenset({"loglikelihood"}))
        if "likelihood" in given:
            if self._way == "generate":
                raise UsageError(
                    f"--task-arg {self.name}:likelihood ranks answers; it does not go with answer=generate"
                )
            self._way = "rank"
        self._prompt = template(self.name, given, "prompt", "{question}", ("question",))
        self._extract = choice(self.name, given, "extract", ("off", *EXTRACTIONS))
        self._template = template(self.name, given, "template", "{prompt} {choice}", ("prompt", "choice"))
        self._topk = integer(self.name, given, "topk", DEFAULT_TOPK, 1)
        self._decoding = decoding(self.name, given, Decoding(max_new_tokens=10))
        self._ranks = False
        self._vocabulary: Vocabulary | None = None
        # Filled in by whichever of `protocol` and `load` comes last: only the data root tells the vocabulary.
        self._extra: dict[str, str] = {}
        self._loaded: tuple[DataRoot, Dataset[VisualQuestion]] | None = None

    def read(self, folder: LocalFolder, split: str | None, limit: int | None) -> Dataset[VisualQuestion]:
        """Read a split; its samples all have answers, or none has."""
        raise NotImplementedError

    def read_train(self, document: Any, where: str) -> list[Annotation]:
        """Return the train answers of a parsed file, for the shortlists."""
        raise NotImplementedError

    def measure(self, answer: str, sample: VisualQuestion) -> Mapping[str, float]:
        """Return the scores of an answer under ``score_names``, fractions."""
        raise NotImplementedError

    def statistics(self, answer: str) -> Mapping[str, float]:
        """Return what ``aggregate`` needs to know of an answer besides its scores."""
        return {}

    def protocol(self, capabilities: frozenset[str]) -> Protocol:
        """Return ``generate``, with the version of the extraction, or ``rank-topK/<route>``.

        The hash of the vocabulary of a ranking is in ``extra``.
        """
        if "generate" in capabilities and self._way != "rank":
            return Protocol(f"generate{self._extraction}", prompt=shown_prompt(self._prompt, self._decoding))
        way = choosing(self.name, self.arguments, capabilities)
        if way is None or self._way == "generate" or self._extraction:
            only = self._way == "generate" or self._extraction
            needs = "generate" if only else "generate, choose, match, loglikelihood or embeddings"
            raise self.unsupported(capabilities, needs)
        self._ranks = True
        self._complete()
        return Protocol(
            f"rank-top{self._topk}/{way}",
            routes={"choose": way},
            prompt="{question}",
            template=self._template,
            extra=self._extra,
        )

    def predictions_protocol(self) -> Protocol:
        """Return the protocol of predictions, with the version of the extraction."""
        plain = super().predictions_protocol()
        return Protocol(f"{plain.name}{self._extraction}", prompt=plain.prompt)

    @property
    def _extraction(self) -> str:
        return "" if self._extract == "off" else f"/extract-{self._extract}"

    def load(self, root: DataRoot, split: str | None, limit: int | None) -> Dataset[VisualQuestion]:
        """Read questions and answers, and for a model that ranks the shortlists.

        Raises ``DataError`` where there are no train answers to rank.
        """
        dataset = self.read(root.folder(self.dataset), split, limit)
        self._loaded = root, dataset
        self._complete()
        return dataset

    def _complete(self) -> None:
        """Read the vocabulary once it is known that it is needed and where it is."""
        if not self._ranks or self._loaded is None:
            return
        root, dataset = self._loaded
        if "vocabulary" in self.arguments:
            path = Path(self.arguments["vocabulary"])
            tested = [sample.question_id for sample in dataset.samples]
            self._vocabulary = read_vocabulary(LocalFolder(path.parent), path.name, self._topk, tested)
        else:
            self._vocabulary = self.vocabulary(root.folder(self.dataset), dataset, self._topk)
        self._extra["vocabulary"] = self._vocabulary.digest

    def vocabulary(self, folder: LocalFolder, dataset: Dataset[VisualQuestion], top: int) -> Vocabulary:
        """Return the shortlists of ``top`` answers for a model that ranks, where the user gives none: train answers.

        Raises ``DataError`` where there are none, or answers under test are among them.
        """
        name = train_file(self.name, folder, self.train_files)
        where = folder.describe(name)
        tested = [sample.question_id for sample in dataset.samples]
        return train_vocabulary(self.read_train(folder.read_json(name), where), top, tested, where)

    def requests(self, sample: VisualQuestion, protocol: Protocol) -> Sequence[Request]:
        """Ask for an answer, or for scores of the shortlist."""
        if not protocol.routes:
            return [Generate((sample.image,), self._prompt.format(question=sample.question), self._decoding)]
        if self._vocabulary is None:
            raise DataError(f"{self.name}: the shortlist is read by load, which was not called")
        return [Choose((sample.image,), sample.question, self._vocabulary.shortlist(sample.question))]

    def score(self, sample: VisualQuestion, responses: Sequence[Response], protocol: Protocol) -> SampleRow:
        """Score one answer; tied answers of a shortlist count with their mean, as if one were drawn."""
        response = responses[0]
        if isinstance(response, Failure):
            return self._row(sample, "", (), response.reason)
        if isinstance(response, Generated):
            return self._answered(sample, response.text.strip())
        assert isinstance(response, ChoiceScores) and self._vocabulary is not None
        answers = self._vocabulary.shortlist(sample.question)
        highest = max(response.scores)
        best = [a for a, value in zip(answers, response.scores, strict=True) if value == highest]
        return self._row(sample, best[0], best)

    def _answered(self, sample: VisualQuestion, text: str) -> SampleRow:
        if self._extract == "off":
            return self._row(sample, text, (text,))
        answer = EXTRACTIONS[self._extract](text, sample.question)
        row = self._row(sample, text, (answer,))
        return dataclasses.replace(row, statistics={**row.statistics, "answer": answer})

    def _row(self, sample: VisualQuestion, response: str, answers: Sequence[str], reason: str = "") -> SampleRow:
        """Return the row of a sample whose answer is one of ``answers``, each as likely; of none if it failed."""
        names = self.score_names if sample.answers else ()
        measured = [self.measure(answer, sample) for answer in answers] if sample.answers else []
        told = [self.statistics(answer) for answer in answers]
        types = {"answer_type": sample.answer_type, "question_type": sample.question_type, **sample.groups}
        return SampleRow(
            sample_id=sample.question_id,
            image_id=sample.image_id,
            response=response,
            status="failed" if reason else "ok",
            scores={name: sum(scores[name] for scores in measured) / (len(answers) or 1) for name in names},
            slices={kind: name for kind, name in types.items() if name},
            statistics={name: sum(one[name] for one in told) / len(told) for name in (told[0] if told else ())},
            reason=reason,
        )

    def predictions(self, path: Path, dataset: Dataset[VisualQuestion]) -> Mapping[str, str]:
        """Read answers in the official results format, for exactly the questions of the split.

        Raises ``DataError`` where they are others, and for a split without answers to score against.
        """
        if unlabelled(dataset):
            raise DataError(
                f"{self.name}: split {dataset.split} has no answers to score against; choose another --split"
            )
        return read_predictions(path, [sample.question_id for sample in dataset.samples], self.id_key, self.answer_key)

    def score_predictions(self, predictions: Mapping[str, str], dataset: Dataset[VisualQuestion]) -> list[SampleRow]:
        """Score answers by question id."""
        return [self._answered(sample, predictions[sample.question_id]) for sample in dataset.samples]

    def submission(self, rows: Sequence[SampleRow], dataset: Dataset[VisualQuestion]) -> tuple[str, bytes] | None:
        """Return the answers to a split without public ones in the official results format; None for any other."""
        if not unlabelled(dataset):
            return None
        answers = [
            {
                self.id_key: int(row.sample_id) if self.integer_ids and row.sample_id.isdecimal() else row.sample_id,
                self.answer_key: row.statistics.get("answer", row.response),
            }
            for row in rows
        ]
        return f"{self.name}_{dataset.split}.json", json.dumps(answers).encode()

    def aggregate(self, rows: Sequence[SampleRow], dataset: Dataset[VisualQuestion]) -> Mapping[str, Metric]:
        """Average scores (fractions), and accuracies by type; a split without answers has none."""
        if unlabelled(dataset):
            reason = f"split {dataset.split} has no public answers; the evaluation server scores the submission file"
            return {name: Metric(None, reason=reason) for name in self.score_names}
        if not rows:
            return {name: Metric(None, reason="no question was scored") for name in self.score_names}
        kinds = dict.fromkeys(kind for row in rows for kind in row.slices)
        metrics = {name: Metric(mean([row.scores[name] for row in rows])) for name in self.score_names}
        for kind in kinds:
            typed = [row for row in rows if kind in row.slices]
            means = means_by([row.scores["accuracy"] for row in typed], [str(row.slices[kind]) for row in typed])
            metrics |= {f"accuracy/{kind}/{name}": Metric(value) for name, value in sorted(means.items())}
        return metrics

    def notes(self, dataset: Dataset[VisualQuestion], limit: int | None) -> Sequence[str]:
        """Say so where only some questions were asked."""
        if limit is None and not dataset.partial:
            return ()
        asked = f"only {dataset.counts['questions']} questions were asked"
        if unlabelled(dataset):
            return (f"{asked}: the evaluation server takes only a file with all questions of the split",)
        return (f"{asked}: these are not the numbers of the full split",)


def unlabelled(dataset: Dataset[VisualQuestion]) -> bool:
    """Tell whether the split has no answers to score against."""
    return not all(sample.answers for sample in dataset.samples)
