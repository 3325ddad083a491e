"""Questions on Visual Genome: open ones, and probes of attributes and relations made from its scene graphs."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, ClassVar

from vlbench import letters
from vlbench.capabilities import route
from vlbench.data.scene_graphs import load_attribute_probes, load_relation_probes
from vlbench.data.visual_genome import load_questions
from vlbench.errors import DataError
from vlbench.metrics.vqa import aggregate as aggregate_accuracies
from vlbench.metrics.vqa import normalize_answer
from vlbench.task import Protocol, Task
from vlbench.tasks.arguments import DECODING_HELP, choice, decoding, integer, read_predictions, shown_prompt, template
from vlbench.tasks.genome_retrieval import DEFAULT_PER_IMAGE, PER_IMAGE_HELP
from vlbench.tasks.vcr import credit
from vlbench.tasks.vqa_vocabulary import Vocabulary, most_frequent
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
    content_key,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from vlbench.data.scene_graphs import Probe
    from vlbench.data.source import DataRoot

DEFAULT_TOPK = 16
PROMPT = "Which statement is true of the picture?"


class VgQa(Task[VisualQuestion]):
    """Answer open questions; exact match after the VQA normalisation, by the first word of the question."""

    name = "vg_qa"
    dataset = "visual_genome"
    primary_metric = "accuracy"
    argument_help: ClassVar[Mapping[str, str]] = {
        "answer": "how to answer: auto (generate where the model can), generate or rank",
        "prompt": "prompt for generating, with {question} (default {question})",
        "topk": f"answers in the shortlist of a model that ranks (default {DEFAULT_TOPK})",
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
        # Filled in by `load`: only the data tell the vocabulary.
        self._extra: dict[str, str] = {}

    def protocol(self, capabilities: frozenset[str]) -> Protocol:
        """Return ``generate``, or ``rank-topK/<route>`` with the hash of the vocabulary in ``extra``."""
        if "generate" in capabilities and self._way != "rank":
            return Protocol("generate", prompt=shown_prompt(self._prompt, self._decoding))
        way = route("choose", capabilities)
        if way is None or self._way == "generate":
            needs = "generate" if self._way == "generate" else "generate, choose, match, loglikelihood or embeddings"
            raise self.unsupported(capabilities, needs)
        self._ranks = True
        routes = {"choose": way}
        return Protocol(
            f"rank-top{self._topk}/{way}", routes, prompt="{question}", template=self._template, extra=self._extra
        )

    def load(self, root: DataRoot, split: str | None, limit: int | None) -> Dataset[VisualQuestion]:
        """Read the questions, and for a model that ranks the frequent answers to those of all other images.

        Raises ``DataError`` where there is no other image to take answers from.
        """
        elsewhere: Counter[tuple[str, str]] | None = Counter() if self._ranks else None
        dataset = load_questions(root.folder(self.dataset), split, limit, elsewhere)
        if elsewhere is not None:
            if not elsewhere:
                raise DataError(
                    f"{self.name}: a model that does not generate ranks frequent answers of images outside the split, "
                    f"and split {dataset.split} leaves none; choose another --split"
                )
            self._vocabulary = _vocabulary(elsewhere, self._topk)
            self._extra["vocabulary"] = self._vocabulary.digest
        return dataset

    def requests(self, sample: VisualQuestion, protocol: Protocol) -> Sequence[Request]:
        """Ask for an answer, or for scores of the shortlist."""
        if protocol.name == "generate":
            return [Generate((sample.image,), self._prompt.format(question=sample.question), self._decoding)]
        if self._vocabulary is None:
            raise DataError(f"{self.name}: the shortlist is made by load, which was not called")
        return [Choose((sample.image,), sample.question, self._vocabulary.shortlist(sample.question))]

    def score(self, sample: VisualQuestion, responses: Sequence[Response], protocol: Protocol) -> SampleRow:
        """Score one answer; tied answers of a shortlist count with their mean, as if one were drawn."""
        response = responses[0]
        if isinstance(response, Failure):
            return _answered(sample, "", 0.0, response.reason)
        if isinstance(response, Generated):
            text = response.text.strip()
            return _answered(sample, text, exact_match(text, sample.answers[0]))
        assert isinstance(response, ChoiceScores) and self._vocabulary is not None
        answers = self._vocabulary.shortlist(sample.question)
        highest = max(response.scores)
        best = [a for a, value in zip(answers, response.scores, strict=True) if value == highest]
        return _answered(sample, best[0], sum(exact_match(a, sample.answers[0]) for a in best) / len(best))

    def predictions(self, path: Path, dataset: Dataset[VisualQuestion]) -> Mapping[str, str]:
        """Read ``[{"qa_id": …, "answer": …}]`` with exactly the questions of the split."""
        return read_predictions(path, [sample.question_id for sample in dataset.samples], "qa_id", "answer")

    def score_predictions(self, predictions: Mapping[str, str], dataset: Dataset[VisualQuestion]) -> list[SampleRow]:
        """Score answers by question id."""
        given = ((sample, predictions[sample.question_id]) for sample in dataset.samples)
        return [_answered(sample, answer, exact_match(answer, sample.answers[0])) for sample, answer in given]

    def aggregate(self, rows: Sequence[SampleRow], dataset: Dataset[VisualQuestion]) -> Mapping[str, Metric]:
        """Average (fractions) overall and by the first word of the question."""
        return _accuracies(rows, "question_type")

    def notes(self, dataset: Dataset[VisualQuestion], limit: int | None) -> Sequence[str]:
        """Say so where only some questions were asked."""
        return _few(dataset, limit, "questions")


def exact_match(prediction: str, answer: str) -> float:
    """Return 1.0 where prediction and answer are equal after the VQA normalisation, else 0.0.

    An answer of which the normalisation leaves nothing (the letter "A") has to be given as it stands, capitals apart.

    >>> exact_match("two dogs", "Two dogs."), exact_match("", "A"), exact_match("a", "A")
    (1.0, 0.0, 1.0)
    """
    wanted = normalize_answer(answer)
    if not wanted:
        return float(prediction.strip().lower() == answer.strip().lower())
    return float(normalize_answer(prediction) == wanted)


def _vocabulary(counts: Counter[tuple[str, str]], top: int) -> Vocabulary:
    """Return the most frequent normalised answers by the first word of the question."""
    overall: Counter[str] = Counter()
    by_type: dict[str, Counter[str]] = {}
    for (kind, answer), count in counts.items():
        plain = normalize_answer(answer)
        if plain:
            overall[plain] += count
            by_type.setdefault(kind, Counter())[plain] += count
    return Vocabulary(
        {kind: most_frequent(own, top) for kind, own in by_type.items() if kind}, most_frequent(overall, top)
    )


class Probing(Task["Probe"]):
    """Base of the probes: which of two statements is true of the picture; chance is one half."""

    dataset = "visual_genome"
    primary_metric = "accuracy"
    argument_help: ClassVar[Mapping[str, str]] = {
        "per_image": PER_IMAGE_HELP,
        "prompt": f"question for models that choose or rate by likelihood (default {PROMPT})",
        "template": "text that is matched with the picture, with {choice} (default {choice})",
    }

    def __init__(self, arguments: Mapping[str, str] | None = None) -> None:
        """Read the arguments; raises ``UsageError`` for one that is unknown or out of range."""
        super().__init__(arguments)
        self._per_image = integer(self.name, self.arguments, "per_image", DEFAULT_PER_IMAGE, 0)
        self._prompt = self.arguments.get("prompt", PROMPT)
        # Options to choose from by letter stand under the question; statements to match stand alone.
        fields = ("prompt", "choice") if "{choices}" in self.arguments.get("template", "") else ("choice",)
        self._template = template(self.name, self.arguments, "template", "{choice}", fields)

    def protocol(self, capabilities: frozenset[str]) -> Protocol:
        """Return ``choose``, or ``choose/<route>``; a model that matches natively is asked to match.

        To match a statement with a picture is the task itself; what ``choose`` was trained for is another question.
        """
        way = "match" if "match" in capabilities else route("choose", capabilities)
        if way is None:
            raise self.unsupported(capabilities, "match, choose, loglikelihood or embeddings")
        return Protocol(
            "choose" if way == "choose" else f"choose/{way}",
            routes={"choose": way},
            prompt="none" if way in ("match", "embed") else self._prompt,
            template=Protocol.template if way == letters.ROUTE and "template" not in self.arguments else self._template,
            extra={"per_image": str(self._per_image)},
        )

    def requests(self, sample: Probe, protocol: Protocol) -> Sequence[Choose]:
        """Ask for the true one of the two statements."""
        return [Choose((sample.image,), self._prompt, _statements(sample))]

    def score(self, sample: Probe, responses: Sequence[Response], protocol: Protocol) -> SampleRow:
        """Score the choice; equal scores count one half."""
        response = responses[0]
        reason = response.reason if isinstance(response, Failure) else ""
        statements = _statements(sample)
        right, chosen = 0.0, ""
        if isinstance(response, ChoiceScores):
            right = credit(response.scores, statements.index(sample.true))
            chosen = statements[response.scores.index(max(response.scores))]
        return SampleRow(
            sample_id=sample.probe_id,
            image_id=sample.image_id,
            response=chosen,
            status="failed" if reason else "ok",
            scores={"accuracy": right},
            slices={"kind": sample.kind, "about": sample.about},
            reason=reason,
        )

    def aggregate(self, rows: Sequence[SampleRow], dataset: Dataset[Probe]) -> Mapping[str, Metric]:
        """Average (fractions) overall and by the kind of probe."""
        return _accuracies(rows, "kind")

    def notes(self, dataset: Dataset[Probe], limit: int | None) -> Sequence[str]:
        """Say so where only some probes were put."""
        return _few(dataset, limit, "probes")


class VgAttributes(Probing):
    """Which object has which attribute: "the white wall and the brown tree", or the other way round."""

    name = "vg_attributes"

    def load(self, root: DataRoot, split: str | None, limit: int | None) -> Dataset[Probe]:
        """Make the probes from the scene graphs."""
        return load_attribute_probes(root.folder(self.dataset), split, limit, self._per_image)


class VgRelations(Probing):
    """What is on what: a relationship, or the same with its objects changed over or its predicate replaced."""

    name = "vg_relations"

    def load(self, root: DataRoot, split: str | None, limit: int | None) -> Dataset[Probe]:
        """Make the probes from the scene graphs."""
        return load_relation_probes(root.folder(self.dataset), split, limit, self._per_image)


def _statements(sample: Probe) -> tuple[str, str]:
    """Return both statements; a hash of them decides which comes first, so that always taking the first is chance."""
    first = int(content_key(sample.true, sample.false)[:8], 16) % 2
    return (sample.false, sample.true) if first else (sample.true, sample.false)


def _answered(sample: VisualQuestion, answer: str, accuracy: float, reason: str = "") -> SampleRow:
    return SampleRow(
        sample_id=sample.question_id,
        image_id=sample.image_id,
        response=answer,
        status="failed" if reason else "ok",
        scores={"accuracy": accuracy},
        slices={"question_type": sample.question_type},
        reason=reason,
    )


def _accuracies(rows: Sequence[SampleRow], key: str) -> dict[str, Metric]:
    groups = [str(row.slices[key]) for row in rows]
    scores = aggregate_accuracies([row.scores["accuracy"] for row in rows], groups, groups)
    by_group = sorted(scores.per_question_type.items())
    return {
        "accuracy": Metric(scores.overall, reason="nothing was scored" if not rows else None),
        **{f"accuracy/{key}/{name}": Metric(value) for name, value in by_group},
    }


def _few(dataset: Dataset[VisualQuestion] | Dataset[Probe], limit: int | None, what: str) -> Sequence[str]:
    if limit is None and not dataset.partial:
        return ()
    return (f"only {dataset.counts[what]} {what} were asked: these are not the numbers of the full split",)
