"""Plots: what they show, read back from the figures, and the verb that writes them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.results import result
from vlbench.cli.app import run_app
from vlbench.errors import UsageError
from vlbench.leaderboard.plots import plot_comparisons, plot_results, plot_slices, save_plot
from vlbench.leaderboard.store import write_result
from vlbench.stats.compare import compare, correct
from vlbench.types import Metric, SampleRow

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure

    from vlbench.result import Result


def texts(figure: Figure) -> str:
    """Everything that is written on a figure."""
    from matplotlib.text import Text

    return "\n".join(str(found.get_text()) for found in figure.findobj(Text))  # type: ignore[attr-defined]


def made(name: str, right: int) -> tuple[Result, list[SampleRow]]:
    """A model that is right on the first ``right`` of 40 questions."""
    rows = [
        SampleRow(f"{i}", f"{i}", name, "ok", {"accuracy": float(i < right)}, {"kind": "ab"[i % 2], "objects": i})
        for i in range(40)
    ]
    metrics = {"accuracy": Metric(right / 40, ci95=(right / 40 - 0.1, right / 40 + 0.1))}
    return result(metrics, name=name, task={"name": "vqa"}, run_id=name), rows


def test_bars_stand_for_values_and_scales_are_never_mixed() -> None:
    captions = result({"CIDEr": Metric(1.2, ci95=(1.1, 1.3))}, name="a")
    figure = plot_results([made("a", 20)[0], made("b", 30)[0], captions])
    lengths = {axes.get_xlabel(): [bar.get_width() for bar in axes.patches] for axes in figure.axes}
    assert lengths == {"percent": [75.0, 50.0], "CIDEr": [1.2]}
    assert all(axes.get_xlim()[0] == 0 for axes in figure.axes)
    assert "75.00" in texts(figure) and "1.2000" in texts(figure) and "vqa" in texts(figure)


def test_marks_and_hostile_names_are_written_out() -> None:
    limited, _ = made("$\\frac{a}", 20)
    figure = plot_results([result({"accuracy": 0.5}, name="$\\frac{a}\x1b", task={"name": "vqa", "limit": 5}), limited])
    assert "limited to the first samples" in texts(figure)
    figure.canvas.draw()  # mathematics in a name would raise here


def test_differences_and_slices() -> None:
    pairs = correct([compare(made("old", 20), made(name, right), 200) for name, right in (("new", 36), ("same", 20))])
    figure = plot_comparisons(pairs)
    assert "+40  p" in texts(figure) and "Holm over 2 comparisons" in texts(figure)
    assert figure.axes[0].get_xlabel() == "points"
    figure = plot_slices([made("old", 20), made("new", 30)], "objects (range)", 50)
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["0-9", "10-19", "20-29", "30-39"]
    assert figure.axes[0].yaxis_inverted()


def test_the_verb_and_the_methods(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, right in (("old", 20), ("new", 36)):
        write_result(tmp_path / "results", *made(name, right))
    results = str(tmp_path / "results")
    out = tmp_path / "deep" / "plot.svg"
    for arguments in ([results], [results, "--slice", "kind"], ["old", "new", "--compare", "--results", results]):
        assert run_app(["plot", *arguments, "--bootstrap", "50", "--out", str(out)]) == 0, capsys.readouterr().err
        assert out.read_text().count("old") and "vqa" in out.read_text()
    first = out.read_bytes()
    assert run_app(["plot", *arguments, "--bootstrap", "50", "--out", str(out)]) == 0 and out.read_bytes() == first
    save_plot(made("old", 20)[0].plot(), tmp_path / "one.png")
    assert (tmp_path / "one.png").read_bytes().startswith(b"\x89PNG")
    capsys.readouterr()
    for arguments, line in (
        ([results, "--out", "x.gif"], "its name ends in .png, .svg, .pdf"),
        ([results, "--out", "x.png", "--slice", "knd"], "did you mean 'kind'"),
        ([results, "--out", "x.png", "--slice", "kind", "--compare"], "exclude each other"),
        ([results, "--out", "x.png", "--all-pairs"], "--all-pairs goes with --compare"),
        ([results, "--out", "x.png", "--task", "vqaa"], "no result of task 'vqaa'; did you mean 'vqa'"),
        ([results, "--out", str(out / "x.png")], "choose another --out"),
    ):
        assert run_app(["plot", *arguments]) == 2
        assert line in capsys.readouterr().err


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    missing = ModuleNotFoundError("No module named 'matplotlib'", name="matplotlib")

    class Missing:
        def find_spec(self, name: str, *_: object) -> None:
            if name.partition(".")[0] == "matplotlib":
                raise missing

    monkeypatch.setattr(sys, "meta_path", [Missing(), *sys.meta_path])
    with pytest.raises(UsageError, match=r"pip install 'vlbench\[plot\]'"):
        made("old", 20)[0].plot()
