"""Visual question answering on VQA v2 by the official accuracy: generated answers, or a ranked shortlist."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from vlbench.capabilities import route
from vlbench.data.source import LocalFolder
from vlbench.data.vqa import load_vqa
from vlbench.errors import DataError
from vlbench.metrics.vqa import aggregate as aggregate_accuracies
from vlbench.metrics.vqa import vqa_accuracy
from vlbench.task import Protocol, Task
from vlbench.tasks.arguments import DECODING_HELP, choice, decoding, integer, read_predictions, shown_prompt, template
from vlbench.tasks.vqa_vocabulary import Vocabulary, read_vocabulary, train_annotations
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

DEFAULT_TOPK = 16


class Vqa(Task[VisualQuestion]):
    """Answer open questions; official accuracy overall, by answer type and by question type."""

    name = "vqa"
    dataset = "vqa"
    primary_metric = "accuracy"
    argument_help: ClassVar[Mapping[str, str]] = {
        "answer": "how to answer: auto (generate where the model can), generate or rank",
        "prompt": "prompt for generating, with {question} (default {question})",
        "topk": f"answers in the shortlist of a model that ranks (default {DEFAULT_TOPK})",
        "vocabulary": "file with the answers to rank: VQA v2 annotations, or JSON {question_type: [answers]}",
        "template": "text that ranks an answer, with {prompt} and {choice} (default {prompt} {choice})",
        **DECODING_HELP,
    }

    def __init__(self, arguments: Mapping[str, str] | None = None) -> None:
        """Read the arguments; raises ``UsageError`` for one that is unknown or out of range."""
        super().__init__(arguments)
        given = self.arguments
        self._way = choice(self.name, given, "answer", ("auto", "generate", "rank"))
        self._prompt = template(self.name, given, "prompt", "{question}", ("question",))
        self._template = template(self.name, given, "template", "{prompt} {choice}", ("prompt", "choice"))
        self._topk = integer(self.name, given, "topk", DEFAULT_TOPK, 1)
        self._decoding = decoding(self.name, given, Decoding(max_new_tokens=10))
        self._ranks = False
        self._vocabulary: Vocabulary | None = None
        # Filled in by whichever of `protocol` and `load` comes last: only the data root tells the vocabulary.
        self._extra: dict[str, str] = {}
        self._loaded: tuple[DataRoot, Dataset[VisualQuestion]] | None = None

    def protocol(self, capabilities: frozenset[str]) -> Protocol:
        """Return ``generate``, or ``rank-topK/<route>`` with the hash of the vocabulary in ``extra``."""
        if "generate" in capabilities and self._way != "rank":
            return Protocol("generate", prompt=shown_prompt(self._prompt, self._decoding))
        way = route("choose", capabilities)
        if way is None or self._way == "generate":
            needs = "generate" if self._way == "generate" else "generate, choose, match, loglikelihood or embeddings"
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

    def load(self, root: DataRoot, split: str | None, limit: int | None) -> Dataset[VisualQuestion]:
        """Read questions and answers, and for a model that ranks the shortlists.

        Raises ``DataError`` for a split without answers, and where there are no train answers to rank.
        """
        dataset = load_vqa(root.folder(self.dataset), split, limit)
        if not all(sample.answers for sample in dataset.samples):
            raise DataError(
                f"{self.name}: split {dataset.split} has no answers to score against; choose another --split"
            )
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
            folder, name = LocalFolder(path.parent), path.name
        else:
            folder = root.folder(self.dataset)
            name = train_annotations(folder)
        tested = [sample.question_id for sample in dataset.samples]
        self._vocabulary = read_vocabulary(folder, name, self._topk, tested)
        self._extra["vocabulary"] = self._vocabulary.digest

    def requests(self, sample: VisualQuestion, protocol: Protocol) -> Sequence[Request]:
        """Ask for an answer, or for scores of the shortlist."""
        if protocol.name == "generate":
            return [Generate((sample.image,), self._prompt.format(question=sample.question), self._decoding)]
        if self._vocabulary is None:
            raise DataError(f"{self.name}: the shortlist is read by load, which was not called")
        return [Choose((sample.image,), sample.question, self._vocabulary.shortlist(sample.question))]

    def score(self, sample: VisualQuestion, responses: Sequence[Response], protocol: Protocol) -> SampleRow:
        """Score one answer; tied answers of a shortlist count with their mean, as if one were drawn."""
        response = responses[0]
        if isinstance(response, Failure):
            return _row(sample, "", 0.0, response.reason)
        if isinstance(response, Generated):
            text = response.text.strip()
            return _row(sample, text, vqa_accuracy(text, sample.answers))
        assert isinstance(response, ChoiceScores) and self._vocabulary is not None
        answers = self._vocabulary.shortlist(sample.question)
        highest = max(response.scores)
        best = [a for a, value in zip(answers, response.scores, strict=True) if value == highest]
        return _row(sample, best[0], sum(vqa_accuracy(answer, sample.answers) for answer in best) / len(best))

    def predictions(self, path: Path, dataset: Dataset[VisualQuestion]) -> Mapping[str, str]:
        """Read ``[{"question_id": …, "answer": …}]`` with exactly the questions of the split."""
        return read_predictions(path, [sample.question_id for sample in dataset.samples], "question_id", "answer")

    def score_predictions(self, predictions: Mapping[str, str], dataset: Dataset[VisualQuestion]) -> list[SampleRow]:
        """Score answers by question id."""
        return [
            _row(sample, answer, vqa_accuracy(answer, sample.answers))
            for sample in dataset.samples
            for answer in (predictions[sample.question_id],)
        ]

    def aggregate(self, rows: Sequence[SampleRow], dataset: Dataset[VisualQuestion]) -> Mapping[str, Metric]:
        """Average accuracies (fractions) overall and by type."""
        scores = aggregate_accuracies(
            [row.scores["accuracy"] for row in rows],
            [str(row.slices["answer_type"]) for row in rows],
            [str(row.slices["question_type"]) for row in rows],
        )
        metrics = {"accuracy": Metric(scores.overall, reason="no question was scored" if not rows else None)}
        for kind, means in (("answer_type", scores.per_answer_type), ("question_type", scores.per_question_type)):
            metrics |= {f"accuracy/{kind}/{name}": Metric(value) for name, value in sorted(means.items())}
        return metrics

    def notes(self, dataset: Dataset[VisualQuestion], limit: int | None) -> Sequence[str]:
        """Say so where only some questions were asked."""
        if limit is None and not dataset.partial:
            return ()
        return (
            f"only {dataset.counts['questions']} questions were asked: these are not the numbers of the full split",
        )


def _row(sample: VisualQuestion, answer: str, accuracy: float, reason: str = "") -> SampleRow:
    return SampleRow(
        sample_id=sample.question_id,
        image_id=sample.image_id,
        response=answer,
        status="failed" if reason else "ok",
        scores={"accuracy": accuracy},
        slices={"answer_type": sample.answer_type, "question_type": sample.question_type},
        reason=reason,
    )
