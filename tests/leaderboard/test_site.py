"""The static site: its documents, and its pages in a real browser."""

from __future__ import annotations

import dataclasses
import re
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from tests.support.results import result
from vlbench.cli.app import run_app
from vlbench.errors import DataError
from vlbench.leaderboard.site import SiteOptions, build_site, read_document
from vlbench.leaderboard.site_best import standings
from vlbench.leaderboard.store import write_result
from vlbench.plugins import load_plugins
from vlbench.runner.driver import load_dataset
from vlbench.stats.bootstrap import with_intervals
from vlbench.types import Metric, SampleRow

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

SCRIPT = "<script>alert(1)</script>"
MARKUP = "<b onmouseover=alert(2)>a bold</b> caption & more"
COUNT = 300


def _rows(samples: Any, right: int) -> list[SampleRow]:
    """Answers of which the first ``right`` are the annotators', and one that holds markup."""
    rows = []
    for i, sample in enumerate(samples):
        answer = sample.answers[0] if i < right else MARKUP
        slices = {"answer_type": sample.answer_type}
        rows.append(
            SampleRow(sample.question_id, sample.image_id, answer, "ok", {"accuracy": float(i < right)}, slices)
        )
    return rows


def _write(folder: Path, name: str, rows: list[SampleRow], task: dict[str, Any], **model: Any) -> None:
    mean = sum(row.scores["accuracy"] for row in rows) / len(rows)
    metrics = with_intervals(rows, {"accuracy": Metric(mean)}, 100)
    made = result(metrics, name=name, task=task, model=model, run_id=f"run of {name}")
    cost = {"samples_per_second": 10.0 + len(name), "peak_memory_mib": 100 + len(name)}
    made = dataclasses.replace(made, cost=cost, command=("vlbench", "run", "--model", name))
    write_result(folder, made, rows)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    dataset = load_dataset(load_plugins().task("vqa").load()(), None, None, COUNT)
    scenes = {
        **{"name": "vqa", "dataset": dataset.name, "split": dataset.split, "limit": COUNT},
        **{"fingerprint": dataset.fingerprint, "counts": dict(dataset.counts)},
    }
    for name, right in (("good", 270), ("nearly as good", 268), (SCRIPT, 120)):
        _write(folder, name, _rows(dataset.samples, right), scenes)
    # The same samples as of a dataset that nobody may publish.
    closed = {**scenes, "dataset": "vqa", "limit": None}
    for name, right in (("good", 200), (SCRIPT, 100)):
        _write(folder, name, _rows(dataset.samples, right), closed)
    return folder


@pytest.fixture(scope="module")
def site(results: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out") / "site"
    assert build_site([results], out, load_plugins(), SiteOptions(title=f"Board {SCRIPT}")) == 5
    return out


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("there is no chromium on the PATH, which the tests of the site open it in")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened
        opened.close()


class Visit:
    """A page of the site in a window; what it complains of and what it asks for is kept."""

    def __init__(self, browser: Browser, site: Path, width: int, height: int, scheme: str = "light") -> None:
        self.site = site
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)  # type: ignore[arg-type]
        self.page: Page = context.new_page()
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: self.complaints.append("a script of a name ran"))
        self.page.on("request", lambda request: self.requests.append(request.url))

    def open(self, name: str) -> Page:
        self.page.goto(f"file://{self.site}/{name}")
        self.page.wait_for_selector("#content:not([aria-busy])")
        return self.page

    def close(self) -> None:
        assert self.complaints == []
        assert all(url.startswith((f"file://{self.site}/", "data:")) for url in self.requests), self.requests
        self.page.context.close()


@pytest.fixture(params=[(1280, 900, "light"), (390, 844, "dark")], ids=["desktop", "phone"])
def visit(request: pytest.FixtureRequest, browser: Browser, site: Path) -> Iterator[Visit]:
    made = Visit(browser, site, *request.param)
    yield made
    made.close()


def _groups(site: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    groups = read_document(site, "index")["groups"]
    shown = next(group for group in groups if group["dataset"].startswith("scenes/"))
    other = next(group for group in groups if group is not shown)
    return dict(read_document(site, f"group-{shown['id']}")), dict(read_document(site, f"group-{other['id']}"))


def _wait(page: Page, selector: str, count: int) -> None:
    """Wait until so many are there. (A waiting function is text that is evaluated, which the site's policy forbids.)"""
    from playwright.sync_api import expect

    expect(page.locator(selector)).to_have_count(count)


def _names(page: Page) -> list[str]:
    return page.locator("tbody th").all_inner_texts()


def test_overview_sorts_and_filters(visit: Visit) -> None:
    page = visit.open("index.html")
    assert _names(page) == ["good", "nearly as good", SCRIPT]
    page.get_by_role("button", name="vqa accuracy").first.click()
    assert _names(page) == [SCRIPT, "nearly as good", "good"]
    assert page.locator("th[aria-sort=ascending]").count() == 1
    page.get_by_label("Model", exact=True).fill("NEARLY")
    _wait(page, "tbody th", 1)
    assert _names(page) == ["nearly as good"]
    page.get_by_label("Model", exact=True).fill("")
    page.get_by_label("Dataset").select_option("vqa")
    _wait(page, "tbody th", 2)
    assert "nearly as good" not in _names(page)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_from_the_overview_to_a_comparison_with_its_flipped_samples(visit: Visit, site: Path) -> None:
    shown, _ = _groups(site)
    page = visit.open("index.html")
    page.locator(f"a[href='task.html?id={shown['id']}']").first.click()
    page.wait_for_selector("#content:not([aria-busy])")
    assert page.get_by_role("img", name="accuracy against seconds").is_visible()
    page.get_by_role("link", name=f"compare {SCRIPT} with good").click()
    page.wait_for_selector("#content:not([aria-busy])")
    assert f"good is better than {SCRIPT} in accuracy: +50.00 points" in page.locator(".verdict").inner_text()
    card = page.locator(".card").first
    assert MARKUP in card.inner_text() and "reference" in card.inner_text()
    card.scroll_into_view_if_needed()
    page.wait_for_load_state("networkidle")
    assert page.evaluate("document.querySelector('.card img').naturalWidth > 0")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_samples_are_browsed_and_searched_in_parts(visit: Visit, site: Path) -> None:
    shown, other = _groups(site)
    good = next(entry for entry in shown["entries"] if entry["label"] == "good")
    assert good["parts"] == 2
    page = visit.open(f"samples.html?group={shown['id']}&result={good['id']}")
    assert page.locator(".card").count() == 24
    assert not any(f"{good['id']}-1.js" in url for url in visit.requests)
    page.get_by_label("Score").select_option("wrong")
    page.locator(".score", has_text="0.00").first.wait_for()
    page.get_by_label("Search").fill("BOLD</B> caption")
    page.locator(".card", has_text="a bold").first.wait_for()
    assert any(f"{good['id']}-1.js" in url for url in visit.requests)
    page.get_by_label("Search").fill("no such words")
    _wait(page, ".card", 0)
    page = visit.open(f"samples.html?group={other['id']}")
    assert page.locator(".card").count() == 24 and page.locator(".card img").count() == 0
    assert "are not in this site" in page.inner_text("#content")


def test_pages_have_no_serious_barrier_and_name_what_is_missing(visit: Visit, site: Path) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    shown, _ = _groups(site)
    model = next(entry["model"] for entry in shown["entries"] if entry["label"] == SCRIPT)
    addresses = ["index.html", f"task.html?id={shown['id']}", f"model.html?id={model}"]
    addresses += [f"compare.html?id={shown['comparisons'][0][2]}", f"samples.html?group={shown['id']}"]
    for address in addresses:
        page = visit.open(address)
        found = axe.run(page, options={"preload": False}).response["violations"]
        assert [(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in ("serious", "critical")] == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), address
    assert SCRIPT in visit.open(f"model.html?id={model}").inner_text("h1")
    assert "its address names nothing" in visit.open("task.html?id=../../evil").inner_text("[role=alert]")


def test_best_is_what_a_test_does_not_tell_from_the_leader(site: Path) -> None:
    shown, _ = _groups(site)
    assert [(entry["label"], entry["best"]) for entry in shown["entries"]] == [
        ("good", True),
        ("nearly as good", True),
        (SCRIPT, False),
    ]
    # Untested and worse is not best; untested and equal is.
    assert [one.best for one in standings([0.5, 0.5, 0.4], [None, None, None])] == [True, True, False]


def test_a_closed_dataset_gives_ids_alone_and_no_markup_is_left_raw(site: Path, results: Path) -> None:
    _, other = _groups(site)
    assert not other["shown"] and not list(site.glob(f"data/truth-{other['id']}-*"))
    assert "question" not in read_document(site, f"compare-{other['comparisons'][0][2]}")["flips"][0]
    for page in site.glob("*.html"):
        assert "&lt;script&gt;alert(1)" in page.read_text() and "<script>alert" not in page.read_text()
        assert not re.search(r"https?://", page.read_text())
    for script in site.glob("assets/*.js"):
        assert not re.search(r"innerHTML|insertAdjacentHTML|document\.write|\bfetch\(", script.read_text())
    again = site.parent / "again"
    build_site([results], again, load_plugins(), SiteOptions(title=f"Board {SCRIPT}"))
    files = [file.relative_to(site) for file in sorted(site.rglob("*")) if file.is_file()]
    assert all((site / file).read_bytes() == (again / file).read_bytes() for file in files)


def test_what_texts_point_to_is_marked_in_the_pictures(browser: Browser, tmp_path: Path) -> None:
    """Of VCR a site has pictures with marks, of which the same item has one whichever model answered."""
    vcr = load_plugins().task("vcr").load()()
    dataset = load_dataset(vcr, None, None, 4)
    task = {
        **{"name": "vcr", "dataset": dataset.name, "split": dataset.split, "limit": 4},
        **{"fingerprint": dataset.fingerprint, "counts": dict(dataset.counts)},
    }
    for name, right in (("good", 4), ("bad", 0)):
        rows = [
            SampleRow(s.annot_id, s.image_id, "3 0", "ok", {"accuracy": float(i < right)})
            for i, s in enumerate(dataset.samples)
        ]
        _write(tmp_path / "results", name, rows, task)
    site = tmp_path / "site"
    assert build_site([tmp_path / "results"], site, load_plugins(), SiteOptions()) == 2
    drawn = {view.images[0].key for _, view in vcr.views(dataset)}
    assert len(list((site / "pictures").iterdir())) == len(drawn) < 4, "two items point to the same in one picture"
    (group,) = read_document(site, "index")["groups"]
    comparison = read_document(site, f"group-{group['id']}")["comparisons"][0][2]
    flip = read_document(site, f"compare-{comparison}")["flips"][0]
    sample = next(sample for sample in dataset.samples if sample.annot_id == flip["id"])
    assert flip["answers"] == [f"{sample.answers[3]} / {sample.rationales[0]}"] * 2
    with Image.open(site / "pictures" / flip["pictures"][0]) as marked:
        plain = sample.image.load()
        assert marked.size == plain.size and np.any(np.asarray(marked.convert("RGB")) != np.asarray(plain))
    visit = Visit(browser, site, 1280, 900)
    page = visit.open(f"compare.html?id={comparison}")
    _wait(page, ".card img", 4)
    page.locator(".card img").first.scroll_into_view_if_needed()
    page.screenshot(path=tmp_path / "compare.png", full_page=True)
    visit.close()


def test_a_result_without_its_samples_is_named(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(results, tmp_path / "results")
    table = sorted((tmp_path / "results").glob("*.samples.parquet"))[0]
    table.unlink()
    assert run_app(["leaderboard", "build", str(tmp_path / "results"), "--out", str(tmp_path / "site")]) == 0
    said = capsys.readouterr().err
    assert "1 of 5 results have no table of samples beside them" in said and table.name in said


def test_only_a_site_is_replaced(results: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match="holds something else than a site; choose another --out"):
        build_site([results], tmp_path, load_plugins(), SiteOptions())
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]


def test_the_folder_of_the_shell_is_not_made_anew(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``--out .`` in an empty folder ended with a ``ValueError``: it has no name to put another beside."""
    monkeypatch.chdir(tmp_path)
    for out in (tmp_path.relative_to(tmp_path), tmp_path.parent):
        with pytest.raises(DataError, match="is where you are, and the folder is made anew"):
            build_site([results], out, load_plugins(), SiteOptions())
