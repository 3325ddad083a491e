"""Image captioning by the official metrics, on COCO and on NoCaps."""

from __future__ import annotations

import dataclasses
import json
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from vlbench.data import coco, nocaps
from vlbench.data.source import LocalFolder
from vlbench.errors import DataError
from vlbench.metrics.captions import METRICS, score_captions
from vlbench.metrics.document_frequencies import DocumentFrequencies, read_document_frequencies
from vlbench.task import Protocol, Rounds, Task
from vlbench.tasks.arguments import DECODING_HELP, choice, decoding, read_predictions, shown_prompt
from vlbench.types import (
    CaptionedImage,
    Dataset,
    Decoding,
    Embedding,
    EmbedImage,
    EmbedText,
    Failure,
    Generate,
    Generated,
    Metric,
    Request,
    Response,
    SampleRow,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vlbench.data.source import DataRoot
    from vlbench.metrics.captions import CaptionScores

_MEANS = ("ROUGE_L", "CIDEr", "CIDEr_original", "SPICE")


class Captioning(Task[CaptionedImage]):
    """Generate one caption an image; BLEU-1..4, METEOR, ROUGE-L, CIDEr and more against its references.

    Subclasses say where the captions come from: ``load`` and ``load_references``. Where samples have a domain, each
    metric is also given by domain, under the document frequencies of all images.
    """

    primary_metric = "CIDEr"
    argument_help: ClassVar[Mapping[str, str]] = {
        "prompt": "prompt for models that want one (default none: the model captions in its own way)",
        "meteor": "auto (default: where Java is), or off to save its time",
        "spice": "off (default), or auto: where Java and the models of its parser are; slow",
        "df": "file of document frequencies for CIDEr instead of those of the references (vlbench data df)",
        "clipscore": "a model that embeds: adds CLIPScore[MODEL] and RefCLIPScore[MODEL]",
        **DECODING_HELP,
    }

    def __init__(self, arguments: Mapping[str, str] | None = None) -> None:
        """Read prompt and decoding; raises ``UsageError`` for an argument that is unknown or out of range."""
        super().__init__(arguments)
        self._prompt = self.arguments.get("prompt", "")
        self._decoding = decoding(self.name, self.arguments, Decoding())
        self._meteor = choice(self.name, self.arguments, "meteor", ("auto", "off"))
        self._spice = choice(self.name, self.arguments, "spice", ("off", "auto"))
        self._reasons: Mapping[str, str] = {}
        self._broken: frozenset[str] = frozenset()

    @cached_property
    def _frequencies(self) -> tuple[DocumentFrequencies, str] | None:
        """The document frequencies given, with the hash of their file."""
        if "df" not in self.arguments:
            return None
        path = Path(self.arguments["df"])
        folder = LocalFolder(path.parent)
        return read_document_frequencies(folder.read(path.name), path), folder.digest(path.name)

    def scoring(self) -> Mapping[str, str]:
        """Put the given document frequencies into the signature, by the content of their file."""
        return {} if self._frequencies is None else {"df": self._frequencies[1][:16]}

    def scoring_model(self) -> str | None:
        """Return the model that CLIPScore is computed with."""
        return self.arguments.get("clipscore") or None

    def scored_together(self) -> str:
        """CIDEr weighs words by all references, unless the document frequencies are given."""
        if self._frequencies is not None:
            return ""
        return f"CIDEr weighs words by all references; give --task-arg {self.name}:df=FILE (vlbench data df)"

    def protocol(self, capabilities: frozenset[str]) -> Protocol:
        """Return ``generate``; nothing else makes a caption."""
        if "generate" not in capabilities:
            raise self.unsupported(capabilities, "generate")
        return Protocol("generate", prompt=shown_prompt(self._prompt, self._decoding))

    def requests(self, sample: CaptionedImage, protocol: Protocol) -> Sequence[Generate]:
        """Ask for one caption."""
        return [Generate((sample.image,), self._prompt, self._decoding)]

    def rounds(self, dataset: Dataset[CaptionedImage], protocol: Protocol) -> Rounds:
        """Generate, then score all captions together: CIDEr weighs words by all references."""
        asked = [self.requests(sample, protocol)[0] for sample in dataset.samples]
        responses = yield asked
        return self._rows(dataset, [responses[request.key] for request in asked])

    def predictions(self, path: Path, dataset: Dataset[CaptionedImage]) -> Mapping[str, str]:
        """Read ``[{"image_id": …, "caption": …}]`` with exactly the images of the dataset.

        Raises ``DataError`` where they are others, and for a split without captions to score against.
        """
        if _unlabelled(dataset):
            raise DataError(
                f"{self.name}: split {dataset.split} has no captions to score against; choose another --split"
            )
        return read_predictions(path, [sample.image_id for sample in dataset.samples], "image_id", "caption")

    def score_predictions(self, predictions: Mapping[str, str], dataset: Dataset[CaptionedImage]) -> list[SampleRow]:
        """Score captions by image id."""
        return self._rows(dataset, [Generated(predictions[sample.image_id]) for sample in dataset.samples])

    def submission(self, rows: Sequence[SampleRow], dataset: Dataset[CaptionedImage]) -> tuple[str, bytes] | None:
        """Return the captions of a split without public ones in the results format of COCO; None for any other."""
        if not _unlabelled(dataset):
            return None
        captions = [
            {"image_id": int(row.sample_id) if row.sample_id.isdecimal() else row.sample_id, "caption": row.response}
            for row in rows
        ]
        return f"{self.name}_{dataset.split}.json", json.dumps(captions).encode()

    def scoring_rounds(self, dataset: Dataset[CaptionedImage], rows: Sequence[SampleRow], model: str) -> Rounds:
        """Embed images, captions and references, and add CLIPScore and RefCLIPScore to the rows."""
        from vlbench.metrics.clipscore import PROMPT

        pairs = list(zip(dataset.samples, rows, strict=True))
        asked: list[list[Request]] = [
            [
                EmbedImage(sample.image),
                EmbedText(PROMPT + row.response),
                *(EmbedText(PROMPT + caption.text.strip()) for caption in sample.captions),
            ]
            for sample, row in pairs
        ]
        answers = yield [request for requests in asked for request in requests]
        return [
            _with_clip_scores(row, [answers[request.key] for request in requests], model)
            for row, requests in zip(rows, asked, strict=True)
        ]

    def aggregate(self, rows: Sequence[SampleRow], dataset: Dataset[CaptionedImage]) -> Mapping[str, Metric]:
        """Return the corpus values, recomputed from the rows' statistics; None with a reason for what is missing."""
        metrics = self._corpus(rows)
        domains = sorted({str(row.slices["domain"]) for row in rows if "domain" in row.slices})
        for domain in domains:
            part = self._corpus([row for row in rows if row.slices["domain"] == domain])
            metrics |= {f"{name}/domain/{domain}": metric for name, metric in part.items()}
        return metrics

    def _corpus(self, rows: Sequence[SampleRow]) -> dict[str, Metric]:
        from vlbench.metrics.caption_statistics import corpus_from_statistics, stack_statistics

        corpus = corpus_from_statistics(stack_statistics([row.statistics for row in rows]))
        added = [name for name in rows[0].scores if name not in METRICS]
        # The weighted mean of a resampled corpus may differ from the official scorer's plain mean in the last digit.
        means = [name for name in (*_MEANS, *added) if name in rows[0].scores]
        corpus |= {name: float(np.mean([row.scores[name] for row in rows])) for name in means}
        return {
            name: Metric(corpus[name])
            if name in corpus
            else Metric(
                None, reason=self._reasons.get(name, "was not computed for these rows"), retry=name in self._broken
            )
            for name in (*METRICS, *added)
        }

    def notes(self, dataset: Dataset[CaptionedImage], limit: int | None) -> Sequence[str]:
        """Say where CIDEr's document frequencies are not those of the whole split."""
        if _unlabelled(dataset):
            if limit is None and not dataset.partial:
                return ()
            asked = f"only {dataset.counts['images']} images were captioned"
            return (f"{asked}: the evaluation server takes only a file with all images of the split",)
        if self._frequencies is not None:
            images = self._frequencies[0].images
            return (f"CIDEr's document frequencies are those of {images} images in {self.arguments['df']}",)
        if limit is None and not dataset.partial:
            return ()
        return (
            f"CIDEr's document frequencies come from only {dataset.counts['images']} images, so it is distorted; "
            "compare only with scores of the same images",
        )

    def _rows(self, dataset: Dataset[CaptionedImage], responses: Sequence[Response]) -> list[SampleRow]:
        texts = [response.text.strip() if isinstance(response, Generated) else "" for response in responses]
        if _unlabelled(dataset):
            scored = None
            reason = f"split {dataset.split} has no public captions; the evaluation server scores the submission file"
            self._reasons = dict.fromkeys(METRICS, reason)
        else:
            scored = self._scored(dataset.samples, texts)
            self._reasons, self._broken = scored.reasons, scored.broken
        rows = []
        for i, (sample, response) in enumerate(zip(dataset.samples, responses, strict=True)):
            reason = response.reason if isinstance(response, Failure) else ""
            rows.append(
                SampleRow(
                    sample_id=sample.image_id,
                    image_id=sample.image_id,
                    response=texts[i],
                    status="failed" if reason else "ok",
                    scores={name: values[i] for name, values in scored.per_image.items()} if scored else {},
                    slices=_slices(sample),
                    statistics=scored.statistics[i] if scored else {},
                    reason=reason,
                )
            )
        return rows

    def _scored(self, samples: Sequence[CaptionedImage], texts: Sequence[str]) -> CaptionScores[str]:
        return score_captions(
            {sample.image_id: text for sample, text in zip(samples, texts, strict=True)},
            {sample.image_id: [caption.text for caption in sample.captions] for sample in samples},
            meteor="off" if self._meteor == "off" else "auto",
            spice="auto" if self._spice == "auto" else "off",
            frequencies=self._frequencies[0] if self._frequencies else None,
        )


def _unlabelled(dataset: Dataset[CaptionedImage]) -> bool:
    """Tell whether the split has no captions to score against."""
    return not any(sample.captions for sample in dataset.samples)


def _slices(sample: CaptionedImage) -> dict[str, str | int]:
    """Return domain and the usual length of a reference, in words, where the sample has them."""
    lengths = [len(caption.text.split()) for caption in sample.captions]
    words: dict[str, str | int] = {"reference_words": round(sum(lengths) / len(lengths))} if lengths else {}
    return words | ({"domain": sample.domain} if sample.domain else {})


def _with_clip_scores(row: SampleRow, answers: Sequence[Response], model: str) -> SampleRow:
    """Add both scores: 0 for a failed caption, and for one that the scoring model could not judge, which fails it."""
    from vlbench.metrics.clipscore import clip_score, ref_clip_score

    score = with_references = 0.0
    # Image and caption, and then the references, if there are any.
    has_references = len(answers) > 2
    failure = next((answer.reason for answer in answers if isinstance(answer, Failure)), "")
    if row.status == "ok" and not failure:
        vectors = [answer.vector for answer in answers if isinstance(answer, Embedding)]
        score = clip_score(vectors[0], vectors[1])
        with_references = ref_clip_score(score, vectors[1], np.stack(vectors[2:])) if has_references else 0.0
    scores = {**row.scores, f"CLIPScore[{model}]": score}
    if has_references:
        scores[f"RefCLIPScore[{model}]"] = with_references
    if row.status == "ok" and failure:
        return dataclasses.replace(row, scores=scores, status="failed", reason=f"{model}: {failure}")
    return dataclasses.replace(row, scores=scores)


class CocoCaption(Captioning):
    """Captioning on COCO."""

    name = "coco_caption"
    dataset = coco.NAME

    def load(self, root: DataRoot, split: str | None, limit: int | None) -> Dataset[CaptionedImage]:
        """Read captions; no image is opened."""
        return coco.load_coco(root.folder(self.dataset), split, limit)

    def load_references(self, path: Path, split: str | None = None) -> Dataset[CaptionedImage]:
        """Read COCO annotations, ``dataset_coco.json`` (by default its test split) or ``coco_karpathy_test.json``."""
        return coco.load_references(path, split)


class NoCaps(Captioning):
    """Captioning on NoCaps: objects that COCO's captions name, and others; each metric also by domain."""

    name = "nocaps"
    dataset = nocaps.NAME

    def load(self, root: DataRoot, split: str | None, limit: int | None) -> Dataset[CaptionedImage]:
        """Read captions, of the test split only the images; no image is opened."""
        return nocaps.load_nocaps(root.folder(self.dataset), split, limit)

    def load_references(self, path: Path, split: str | None = None) -> Dataset[CaptionedImage]:
        """Read ``nocaps_val_4500_captions.json``, whatever it is called."""
        return nocaps.load_references(path, split)
