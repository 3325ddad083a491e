"""How a metric is shown: the one place that knows scales, digits and short names.

Values are stored unrounded, as fractions or on the official scorer's scale; only here are they turned into text.
"""

from __future__ import annotations

import re
from typing import NamedTuple

MISSING = "–"
MAIN_SLICES = ("answer_type",)
"""Kinds of slices (``accuracy/answer_type/number``) that tables show unless all metrics are asked for."""

CAPTION_METRICS = (
    *("Bleu_1", "Bleu_2", "Bleu_3", "Bleu_4", "METEOR", "ROUGE_L"),
    *("CIDEr", "CIDEr_original", "SPICE", "CLIPScore", "RefCLIPScore"),
)

SECONDARY = ("CIDEr_original",)
"""Metrics that tables show only if all are asked for."""

_PERCENT = re.compile(
    r"(.+_)?((recall|precision|accuracy)@\d+|map@R|r_precision)$|mean_per_class_recall$|rsum$"
    r"|q_to_a$|qa_to_r$|q_to_ar$|(text|image|group)_score$"
)
_ACCURACIES = ("accuracy", "raw_accuracy", "strict", "unanswerable_precision", "unanswerable_recall", "unanswerable_f1")
_SHORT = {"q_to_a": "Q→A", "qa_to_r": "QA→R", "q_to_ar": "Q→AR"}
_DIRECTIONS = {"image_to_text": "I→T", "text_to_image": "T→I"}
_DIRECTED = re.compile(r"(image_to_text|text_to_image)_(?:recall@(\d+)|(median|mean)_rank)$")


class Scale(NamedTuple):
    """A shown number is ``value * factor`` with so many decimals; None: four digits, or all before the point."""

    factor: float
    decimals: int | None


def scale(name: str) -> Scale:
    """Return how the values of a metric are shown.

    Fractions in percent, and so is ``rsum``, the sum of six of them: one digit as papers have it, two for what the VQA
    scorers count, as these have it. Caption metrics on the scale of their official scorer (CIDEr 1.293, not 129.3);
    anything else as it is.
    """
    metric = name.partition("/")[0]
    if metric in _ACCURACIES:
        return Scale(100.0, 2)
    if _PERCENT.match(metric):
        return Scale(100.0, 1)
    return Scale(1.0, 4) if _parts(name)[0] in CAPTION_METRICS else Scale(1.0, None)


def _parts(name: str) -> list[str]:
    """Return the metric and its slice, without the name of a scoring model: that may hold slashes itself."""
    return re.sub(r"\[.*\]", "", name).split("/", 2)


def shown(name: str, value: float | None, interval: tuple[float, float] | None = None) -> str:
    """Return a value of a metric as text, with its interval where there is one.

    >>> shown("accuracy", 0.6741), shown("CIDEr", 1.29258), shown("image_to_text_median_rank", 2.0), shown("rsum", None)
    ('67.41', '1.2926', '2', '–')
    """
    if value is None:
        return MISSING
    text = _number(value, scale(name))
    if interval is None:
        return text
    low, high = (_number(end, scale(name)) for end in interval)
    return f"{text} [{low}, {high}]"


def _number(value: float, by: Scale) -> str:
    number = value * by.factor
    if by.decimals is None:
        return f"{number:.0f}" if abs(number) >= 1000 else f"{number:.4g}"
    return f"{number:.{by.decimals}f}"


def short_name(name: str) -> str:
    """Return the heading of a narrow column; a blank in it is where the line may break.

    >>> short_name("text_to_image_recall@10"), short_name("accuracy/answer_type/yes/no"), short_name("Bleu_4")
    ('T→I R@10', 'yes/no', 'Bleu_4')
    """
    directed = _DIRECTED.match(name)
    if directed:
        direction, k, rank = directed.groups()
        return f"{_DIRECTIONS[direction]} {f'R@{k}' if k else {'median': 'MedR', 'mean': 'MeanR'}[rank]}"
    _, kind, part = (*_parts(name), "", "")[:3]
    return part if kind in MAIN_SLICES and part else _SHORT.get(name, name)


def explained(names: list[str]) -> list[str]:
    """Return what the short names among the headings stand for."""
    lines = []
    if any(_DIRECTED.match(name) for name in names):
        mean = ", MeanR mean_rank" if any(name.endswith("_mean_rank") for name in names) else ""
        lines.append(f"I→T image_to_text, T→I text_to_image, R@K recall@K, MedR median_rank{mean}")
    for kind in MAIN_SLICES:
        if any(name.split("/")[1:2] == [kind] for name in names):
            lines.append(f"{', '.join(short_name(n) for n in names if n.split('/')[1:2] == [kind])}: by {kind}")
    return lines


def is_main(name: str) -> bool:
    """Tell whether tables show the metric by default: no slice, or one of the main kinds.

    >>> is_main("CLIPScore[open_clip:ViT-B-32/openai]"), is_main("CIDEr/domain/in-domain"), is_main("CIDEr_original")
    (True, False, False)
    """
    if name in SECONDARY:
        return False
    return len(_parts(name)) == 1 or _parts(name)[1] in MAIN_SLICES


def is_percent(name: str) -> bool:
    """Tell whether the metric is shown in percent."""
    return scale(name).factor == 100.0
