from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

import pytest

from tests.support.cli import here, vlbench
from tests.support.results import result
from vlbench.cli.app import run_app
from vlbench.errors import NotComparable, UsageError
from vlbench.leaderboard.store import write_result
from vlbench.stats.compare import POWER_SPAN, Comparison, compare, correct
from vlbench.stats.permutation import sign_flip
from vlbench.types import SampleRow

if TYPE_CHECKING:
    from pathlib import Path

    from vlbench.result import Result


def model(name: str, scores: list[list[float]]) -> tuple[Result, list[SampleRow]]:
    """A model with one list of scores an image; the first question of an image is of kind a, the others of kind b."""
    rows = [
        SampleRow(f"{i}-{j}", f"{i}", f"{name} says <{score}>", "ok", {"accuracy": score}, {"kind": "b" if j else "a"})
        for i, image in enumerate(scores)
        for j, score in enumerate(image)
    ]
    mean = sum(row.scores["accuracy"] for row in rows) / len(rows)
    return result({"accuracy": mean}, name=name, task={"name": "vqa"}), rows


FIRST = [[0.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.0, 0.6], [1.0, 1.0]]
SECOND = [[1.0, 1.0], [1.0, 1.0], [1.0, 1.0], [1.0, 0.3], [1.0, 1.0]]


def compared() -> Comparison:
    return compare(model("old", FIRST), model("new", SECOND))


def test_difference_and_exact_p_value_by_hand() -> None:
    """Sums of images: 2, 1, 1, 0.7, 0. Only all plus and all minus of 16 choices are as far from zero."""
    primary = compared().primary
    assert primary is not None and primary.ci95 is not None
    assert primary.difference == pytest.approx(4.7 / 10)
    assert primary.p == pytest.approx(2 / 16)
    assert primary.ci95[0] <= primary.difference <= primary.ci95[1]


def test_slices_are_explored_with_a_correction_of_their_own() -> None:
    found = {d.metric: d for d in compared().exploratory}
    assert found["accuracy/kind/a"].difference == pytest.approx(0.8)
    assert found["accuracy/kind/b"].difference == pytest.approx(0.14)
    assert found["accuracy/kind/a"].p == pytest.approx(2 / 16)
    assert found["accuracy/kind/a"].adjusted == pytest.approx(2 / 8)


def test_flips_come_most_changed_first() -> None:
    flips = compared().flips
    assert [flip.sample_id for flip in flips] == ["0-0", "0-1", "1-0", "2-0", "3-0", "3-1"]
    assert flips[0].responses == ("old says <0.0>", "new says <1.0>")


def test_rows_are_paired_by_sample_and_not_by_place() -> None:
    made, rows = model("new", SECOND)
    assert compare(model("old", FIRST), (made, rows[::-1])) == compared()


def test_a_model_against_itself_differs_in_nothing() -> None:
    same = compare(model("old", FIRST), model("old", FIRST)).primary
    assert same is not None
    assert (same.difference, same.p, same.ci95) == (0.0, 1.0, (0.0, 0.0))


def test_other_signatures_and_other_samples_are_refused() -> None:
    made, rows = model("new", SECOND)
    other = dataclasses.replace(made, signature=made.signature.replace("protocol:generate", "protocol:rank"))
    with pytest.raises(NotComparable, match=r"differ in protocol \(generate against rank\)$"):
        compare(model("old", FIRST), (other, rows))
    with pytest.raises(NotComparable, match="not the same ones"):
        compare(model("old", FIRST), (made, rows[1:]))


def test_random_signs_agree_with_all_of_them() -> None:
    """Of 13 equal differences 2 in 8,192 choices are as far; three of 16 with other signs are far from rare."""
    import numpy as np

    assert sign_flip(np.ones(13)) == pytest.approx(2 / 8192, abs=6e-4)
    values = np.array([1.0] * 10 + [-1.0] * 3)
    # P(|S| >= 7) for 13 fair signs: 2 * (C(13,0) + C(13,1) + C(13,2) + C(13,3)) / 8192
    assert sign_flip(values) == pytest.approx(2 * (1 + 13 + 78 + 286) / 8192, abs=0.015)


def test_holm_runs_over_the_tasks() -> None:
    both = correct([compared(), compared()])
    assert [one.primary.adjusted for one in both if one.primary] == [pytest.approx(0.25)] * 2


def test_the_smallest_difference_that_is_found() -> None:
    """100 images of one question each; the second model wins 30 and loses 10: the error is sqrt(0.4 - 0.04) / 10."""
    import numpy as np

    def asked(name: str, right: list[bool]) -> tuple[Result, list[SampleRow]]:
        return model(name, [[float(one)] for one in right])

    first = asked("old", [i < 10 for i in range(100)])
    second = asked("new", [10 <= i < 40 for i in range(100)])
    found = compare(first, second).primary
    assert found is not None and found.detectable == pytest.approx(POWER_SPAN * 0.06, rel=0.1)
    same = compare(first, first).primary
    assert same is not None and same.detectable is None
    # A true difference of that size is found four times in five.
    random = np.random.default_rng(0)
    drawn = random.normal(POWER_SPAN / 200**0.5, 1.0, (400, 200))
    power = np.mean([sign_flip(images, str(i), 400) <= 0.05 for i, images in enumerate(drawn)])
    assert 0.74 <= power <= 0.86


def test_chosen_columns_and_ranges_of_whole_numbers() -> None:
    def counted(name: str, offset: int) -> tuple[Result, list[SampleRow]]:
        rows = [
            SampleRow(
                f"{i}",
                f"{i}",
                name,
                "ok",
                {"accuracy": float((i + offset) % 3 == 0)},
                {"objects": i, "kind": "ab"[i % 2]},
            )
            for i in range(12)
        ]
        return result(
            {"accuracy": sum(row.scores["accuracy"] for row in rows) / 12}, name=name, task={"name": "vqa"}
        ), rows

    everything = compare(counted("old", 0), counted("new", 1), 100)
    ranges = [f"accuracy/objects (range)/{part}" for part in ("0-2", "3-5", "6-8", "9-11")]
    assert [one.metric for one in everything.exploratory] == [*ranges, "accuracy/kind/a", "accuracy/kind/b"]
    chosen = compare(counted("old", 0), counted("new", 1), 100, slices=["kind"])
    assert [one.metric for one in chosen.exploratory] == ["accuracy/kind/a", "accuracy/kind/b"]
    assert chosen.primary == everything.primary
    with pytest.raises(
        UsageError, match=r"no column 'knd'; did you mean 'kind'\? \(there are: objects \(range\), kind\)"
    ):
        compare(counted("old", 0), counted("new", 1), slices=["knd"])


def test_several_models_against_the_first_or_each_with_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, scores in (("old", FIRST), ("new", SECOND), ("same", FIRST)):
        write_result(tmp_path, *model(name, scores))
    given = ["compare", "old", "new", "same", "--results", str(tmp_path), "--bootstrap", "50"]
    assert run_app([*given, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["models"] for one in found] == [["old", "new"], ["old", "same"]]
    assert [one["primary"]["adjusted"] for one in found] == [pytest.approx(2 / 8), 1.0]
    assert run_app([*given, "--json", "--all-pairs"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["models"] for one in found] == [["old", "new"], ["old", "same"], ["new", "same"]]
    assert [one["primary"]["adjusted"] for one in found] == [pytest.approx(3 / 8), 1.0, pytest.approx(3 / 8)]
    assert run_app([*given, "--slice", "kind"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("2 comparisons\n") and "Holm over 2 comparisons" in text and "four times in five" in text
    assert run_app([*given, "--markdown"]) == 0
    assert "| vqa | old | new | accuracy | 46.00 | 93.00 | +47 |" in capsys.readouterr().out
    assert run_app(given[:2]) == 2 and "give two models or more" in capsys.readouterr().err
    assert run_app([*given, "--slice", "knid"]) == 2 and "did you mean 'kind'" in capsys.readouterr().err


def test_the_verb(tmp_path: Path) -> None:
    files = [write_result(tmp_path, *model(name, s)) for name, s in (("old", FIRST), ("new", SECOND))]
    done = vlbench("compare", "old", "new", "--results", tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    (document,) = json.loads(done.stdout)
    assert document["primary"]["difference"] == pytest.approx(0.47) and document["flipped"] == 6
    done = vlbench("compare", *files, "--markdown")
    assert "| accuracy | 46.00 | 93.00 | +47 |" in done.stdout and "&lt;1.0&gt;" in done.stdout, done.stderr
    assert "6 samples differ" in vlbench("compare", *files).stdout
    made, rows = model("other", SECOND)
    other = write_result(tmp_path, dataclasses.replace(made, signature=made.signature + "|limit:5"), rows)
    done = vlbench("compare", files[0], other)
    assert (done.returncode, done.stdout) == (3, "") and "limit (none against 5)" in done.stderr
    assert vlbench("compare", "old", "nwe", "--results", tmp_path).returncode == 2
    done = here("compare", *files, "--markdown", "out.md")
    assert done.code == 2 and "--markdown prints to standard output; give no out.md, but > out.md" in done.err


def test_one_task_of_another_signature_is_refused_beside_others(tmp_path: Path) -> None:
    """It was left out without a word, and the rest compared."""
    for name, scores, cut in (("old", FIRST, ""), ("new", SECOND, "|limit:5")):
        made, rows = model(name, scores)
        write_result(tmp_path / name, made, rows)
        task = dataclasses.replace(made.task, name="okvqa")
        write_result(tmp_path / name, dataclasses.replace(made, task=task, signature=f"okvqa|{cut}"), rows)
    done = here("compare", tmp_path / "old", tmp_path / "new")
    assert (done.code, done.out) == (3, "") and "okvqa: old and new differ in limit" in done.err
    done = here("compare", tmp_path / "old", tmp_path / "new", "--task", "vqa")
    assert done.code == 0 and "6 samples differ" in done.out, done.err
