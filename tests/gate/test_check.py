"""The gate over made results: verdicts by hand, rules, baseline files, and every form of the report."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import pytest
import yaml

from tests.support.cli import ROOT, here, vlbench
from tests.support.results import TASK as CAPTIONS
from tests.support.results import result
from vlbench.cli.app import run_app
from vlbench.errors import DataError, NotComparable, UsageError
from vlbench.gate.baseline import Baseline, Scored, _write, find_baselines, update_baseline, write_baseline
from vlbench.gate.rules import Rule, Rules, read_rules
from vlbench.gate.verdict import Check, Verdict, check_results, judge, worst
from vlbench.leaderboard.store import write_result
from vlbench.result import SampleCounts
from vlbench.stats.drop import Drop
from vlbench.types import Metric, SampleRow

if TYPE_CHECKING:
    from pathlib import Path


def scored(name: str, wrong: int, count: int = 400, task: str = "vqa") -> Scored:
    """A model that is wrong on the first ``wrong`` of ``count`` questions, one an image."""
    rows = [SampleRow(f"{i}", f"{i}", "x", "ok", {"accuracy": float(i >= wrong)}) for i in range(count)]
    made = result({"accuracy": 1 - wrong / count}, name=name, task={"name": task}, run_id=f"{name}-{wrong}")
    return Scored(made, rows)


def checked(folder: Path, current: Scored, rule: Rule | None = None, max_failures: int = 0) -> list[Check]:
    return check_results({"vqa": current}, find_baselines(folder), Rules(rule or Rule(max_drop=0.02)), max_failures)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.021, 0.05, "REGRESSED"), (-0.01, 0.02, "PASS"), (0.02, 0.021, "INCONCLUSIVE"), (0.0, 0.03, "INCONCLUSIVE")],
)
def test_a_verdict_needs_its_bound_on_one_side(low: float, high: float, verdict: str) -> None:
    assert judge(Drop(0.5, 0.5, 0.0, low, high), 0.02) is Verdict[verdict]


def test_pass_regressed_and_inconclusive(tmp_path: Path) -> None:
    write_baseline(tmp_path, scored("old", 40))
    # 400 images: a drop of 10 points has a standard error of 1.5 points, one of 2.5 points of 0.8.
    for wrong, verdict in ((40, Verdict.PASS), (80, Verdict.REGRESSED), (50, Verdict.INCONCLUSIVE)):
        (found,) = checked(tmp_path, scored("new", wrong))
        assert found.verdict is verdict
        assert found.drop is not None and found.drop.value == pytest.approx((wrong - 40) / 400)
    # On this very benchmark nothing is uncertain: 2.5 points are more than 2, and 2 are not.
    rule = Rule(max_drop=0.02, estimand="benchmark")
    assert checked(tmp_path, scored("new", 50), rule)[0].verdict is Verdict.REGRESSED
    assert checked(tmp_path, scored("new", 48), rule)[0].verdict is Verdict.PASS


def test_less_is_better_turns_the_drop_round(tmp_path: Path) -> None:
    def ranked(value: float) -> Scored:
        made = result({"mean_rank": Metric(value, higher_is_better=False)}, task={"name": "vqa"})
        return Scored(made, [SampleRow(f"{i}", f"{i}", "", "ok", {"mean_rank": value}) for i in range(50)])

    write_baseline(tmp_path, ranked(2.0))
    for value, verdict in ((3.0, Verdict.REGRESSED), (1.0, Verdict.PASS)):
        (found,) = checked(tmp_path, ranked(value))
        assert found.verdict is verdict and found.drop is not None and found.drop.value == value - 2.0


def test_the_anchor_catches_slow_drift(tmp_path: Path) -> None:
    """Each step stays within 2 points, both together do not."""
    rule = Rule(max_drop=0.02, estimand="benchmark")
    write_baseline(tmp_path, scored("v1", 0))
    assert [one.against for one in checked(tmp_path, scored("v2", 6), rule)] == ["baseline"]
    update_baseline(tmp_path, scored("v2", 6))
    found = {one.against: one.verdict for one in checked(tmp_path, scored("v3", 12), rule)}
    assert found == {"baseline": Verdict.PASS, "anchor": Verdict.REGRESSED}


def test_other_signature_other_samples_failures_and_missing_ones(tmp_path: Path) -> None:
    write_baseline(tmp_path, scored("old", 40))
    new = scored("new", 40)
    other = dataclasses.replace(new.result, signature=new.result.signature.replace("data:abcd", "data:beef"))
    (found,) = checked(tmp_path, Scored(other, new.rows))
    assert found.verdict is Verdict.NOT_COMPARABLE and "data (abcd against beef)" in found.reason
    with pytest.raises(NotComparable, match="data"):
        update_baseline(tmp_path, Scored(other, new.rows))
    assert checked(tmp_path, Scored(new.result, new.rows[1:]))[0].verdict is Verdict.NOT_COMPARABLE
    failed = dataclasses.replace(new.result, samples=SampleCounts(400, 399, 1, ("7: no picture",)))
    (found,) = checked(tmp_path, Scored(failed, new.rows))
    assert found.verdict is Verdict.FAILED and "7: no picture" in found.reason
    assert checked(tmp_path, Scored(failed, new.rows), max_failures=1)[0].verdict is Verdict.PASS
    with pytest.raises(UsageError, match="no baseline is made of it"):
        write_baseline(tmp_path, Scored(failed, new.rows), force=True)
    (found,) = check_results({"vcr": new}, find_baselines(tmp_path), Rules())
    assert found.verdict is Verdict.NOT_COMPARABLE and "no baseline of vcr" in found.reason


def test_a_proven_regression_counts_before_all_else() -> None:
    checks = [Check("t", "baseline", "m", Rule(), verdict) for verdict in Verdict]
    assert worst(checks) is Verdict.REGRESSED
    assert worst([one for one in checks if one.verdict is not Verdict.REGRESSED]) is Verdict.FAILED
    assert sorted(verdict.exit_code for verdict in Verdict) == [0, 1, 3, 4, 5]


def test_baseline_files_are_small_and_equal_for_equal_results(tmp_path: Path) -> None:
    one = write_baseline(tmp_path / "a", scored("old", 40, 5000))
    two = write_baseline(tmp_path / "b", scored("old", 40, 5000))
    assert one.read_bytes() == two.read_bytes()
    assert one.stat().st_size < 100_000
    kept = find_baselines(one)["vqa"].baseline
    assert kept.rows[0].scores == {"accuracy": 0.0} and kept.rows[0].response == ""
    with pytest.raises(UsageError, match="exists"):
        write_baseline(tmp_path / "a", scored("new", 1))
    one.write_bytes(b"PK nothing")
    with pytest.raises(DataError, match="is not a baseline file"):
        find_baselines(tmp_path / "a")


def test_rules_come_from_the_file(tmp_path: Path) -> None:
    file = tmp_path / "vlbench.toml"
    file.write_text('[check]\nalpha = 0.1\n[check.vqa]\nmetric = "strict"\nmax_drop = 0.03\nestimand = "benchmark"\n')
    rules = read_rules(file)
    assert rules.of("vqa") == Rule("strict", 0.03, 0.1, "benchmark") and rules.of("vcr") == Rule(alpha=0.1)
    assert rules.override(max_drop=0.5, metric=None).of("vqa") == Rule("strict", 0.5, 0.1, "benchmark")
    for text, line in (
        ("[check.vqa]\nmax_dorp = 1", r"unknown key 'max_dorp'; did you mean 'max_drop'\?"),
        ("[check.vqa]\nalpha = 0.7", "alpha 0.7 is not a number between 0 and 0.5"),
        ("[check]\nmax_drop = -1", "max_drop -1 is not a number from 0"),
        ('[check]\nestimand = "all"', "estimand 'all' is none of population, benchmark"),
        ("[check]\nmetric = 1", "metric 1 is not a text"),
        ("check = 1", "check is not a table"),
        ("[chek.vqa]\nmax_drop = 0.5", r"unknown table \[chek\]; did you mean 'check'\?"),
    ):
        file.write_text(text)
        with pytest.raises(UsageError, match=line):
            read_rules(file)
    file.write_text("[check")
    with pytest.raises(DataError, match="cannot be read as TOML"):
        read_rules(file)


def test_the_verbs_with_every_form_of_the_report(tmp_path: Path) -> None:
    baselines, summary = tmp_path / "baselines", tmp_path / "summary.md"
    old, bad = (
        write_result(tmp_path / name, made.result, made.rows)
        for name, made in (("old", scored("old", 40)), ("bad", scored("b|<a>d", 90)))
    )
    done = vlbench("baseline", "write", old, "--baseline", baselines)
    assert done.returncode == 0 and "vqa.baseline.zip" in done.stderr, done.stderr
    where = ("--baseline", baselines, "--max-drop", "0.02")
    done = vlbench("check", tmp_path / "old", *where)
    assert done.returncode == 0 and "vqa: pass: accuracy of old dropped by 0" in done.stdout, done.stderr
    reports = ("--junit", tmp_path / "j.xml", "--markdown", tmp_path / "r.md")
    done = vlbench("check", bad, *where, *reports, "--json", GITHUB_STEP_SUMMARY=str(summary))
    assert done.returncode == 1, done.stderr
    document = json.loads(done.stdout)
    assert (document["verdict"], document["checks"][0]["drop"]["value"]) == ("regressed", pytest.approx(0.125))
    assert summary.read_text() == (tmp_path / "r.md").read_text()
    assert "## vlbench check: regressed" in summary.read_text() and "b\\|&lt;a&gt;d" in summary.read_text()
    suite = ElementTree.fromstring((tmp_path / "j.xml").read_text())[0]
    assert suite.attrib["failures"] == "1" and suite[0][0].tag == "failure"
    assert re.search("shown to exceed 2 points", suite[0][0].attrib["message"])
    plugin = ROOT / "tests" / "support" / "colours.py"
    model = ("--model", "colours", "--plugin", plugin, "--tasks", "vcr", "--output", tmp_path / "none")
    done = here("check", *where, *model)
    assert done.code == 3 and "there is no baseline of vcr" in done.out and not (tmp_path / "none").exists(), done.err
    for arguments, line in (
        ((), "give results to check, or --model M"),
        ((bad, "--metric", "acuracy"), "no metric 'acuracy'; did you mean 'accuracy'?"),
        ((bad, "--alpha", "2"), "alpha 2.0 is not a number between"),
        ((bad, "--baseline", tmp_path / "none"), "there is no baseline in"),
        ((bad, "--model", "colours"), "give no results"),
        ((bad, "--limit", "5"), "--limit is for --model: results that are there were made without it"),
        ((bad, "--max-failures", "-1"), "Invalid value for '--max-failures'"),
        ((bad, "--tasks", "all"), "--tasks all is for --model"),
        ((bad, "--tasks", "vqaa"), "unknown task 'vqaa'; did you mean 'vqa'"),
        ((bad, "--tasks", "vcr", "--json"), None),
    ):
        done = here("check", *where, *arguments)
        if line is None:
            assert done.code == 4 and "no result of vcr was given" in done.out, done.err
        else:
            assert done.code == 2 and line in done.err, done.err


def test_any_damage_of_a_baseline_file_is_one_line(tmp_path: Path) -> None:
    """A flipped byte within the packed stream is an error of zlib, which is no error of zip files."""
    path = write_baseline(tmp_path, scored("old", 40))
    whole = path.read_bytes()
    for place in range(0, len(whole), 41):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        with contextlib.suppress(DataError):
            find_baselines(path)


def test_two_baselines_of_one_task_are_refused(tmp_path: Path) -> None:
    """The last by name was taken without a word."""
    path = write_baseline(tmp_path, scored("old", 40))
    path.with_name("older.baseline.zip").write_bytes(path.read_bytes())
    with pytest.raises(DataError, match="are both baselines of vqa; remove one of them"):
        find_baselines(tmp_path)


def test_a_task_that_the_model_can_no_longer_do_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Under ``--tasks all`` it was left out, so that the gate was open for a model that had lost a capability."""
    baseline = scored("old", 40)
    write_baseline(tmp_path / "bl", Scored(dataclasses.replace(baseline.result, task=CAPTIONS), baseline.rows))
    plugin = ROOT / "tests" / "support" / "colours.py"
    arguments = ["check", "--model", "colours", "--plugin", plugin, "--tasks", "all", "--limit", 2, "--device", "cpu"]
    arguments += ["--data", "scenes", "--baseline", tmp_path / "bl", "--output", tmp_path / "out"]
    run_app(list(map(str, arguments)))
    assert "coco_caption: failed: coco_caption needs generate" in capsys.readouterr().out


def test_the_rows_must_give_the_values_of_both_results(tmp_path: Path) -> None:
    """A baseline at 1 fits any mean: a mean over classes was then judged as one over samples."""
    rows = [SampleRow(f"{i}", f"{i}", "x", "ok", {"accuracy": 1.0}, {"class": "abb"[i % 3]}) for i in range(300)]
    old = Scored(result({"accuracy": 1.0}, task={"name": "vqa"}, run_id="old"), rows)
    write_baseline(tmp_path, old)
    # Wrong on half of class a: 1/6 of the samples and, over two classes, a quarter.
    worse = [dataclasses.replace(row, scores={"accuracy": float(i % 6 > 0)}) for i, row in enumerate(rows)]
    new = Scored(result({"accuracy": 0.75}, task={"name": "vqa"}, run_id="new"), worse)
    (found,) = checked(tmp_path, new)
    assert found.drop is not None and found.drop.value == pytest.approx(0.25)
    bare = [dataclasses.replace(row, scores={}) for row in rows]
    with pytest.raises(UsageError, match="accuracy of vqa cannot be computed from its samples"):
        checked(tmp_path, Scored(new.result, bare))


def test_a_report_that_cannot_be_written_does_not_hide_the_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = scored("old", 40), scored("new", 80)
    write_baseline(tmp_path / "bl", old)
    path = write_result(tmp_path, new.result, new.rows)
    assert run_app(["check", str(path), "--baseline", str(tmp_path / "bl"), "--junit", str(tmp_path)]) == 2
    out, err = capsys.readouterr()
    assert "vqa: regressed" in out and f"cannot write {tmp_path}" in err


def test_baselines_are_verified_from_their_scores(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The hook of ``.pre-commit-hooks.yaml``: a number that was edited, an anchor that measures something else."""

    def whole(name: str, wrong: int) -> Scored:
        made = scored(name, wrong)
        return Scored(dataclasses.replace(made.result, samples=SampleCounts(400, 400, 0)), made.rows)

    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    write_baseline(tmp_path / "good", whole("v1", 40))
    good = tmp_path / "good" / "vqa.baseline.zip"
    assert re.search(hook["files"], str(good))
    verb = hook["entry"].split()[1:]
    assert run_app([*verb, str(good)]) == 0
    assert capsys.readouterr().out == f"ok {good}: vqa, 400 samples\n"

    edited = whole("v1", 40)
    better = dataclasses.replace(edited.result, metrics={"accuracy": Metric(0.95)})
    write_baseline(tmp_path / "edited", Scored(better, edited.rows))
    other = dataclasses.replace(whole("v2", 40).result, signature="another", run_id="another")
    _write(tmp_path / "mixed" / "vqa.baseline.zip", Baseline(Scored(other, edited.rows), edited))
    assert run_app([*verb, str(tmp_path / "edited"), str(tmp_path / "mixed")]) == 2
    said = capsys.readouterr()
    assert "baseline: accuracy is 0.95, which the rows do not give" in said.out
    assert "baseline and anchor have different signatures" in said.out
    assert "2 baselines are not what their scores give" in said.err
