"""Image captioning on COCO by the official metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from vlbench.data.coco import load_coco, load_references
from vlbench.metrics.captions import METRICS, score_captions
from vlbench.task import Protocol, Rounds, Task
from vlbench.tasks.arguments import DECODING_HELP, choice, decoding, read_predictions, shown_prompt
from vlbench.types import CaptionedImage, Dataset, Decoding, Failure, Generate, Generated, Metric, Response, SampleRow

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from vlbench.data.source import DataRoot


class CocoCaption(Task[CaptionedImage]):
    """Generate one caption an image; BLEU-1..4, METEOR, ROUGE-L and CIDEr against its references."""

    name = "coco_caption"
    dataset = "coco"
    primary_metric = "CIDEr"
    argument_help: ClassVar[Mapping[str, str]] = {
        "prompt": "prompt for models that want one (default none: the model captions in its own way)",
        "meteor": "auto (default: where Java is), or off to save its time",
        **DECODING_HELP,
    }

    def __init__(self, arguments: Mapping[str, str] | None = None) -> None:
        """Read prompt and decoding; raises ``UsageError`` for an argument that is unknown or out of range."""
        super().__init__(arguments)
        self._prompt = self.arguments.get("prompt", "")
        self._decoding = decoding(self.name, self.arguments, Decoding())
        self._meteor = choice(self.name, self.arguments, "meteor", ("auto", "off"))
        self._reasons: Mapping[str, str] = {}

    def protocol(self, capabilities: frozenset[str]) -> Protocol:
        """Return ``generate``; nothing else makes a caption."""
        if "generate" not in capabilities:
            raise self.unsupported(capabilities, "generate")
        return Protocol("generate", prompt=shown_prompt(self._prompt, self._decoding))

    def load(self, root: DataRoot, split: str | None, limit: int | None) -> Dataset[CaptionedImage]:
        """Read captions; no image is opened."""
        return load_coco(root.folder(self.dataset), split, limit)

    def load_references(self, path: Path, split: str | None = None) -> Dataset[CaptionedImage]:
        """Read COCO annotations, ``dataset_coco.json`` (by default its test split) or ``coco_karpathy_test.json``."""
        return load_references(path, split)

    def requests(self, sample: CaptionedImage, protocol: Protocol) -> Sequence[Generate]:
        """Ask for one caption."""
        return [Generate((sample.image,), self._prompt, self._decoding)]

    def rounds(self, dataset: Dataset[CaptionedImage], protocol: Protocol) -> Rounds:
        """Generate, then score all captions together: CIDEr weighs words by all references."""
        asked = [self.requests(sample, protocol)[0] for sample in dataset.samples]
        responses = yield asked
        return self._rows(dataset, [responses[request.key] for request in asked])

    def predictions(self, path: Path, dataset: Dataset[CaptionedImage]) -> Mapping[str, str]:
        """Read ``[{"image_id": …, "caption": …}]`` with exactly the images of the dataset."""
        return read_predictions(path, [sample.image_id for sample in dataset.samples], "image_id", "caption")

    def score_predictions(self, predictions: Mapping[str, str], dataset: Dataset[CaptionedImage]) -> list[SampleRow]:
        """Score captions by image id."""
        return self._rows(dataset, [Generated(predictions[sample.image_id]) for sample in dataset.samples])

    def aggregate(self, rows: Sequence[SampleRow], dataset: Dataset[CaptionedImage]) -> Mapping[str, Metric]:
        """Return the corpus values, recomputed from the rows' statistics; None with a reason for what is missing."""
        from vlbench.metrics.caption_statistics import corpus_from_statistics, stack_statistics

        corpus = corpus_from_statistics(stack_statistics([row.statistics for row in rows]))
        # The weighted mean of a resampled corpus may differ from the official scorer's plain mean in the last digit.
        corpus |= {name: float(np.mean([row.scores[name] for row in rows])) for name in ("ROUGE_L", "CIDEr")}
        return {
            name: Metric(corpus[name])
            if name in corpus
            else Metric(None, reason=self._reasons.get(name, "was not computed for these rows"))
            for name in METRICS
        }

    def notes(self, dataset: Dataset[CaptionedImage], limit: int | None) -> Sequence[str]:
        """Say so where CIDEr's document frequencies are not those of the whole split."""
        if limit is None and not dataset.partial:
            return ()
        return (
            f"CIDEr's document frequencies come from only {dataset.counts['images']} images, so it is distorted; "
            "compare only with scores of the same images",
        )

    def _rows(self, dataset: Dataset[CaptionedImage], responses: Sequence[Response]) -> list[SampleRow]:
        samples = dataset.samples
        texts = [response.text.strip() if isinstance(response, Generated) else "" for response in responses]
        scored = score_captions(
            {sample.image_id: text for sample, text in zip(samples, texts, strict=True)},
            {sample.image_id: [caption.text for caption in sample.captions] for sample in samples},
            meteor="off" if self._meteor == "off" else "auto",
        )
        self._reasons = scored.reasons
        rows = []
        for i, (sample, response) in enumerate(zip(samples, responses, strict=True)):
            reason = response.reason if isinstance(response, Failure) else ""
            rows.append(
                SampleRow(
                    sample_id=sample.image_id,
                    image_id=sample.image_id,
                    response=texts[i],
                    status="failed" if reason else "ok",
                    scores={name: values[i] for name, values in scored.per_image.items()},
                    statistics=scored.statistics[i],
                    reason=reason,
                )
            )
        return rows
