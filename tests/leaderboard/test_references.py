"""Published scores: what the shipped table may hold, and beside which results its rows may stand."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.cli import vlbench
from tests.support.results import result
from vlbench.leaderboard.columns import CAPTION_METRICS, is_percent
from vlbench.leaderboard.export import to_json, to_markdown
from vlbench.leaderboard.groups import group_results
from vlbench.leaderboard.references import Reference, beside, load_references
from vlbench.leaderboard.store import write_result
from vlbench.leaderboard.table import render
from vlbench.types import Metric

if TYPE_CHECKING:
    from pathlib import Path

    from vlbench.result import Result

FIRST = "text_to_image_recall@1"
FIFTH = "image_to_text_recall@5"
B32 = {"checkpoint": "ViT-B-32-quickgelu/openai"}


def reference(model: str = "them", value: float = 0.3, **changes: Any) -> Reference:
    base: dict[str, Any] = {
        "checkpoint": "",
        "task": "coco_retrieval",
        "dataset": "coco",
        "split": "karpathy-test",
        "protocol": "embed",
        "counts": {"images": 5000, "captions": 25010},
        "training": "zero-shot",
        "metric": FIRST,
        "source": "a paper, Table 1",
    }
    return Reference(model=model, value=value, **base | changes)


def retrieval(first: float | Metric = 0.3, **parts: Any) -> Result:
    task = {"name": "coco_retrieval", "protocol": "embed", **parts.pop("task", {})}
    return result({FIRST: first, FIFTH: 0.75}, primary=FIRST, task=task, **parts)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({"name": "flickr30k_retrieval"}, {}),
        ({"dataset": "scenes/coco"}, {}),
        ({"split": "val2017"}, {}),
        ({"protocol": "embed+match-top16"}, {}),
        ({"counts": {"images": 5000, "captions": 25000}}, {}),
        ({"partial": True}, {}),
        ({"limit": 100}, {}),
        ({}, {"counts": {"images": 1000}}),
        ({}, {"metric": "rsum"}),
    ],
)
def test_a_score_of_anything_else_is_not_shown(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    assert len(beside(retrieval(), [reference()])) == 1
    assert beside(retrieval(task=ours), [reference(**theirs)]) == []


def test_people_and_chance_have_no_protocol() -> None:
    (found,) = beside(retrieval(), [reference("human", protocol="any")])
    assert found.reference.model == "human"


@pytest.mark.parametrize(
    ("metric", "covered"),
    [(0.31, None), (Metric(0.31, ci95=(0.29, 0.32)), True), (Metric(0.35, ci95=(0.33, 0.37)), False)],
)
def test_the_difference_and_whether_the_interval_covers_the_published_value(
    metric: float | Metric, covered: bool | None
) -> None:
    (found,) = beside(retrieval(metric), [reference(value=0.3)])
    value = metric.value if isinstance(metric, Metric) else metric
    assert found.covered is covered and found.difference == value - 0.3


def test_the_ends_of_an_interval_belong_to_it() -> None:
    (found,) = beside(retrieval(Metric(0.31, ci95=(0.3, 0.32))), [reference(value=0.3)])
    assert found.covered is True


def test_the_same_model_comes_first_with_all_metrics_then_bounds_then_the_nearest() -> None:
    table = [
        reference("far", 0.9),
        reference("near", 0.31),
        reference("nearer", 0.295),
        reference("near", 0.9, metric=FIFTH),
        reference("human", 0.99, protocol="any"),
        reference("ViT-B-32/openai", 0.76, metric=FIFTH, checkpoint="ViT-B-32/openai"),
        reference("ViT-B-32/openai", 0.3044, checkpoint="ViT-B-32/openai"),
    ]
    ours = retrieval(model=B32)
    shown = [(found.reference.model, found.reference.metric) for found in beside(ours, table, 2)]
    own = [("ViT-B-32/openai", FIRST), ("ViT-B-32/openai", FIFTH)]
    assert shown == [*own, ("human", FIRST), ("nearer", FIRST), ("near", FIRST)]
    assert len(beside(ours, table)) == 6, "all other models, by their primary metric"


def test_the_shipped_table_is_whole() -> None:
    """On vlbench's scale, with a source each, no number twice, and none from memory."""
    table = load_references()
    assert len(table) > 500
    keys = [(r.model, r.task, r.split, r.protocol, r.metric, r.source) for r in table]
    assert len(set(keys)) == len(keys)
    for row in table:
        assert 0 < row.value <= (2 if row.metric == "CIDEr" else 1), row
        assert row.training in ("zero-shot", "fine-tuned", "") and row.source and "memory" not in row.source
        assert row.metric in (*CAPTION_METRICS, "accuracy") or is_percent(row.metric), row
    assert {row.model for row in table if row.protocol == "any"} == {"human", "chance"}


def test_known_numbers_are_in_the_shipped_table() -> None:
    """OpenAI's B/32 on COCO in two tables that differ, BLIP's captions, people on VCR and Winoground."""
    values = {(r.model, r.metric, r.source.split()[0], r.split): r.value for r in load_references()}
    b32 = "ViT-B-32/openai"
    assert values[b32, FIFTH, "open_clip", "karpathy-test"] == 0.75
    assert values[b32, "text_to_image_recall@5", "open_clip", "karpathy-test"] == 0.5594
    assert values[b32, FIFTH, "CLIP_benchmark", "karpathy-test"] == 0.7482
    assert values["BLIP (blip_caption base_coco)", "CIDEr", "LAVIS", "karpathy-test"] == 1.335
    assert values["human", "q_to_ar", "Zellers", "test"] == 0.85
    assert values["human", "group_score", "Thrush", "test"] == 0.855


def test_a_table_says_who_how_far_and_from_where() -> None:
    ours = retrieval(Metric(0.3, ci95=(0.29, 0.31)), model=B32)
    silent = reference("other", 0.4, counts={"images": 5000}, source="another paper")
    text = render(group_results([ours]), references=[reference("b", 0.3044), silent])
    block = text[text.index("published scores") :]
    assert block.splitlines() == [
        "published scores beside clip: coco_retrieval karpathy-test, protocol embed",
        "published  training   metric   value  run differs  95 % interval",
        "────────────────────────────────────────────────────────────────",
        "b [1]      zero-shot  T→I R@1   30.4         -0.4         inside",
        "other [2]  zero-shot  T→I R@1   40.0        -10.0        outside",
        "[1] a paper, Table 1",
        "[2] another paper (number of captions not stated)",
    ]
    assert "published" not in render(group_results([ours]))


def test_documents_hold_the_same() -> None:
    groups = group_results([retrieval(Metric(0.3, ci95=(0.29, 0.31)))])
    table = [reference("a|b", 0.25)]
    ((found,),) = [row["references"] for row in json.loads(to_json(groups, table))[0]["results"]]
    assert found == {
        "model": "a|b",
        "training": "zero-shot",
        "metric": FIRST,
        "value": 0.25,
        "difference": 0.3 - 0.25,
        "inside_ci95": False,
        "source": "a paper, Table 1",
    }
    assert "references" not in json.loads(to_json(groups))[0]["results"][0]
    assert "| a\\|b \\[1\\] | zero-shot | text\\_to\\_image\\_recall@1 | 25.0 | +5.0 | outside |" in to_markdown(
        groups, references=table
    )


def test_leaderboard_show_references_on_the_command_line(tmp_path: Path) -> None:
    write_result(tmp_path, retrieval(0.31, model=B32), [])
    plain, asked = (vlbench("leaderboard", "show", tmp_path, *more) for more in ((), ("--references",)))
    assert "published" not in plain.stdout and asked.returncode == 0, asked.stderr
    assert re.search(r"ViT-B-32/openai \[2\] +zero-shot +T→I R@1 +30\.4 +\+0\.6", asked.stdout)
    assert "[2] open_clip docs" in asked.stdout
    refused = vlbench("leaderboard", "show", tmp_path, "--references", "--format", "csv")
    assert refused.returncode == 2 and "--references is not for CSV" in refused.stderr
