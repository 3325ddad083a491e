"""Tables for machines and documents."""

from __future__ import annotations

import csv
import io
import json

from tests.support.results import result
from vlbench.leaderboard.export import CSV_COLUMNS, to_csv, to_json, to_markdown
from vlbench.leaderboard.groups import group_results
from vlbench.result import SampleCounts
from vlbench.types import Metric

GROUPS = group_results(
    [
        result(
            {"CIDEr": Metric(1.2925817645, ci95=(1.25, 1.33)), "SPICE": Metric(None, reason="needs, Java")}, name="a|b"
        ),
        result({"CIDEr": 1.1, "SPICE": None}, name="<img>", samples=SampleCounts(5000, 4999, 1)),
        result({"accuracy": 0.1 + 0.2, "accuracy/question_type/how many": 0.5}, name="c", task={"name": "vqa"}),
    ]
)


def test_json_holds_every_metric_unrounded_with_best_and_reason() -> None:
    captions, vqa = json.loads(to_json(GROUPS))
    assert captions["task"] == "coco_caption" and captions["signature"] == GROUPS[0].signature
    assert [made["model"] for made in captions["results"]] == ["a|b", "<img>"]
    first, second = captions["results"]
    assert first["metrics"]["CIDEr"] == {
        "value": 1.2925817645,
        "ci95": [1.25, 1.33],
        "higher_is_better": True,
        "best": True,
        "reason": None,
    }
    assert first["metrics"]["SPICE"]["reason"] == "needs, Java" and not second["metrics"]["CIDEr"]["best"]
    assert (second["marks"], second["failed"], second["attempted"]) == (["F"], 1, 5000)
    assert vqa["results"][0]["metrics"]["accuracy"]["value"] == 0.1 + 0.2
    assert "accuracy/question_type/how many" in vqa["results"][0]["metrics"]


def test_csv_has_one_row_a_result_and_metric() -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(GROUPS))))
    assert tuple(rows[0]) == CSV_COLUMNS and len(rows) == 6
    assert [(row["model"], row["metric"], row["value"], row["best"]) for row in rows] == [
        ("a|b", "CIDEr", "1.2925817645", "True"),
        ("a|b", "SPICE", "", "False"),
        ("<img>", "CIDEr", "1.1", "False"),
        ("<img>", "SPICE", "", "False"),
        ("c", "accuracy", repr(0.1 + 0.2), "False"),
        ("c", "accuracy/question_type/how many", "0.5", "False"),
    ]
    assert (rows[0]["ci95_low"], rows[0]["ci95_high"], rows[1]["reason"]) == ("1.25", "1.33", "needs, Java")
    assert len({row["signature"] for row in rows}) == 2 and all(row["signature"] for row in rows)


def test_markdown_shows_what_the_terminal_shows() -> None:
    text = to_markdown(GROUPS)
    assert (
        text
        == """\
### coco\\_caption on coco karpathy-test (5000 images, 25010 captions), protocol generate

`coco_caption:1|coco:karpathy-test|protocol:generate|data:abcd`

| model | marks | CIDEr | SPICE |
| --- | --- | ---: | ---: |
| a\\|b |  | **1.2926 [1.2500, 1.3300]** | – |
| \\<img\\> | F | 1.1000 | – |

- F: samples failed and count as wrong (\\<img\\> 1 of 5000)
- – SPICE of a\\|b: needs, Java
- – SPICE of \\<img\\>: was not computed

### vqa on coco karpathy-test (5000 images, 25010 captions), protocol generate

`vqa:1|coco:karpathy-test|protocol:generate|data:abcd`

| model | accuracy |
| --- | ---: |
| c | 30.00 |

- in percent
"""
    )
    assert "question" in to_markdown(GROUPS, all_metrics=True)


def test_no_results_make_no_tables() -> None:
    assert to_json([]) == "[]\n" and to_markdown([]) == "" and to_csv([]).count("\n") == 1
