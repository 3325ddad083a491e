"""Build a site of many results and measure how fast it opens.

    python benchmarks/site_scale.py                      # 10,000 results, 1,000,000 sample rows
    python benchmarks/site_scale.py --models 20 --rows 50

Made-up models answer made-up questions of 20 tables; the pages are opened from the file system in headless Chromium.
Printed: seconds to build, size, and for each page the first paint and the time until its content is there (the median
of five visits).
"""

from __future__ import annotations

import argparse
import random
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from vlbench.leaderboard.site import SiteOptions, build_site, read_document
from vlbench.leaderboard.store import write_result
from vlbench.plugins import load_plugins
from vlbench.result import ModelInfo, Result, SampleCounts, TaskInfo
from vlbench.types import Metric, SampleRow

VISITS = 5
PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null"


def made_up(model: int, table: int, rows: int, skill: float) -> tuple[Result, list[SampleRow]]:
    """Return a result with its rows; ``skill`` is the share of right answers to expect."""
    chance = random.Random(1000 * model + table)
    scored = [
        SampleRow(
            str(i),
            str(i // 2),
            f"answer {i % 7} of {model}",
            "ok",
            {"accuracy": float(chance.random() < skill)},
            {"answer_type": ("yes/no", "number", "other")[i % 3]},
        )
        for i in range(rows)
    ]
    mean = sum(row.scores["accuracy"] for row in scored) / rows
    half = 1.96 * (mean * (1 - mean) / rows) ** 0.5
    metric = Metric(mean, ci95=(max(0.0, mean - half), min(1.0, mean + half)))
    about = TaskInfo(
        f"task{table}", 1, "made_up", "test", "generate", "none", f"sha256:{table}", {"questions": rows}, False
    )
    info = ModelInfo(
        f"model {model:04}", "made_up", "", f"sha256:{model:064x}", 10**6 * (model + 1), "float32", "sha256:0"
    )
    result = Result(
        run_id=f"{model}-{table}",
        created="2026-11-24T02:00:00Z",
        model=info,
        task=about,
        signature=f"task{table}:1|made_up:test|n:{rows}",
        samples=SampleCounts(rows, rows, 0),
        primary_metric="accuracy",
        metrics={"accuracy": metric},
        cost={"samples_per_second": 1.0 + chance.random() * 100},
        environment={},
        command=("vlbench", "run", "--model", f"model {model:04}"),
    )
    return result, scored


def write_results(folder: Path, models: int, tables: int, rows: int) -> None:
    """Write a result of every model on every table."""
    for model in range(models):
        skill = 0.2 + 0.7 * random.Random(model).random()
        for table in range(tables):
            write_result(folder, *made_up(model, table, rows, skill))


def visit(browser: Any, address: str) -> tuple[float, float]:
    """Return milliseconds to the first paint and to the content of a page."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.goto(address, wait_until="commit")
    page.wait_for_selector("#content:not([aria-busy])")
    ready = page.evaluate("performance.now()")
    paint = page.evaluate(PAINT)
    context.close()
    return float(paint or ready), float(ready)


def measure(site: Path) -> None:
    """Print how fast the pages of a site open."""
    from playwright.sync_api import sync_playwright

    index = read_document(site, "index")
    group = read_document(site, f"group-{index['groups'][0]['id']}")
    first = group["entries"][0]
    pages = {
        "overview": "index.html",
        "task": f"task.html?id={group['id']}",
        "model": f"model.html?id={first['model']}",
        "comparison": f"compare.html?id={group['comparisons'][0][2]}",
        "samples": f"samples.html?group={group['id']}&result={first['id']}",
    }
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for name, address in pages.items():
            times = [visit(browser, f"file://{site}/{address}") for _ in range(VISITS)]
            paint, ready = (statistics.median(column) for column in zip(*times, strict=True))
            print(f"{name:12} first paint {paint:6.0f} ms   content {ready:6.0f} ms")
        browser.close()


def main() -> None:
    """Build, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", type=int, default=500)
    parser.add_argument("--tables", type=int, default=20)
    parser.add_argument("--rows", type=int, default=100, help="sample rows a result")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        results, site = Path(place) / "results", Path(place) / "site"
        started = time.perf_counter()
        write_results(results, options.models, options.tables, options.rows)
        print(f"wrote {options.models * options.tables} results in {time.perf_counter() - started:.0f} s")
        started = time.perf_counter()
        count = build_site([results], site, load_plugins(), SiteOptions())
        files = [file.stat().st_size for file in site.rglob("*") if file.is_file()]
        print(f"built {count} results, {count * options.rows} rows in {time.perf_counter() - started:.0f} s: ", end="")
        print(f"{len(files)} files, {sum(files) / 1e6:.0f} MB")
        measure(site)


if __name__ == "__main__":
    main()
