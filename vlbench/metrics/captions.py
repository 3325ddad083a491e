"""COCO caption metrics: BLEU-1..4, METEOR, ROUGE-L, CIDEr in both its forms, SPICE.

Captions are tokenised once for all metrics, in Python, equal to the official Java tokeniser (``vlbench.metrics.ptb``),
so that only METEOR and SPICE need Java. Scale and names are the official scorer's: fractions, CIDEr times ten.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from vlbench.errors import DataError, UsageError
from vlbench.metrics.java import JavaBrokeOff, JavaUnavailable
from vlbench.metrics.ptb import tokenize

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from vlbench.metrics.document_frequencies import DocumentFrequencies
    from vlbench.metrics.ngrams import CaptionNgrams

__all__ = ["METRICS", "CaptionScores", "score_captions"]

METRICS = ("Bleu_1", "Bleu_2", "Bleu_3", "Bleu_4", "METEOR", "ROUGE_L", "CIDEr", "CIDEr_original", "SPICE")
_BLEU = METRICS[:4]
_CIDER = ("CIDEr", "CIDEr_original")
_OFF = {"METEOR": "was switched off", "SPICE": "was not asked for (spice=auto)"}

IdT = TypeVar("IdT", bound=Hashable)


@dataclass(frozen=True)
class CaptionScores(Generic[IdT]):
    """Scores of one caption for each of n images.

    ``corpus``: value by metric, None where it cannot be had, and then ``reasons`` tells why; ``broken`` are those that
    another attempt may have, since a program broke off or was too slow. ``per_image``: for each metric with a value, n
    floats in the order of ``image_ids``. ``statistics``: for each image what
    ``caption_statistics.corpus_from_statistics`` needs to recompute the corpus values for any choice of images; plain
    numbers and lists.
    """

    image_ids: tuple[IdT, ...]
    corpus: Mapping[str, float | None]
    reasons: Mapping[str, str]
    per_image: Mapping[str, tuple[float, ...]]
    statistics: tuple[Mapping[str, float | list[int] | list[float]], ...]
    broken: frozenset[str] = frozenset()


@dataclass
class _Tokens:
    """Tokenised captions of n images, with what the scorers find."""

    candidates: list[str]
    references: list[list[str]]
    corpus: dict[str, float | None] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    per_image: dict[str, list[float]] = field(default_factory=dict)
    statistics: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.statistics = [{} for _ in self.candidates]

    def pairs(self) -> Iterable[tuple[str, list[str]]]:
        return zip(self.candidates, self.references, strict=True)

    def keep(self, metric: str, corpus: float, per_image: Iterable[float]) -> None:
        self.corpus[metric] = float(corpus)
        self.per_image[metric] = [float(value) for value in per_image]

    def note_statistic(self, name: str, values: Iterable[Any]) -> None:
        for row, value in zip(self.statistics, values, strict=True):
            row[name] = value


def score_captions(
    candidates: Mapping[IdT, str],
    references: Mapping[IdT, Sequence[str]],
    *,
    metrics: Collection[str] = METRICS,
    meteor: Literal["auto", "off"] = "auto",
    spice: Literal["auto", "off"] = "off",
    frequencies: DocumentFrequencies | None = None,
) -> CaptionScores[IdT]:
    """Score one caption an image against the image's references.

    An empty candidate is allowed and scores 0. ``meteor="auto"`` and ``spice="auto"`` give None with a reason where
    Java cannot run. ``frequencies`` stand for the document frequencies of the references in both forms of CIDEr.
    CIDEr of a single image is 0 without them: every n-gram is in all of its one document.

    Raises ``DataError`` where candidates and references are not of the same images or an image has no reference,
    ``UsageError`` for an unknown metric.
    """
    unknown = sorted(set(metrics) - set(METRICS))
    if unknown:
        raise UsageError(f"unknown caption metric {unknown[0]!r}; there are: {', '.join(METRICS)}")
    _check_ids(candidates, references)
    ids = tuple(candidates)
    tokens = _tokenize([candidates[key] for key in ids], [references[key] for key in ids])
    wanted = [name for name in METRICS if name in metrics]
    _count(tokens, wanted, frequencies)
    if "ROUGE_L" in wanted:
        _rouge(tokens)
    _ask_java(tokens, {"METEOR": meteor, "SPICE": spice}, wanted)
    return CaptionScores(
        image_ids=ids,
        corpus={name: tokens.corpus.get(name) for name in wanted},
        reasons={name: tokens.reasons[name] for name in wanted if name not in tokens.corpus},
        per_image={name: tuple(tokens.per_image[name]) for name in wanted if name in tokens.per_image},
        statistics=tuple(tokens.statistics),
        broken=frozenset(tokens.broken),
    )


def _check_ids(candidates: Mapping[IdT, str], references: Mapping[IdT, Sequence[str]]) -> None:
    if not candidates and not references:
        raise DataError("there is no caption to score")
    for name, keys in (("candidates", candidates), ("references", references)):
        # 7 and "7" are two keys of a mapping, but one image.
        twice = [text for text, count in Counter(map(str, keys)).items() if count > 1]
        if twice:
            raise DataError(f"{name} name {_some(twice)} more than once; give one entry an image")
    unanswered = [key for key in references if key not in candidates]
    if unanswered:
        raise DataError(f"no candidate caption for {_some(unanswered)}; a failed image needs an empty caption")
    unknown = [key for key in candidates if key not in references]
    if unknown:
        raise DataError(f"no reference captions for {_some(unknown)}; candidates must be of the split's images")
    bare = [key for key, texts in references.items() if isinstance(texts, str) or not texts]
    if bare:
        raise DataError(f"no list of reference captions for {_some(bare)}; every image needs at least one")


def _some(keys: Sequence[object]) -> str:
    shown = ", ".join(str(key) for key in keys[:5])
    rest = f" and {len(keys) - 5} more" if len(keys) > 5 else ""
    return f"image{'s' if len(keys) > 1 else ''} {shown}{rest}"


def _tokenize(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> _Tokens:
    tokenized = iter(tokenize([*candidates, *(text for texts in references for text in texts)]))
    return _Tokens([next(tokenized) for _ in candidates], [[next(tokenized) for _ in texts] for texts in references])


def _count(tokens: _Tokens, wanted: Collection[str], frequencies: DocumentFrequencies | None) -> None:
    """Compute what is made of n-grams, which are counted once."""
    from vlbench.metrics.ngrams import count_ngrams

    weighed = [name for name in _CIDER if name in wanted]
    if not weighed and set(wanted).isdisjoint(_BLEU):
        return
    ngrams = count_ngrams(tokens.candidates, tokens.references)
    if not set(wanted).isdisjoint(_BLEU):
        _bleu(tokens, ngrams)
    if weighed:
        from vlbench.metrics.cider import cider

        scores = cider(ngrams, frequencies)
        for name in weighed:
            _keep_mean(tokens, name, (scores.d if name == "CIDEr" else scores.original).tolist())


def _bleu(tokens: _Tokens, ngrams: CaptionNgrams) -> None:
    from vlbench.metrics.bleu import bleu_counts

    counts = bleu_counts(ngrams)
    for name, value, values in zip(_BLEU, counts.corpus(), zip(*counts.per_image(), strict=True), strict=True):
        tokens.keep(name, value, values)
    tokens.note_statistic("bleu_correct", counts.correct.tolist())
    tokens.note_statistic("bleu_guess", counts.guess.tolist())
    tokens.note_statistic("bleu_length", counts.length.tolist())
    tokens.note_statistic("bleu_reference_length", counts.reference_length.tolist())


def _rouge(tokens: _Tokens) -> None:
    from pycocoevalcap.rouge.rouge import Rouge

    scorer = Rouge()
    # To the official scorer an empty caption has one empty word, and matches a reference of punctuation alone.
    values = [scorer.calc_score([text], texts) if text else 0.0 for text, texts in tokens.pairs()]
    _keep_mean(tokens, "ROUGE_L", values)


def _keep_mean(tokens: _Tokens, name: str, values: Sequence[float]) -> None:
    import numpy as np

    tokens.keep(name, float(np.mean(values)), values)
    tokens.note_statistic(name, tokens.per_image[name])


def _ask_java(tokens: _Tokens, switches: Mapping[str, str], wanted: Collection[str]) -> None:
    scorers = {"METEOR": _meteor, "SPICE": _spice}
    for name, switch in switches.items():
        if name not in wanted:
            continue
        if switch == "off":
            tokens.reasons[name] = _OFF[name]
            continue
        try:
            scorers[name](tokens)
        except JavaUnavailable as unavailable:
            tokens.reasons[name] = str(unavailable)
            if isinstance(unavailable, JavaBrokeOff):
                tokens.broken.add(name)


def _meteor(tokens: _Tokens) -> None:
    from vlbench.metrics.meteor import run_meteor

    result = run_meteor(tokens.candidates, tokens.references)
    tokens.keep("METEOR", result.corpus, result.per_image)
    tokens.note_statistic("meteor", result.statistics.tolist())


def _spice(tokens: _Tokens) -> None:
    from vlbench.metrics.spice import run_spice

    _keep_mean(tokens, "SPICE", run_spice(tokens.candidates, tokens.references))
