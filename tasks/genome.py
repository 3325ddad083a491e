"""Questions on Visual Genome: open ones, and probes of attributes and relations made from its scene graphs."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, ClassVar

from vlbench import letters
from vlbench.capabilities import route
from vlbench.data.scene_graphs import load_attribute_probes, load_relation_probes
from vlbench.data.visual_genome import load_questions
from vlbench.errors import DataError
from vlbench.metrics.vqa import mean, means_by, normalize_answer
from vlbench.task import Protocol, Task
from vlbench.tasks.arguments import integer, template
from vlbench.tasks.genome_retrieval import DEFAULT_PER_IMAGE, PER_IMAGE_HELP
from vlbench.tasks.open_questions import OpenQuestions
from vlbench.tasks.vcr import credit
from vlbench.tasks.vqa_vocabulary import Vocabulary, most_frequent
from vlbench.types import (
    ChoiceScores,
    Choose,
    Dataset,
    Failure,
    Metric,
    Response,
    SampleRow,
    VisualQuestion,
    content_key,
)
from vlbench.views import SampleView

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from vlbench.data.scene_graphs import Probe
    from vlbench.data.source import DataRoot, LocalFolder

PROMPT = "Which statement is true of the picture?"


class VgQa(OpenQuestions):
    """Answer open questions; exact match after the VQA normalisation, by the first word of the question."""

    name = "vg_qa"
    dataset = "visual_genome"
    id_key = "qa_id"

    def __init__(self, arguments: Mapping[str, str] | None = None) -> None:
        """Read the arguments; raises ``UsageError`` for one that is unknown or out of range."""
        super().__init__(arguments)
        self._elsewhere: Counter[tuple[str, str]] = Counter()

    def read(self, folder: LocalFolder, split: str | None, limit: int | None) -> Dataset[VisualQuestion]:
        """Read the questions, and count the answers to those of all other images."""
        self._elsewhere.clear()
        return load_questions(folder, split, limit, self._elsewhere)

    def vocabulary(self, folder: LocalFolder, dataset: Dataset[VisualQuestion], top: int) -> Vocabulary:
        """Return the frequent answers by the first word of the question; the images have no official train split.

        Raises ``DataError`` where there is no other image to take answers from.
        """
        if not self._elsewhere:
            raise DataError(
                f"{self.name}: a model that does not generate ranks frequent answers of images outside the split, and "
                f"split {dataset.split} leaves none; choose another --split, or give --task-arg "
                f"{self.name}:vocabulary=FILE"
            )
        return _frequent(self._elsewhere, top)

    def measure(self, answer: str, sample: VisualQuestion) -> Mapping[str, float]:
        """Return the exact match with the one answer."""
        return {"accuracy": exact_match(answer, sample.answers[0])}


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


def _frequent(counts: Counter[tuple[str, str]], top: int) -> Vocabulary:
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

    def views(self, dataset: Dataset[Probe]) -> Iterable[tuple[str, SampleView]]:
        """Return the probes: both statements, and the true one."""
        return ((s.probe_id, SampleView(" / ".join(_statements(s)), (s.true,), (s.image,))) for s in dataset.samples)

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
        if not rows:
            return {"accuracy": Metric(None, reason="no probe was scored")}
        right = [row.scores["accuracy"] for row in rows]
        by_kind = means_by(right, [str(row.slices["kind"]) for row in rows])
        return {
            "accuracy": Metric(mean(right)),
            **{f"accuracy/kind/{name}": Metric(value) for name, value in sorted(by_kind.items())},
        }

    def notes(self, dataset: Dataset[Probe], limit: int | None) -> Sequence[str]:
        """Say so where only some probes were put."""
        if limit is None and not dataset.partial:
            return ()
        return (f"only {dataset.counts['probes']} probes were put: these are not the numbers of the full split",)


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
