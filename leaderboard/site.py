"""A static site of results: pages that read their data as scripts, so that it opens from the file system.

    OUT/index.html task.html model.html compare.html samples.html     the pages
    OUT/assets/       style and scripts, nothing from elsewhere
    OUT/data/         ``NAME.js``, each a call of ``vlbenchData("NAME", …)``, loaded when a page needs it
    OUT/pictures/     pictures of data sets whose terms allow it

The same results give the same bytes. See docs/leaderboard.md.
"""

from __future__ import annotations

import itertools
import json
import secrets
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlbench.errors import DataError, NotComparable
from vlbench.leaderboard import site_data as documents
from vlbench.leaderboard.groups import Entry, Group, group_results, in_order, labels
from vlbench.leaderboard.samples import read_rows
from vlbench.leaderboard.site_best import against_leader, slim, standings
from vlbench.leaderboard.site_truth import NO_TRUTHS, load_truths
from vlbench.leaderboard.store import find_results, samples_path

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vlbench.leaderboard.site_truth import Truths
    from vlbench.plugins import Plugins
    from vlbench.result import Result
    from vlbench.runner.progress import Reporter
    from vlbench.types import SampleRow

MARKER = "vlbench-site.json"
PAGES = {
    "index": "Overview",
    "task": "Task",
    "model": "Model",
    "compare": "Comparison",
    "samples": "Samples",
}
PART = 250
COMPARED = 5
BARE_SHOWN = 3
SLICED = 20
_HERE = Path(__file__).parent / "pages"


@dataclass(frozen=True)
class SiteOptions:
    """What a site is made of. ``data``: see ``load_truths``; the ``compared`` best of a group have comparison pages."""

    title: str = "vlbench leaderboard"
    compared: int = COMPARED
    data: str | None = None


def build_site(
    paths: Sequence[Path], out: Path, plugins: Plugins, options: SiteOptions, reporter: Reporter | None = None
) -> int:
    """Build a site of the results in ``paths`` into ``out``, and return how many it holds.

    An earlier site in ``out`` is replaced at the end. Raises ``DataError`` where a result cannot be read, ``out`` holds
    anything else, or the disk refuses.
    """
    check_out(out)
    part = out.with_name(f".{out.name}.{secrets.token_hex(4)}.part")
    try:
        part.mkdir(parents=True)
        pictures = write_pages(paths, part, plugins, options, reporter)
        for name, image in pictures.images.items():
            (part / "pictures" / name).write_bytes(documents.picture_bytes(image))
        count = json.loads((part / MARKER).read_text())["results"]
        if out.exists():
            shutil.rmtree(out)
        part.rename(out)
        return int(count)
    except OSError as error:
        raise DataError(
            f"cannot write {out} ({error.strerror or error}); make room, or choose another --out"
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def check_out(out: Path) -> None:
    """Raise ``DataError`` unless ``out`` is free, an empty folder, or a site."""
    if Path.cwd().is_relative_to(out.resolve()):
        raise DataError(f"{out} is where you are, and the folder is made anew; choose another --out")
    if out.exists() and not out.is_dir():
        raise DataError(f"{out} is not a folder; choose another --out")
    if out.is_dir() and any(out.iterdir()) and not (out / MARKER).is_file():
        raise DataError(f"folder {out} holds something else than a site; choose another --out")


def write_pages(
    paths: Sequence[Path], out: Path, plugins: Plugins, options: SiteOptions, reporter: Reporter | None = None
) -> documents.Pictures:
    """Write a site into the empty folder ``out``, except the pictures, and return these.

    The reporter is warned of results without their tables of samples.
    """
    for name in ("data", "assets", "pictures"):
        (out / name).mkdir()
    site = _Site(find_results(list(paths)), out, plugins, options)
    site.write()
    _write_shells(out, options.title)
    if site.bare and reporter is not None:
        names = ", ".join(site.bare[:BARE_SHOWN]) + (" and others" if len(site.bare) > BARE_SHOWN else "")
        reporter.warn(
            f"{len(site.bare)} of {len(site.files)} results have no table of samples beside them, and so no samples, "
            f"slices or comparisons in the site: {names}"
        )
    (out / MARKER).write_text(json.dumps({"results": len(site.files)}) + "\n")
    return site.pictures


def _write_shells(out: Path, title: str) -> None:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined)
    shell = environment.get_template("shell.html.j2")
    for name, heading in PAGES.items():
        html = shell.render(page=name, heading=heading, title=title)
        (out / f"{name}.html").write_text(html, encoding="utf-8")
    for asset in sorted(_HERE.iterdir()):
        if asset.suffix in (".css", ".js"):
            shutil.copyfile(asset, out / "assets" / asset.name)


def _parts(rows: Sequence[SampleRow]) -> list[Sequence[SampleRow]]:
    return [rows[start : start + PART] for start in range(0, len(rows), PART)]


class _Site:
    """One building of a site: groups one after another, so that the rows of one group alone are in memory."""

    def __init__(self, found: Sequence[tuple[Path, Result]], out: Path, plugins: Plugins, options: SiteOptions) -> None:
        """Name the models of all results."""
        self.files = {documents.result_id(result): path for path, result in found}
        self.out, self.plugins, self.options = out, plugins, options
        self.pictures = documents.Pictures()
        self.groups = group_results(in_order([result for _, result in found]))
        self.keys = self._model_keys()
        self.models = self._models()
        self.bare: list[str] = []
        """Names of results that have no table of samples."""
        self.cells: list[list[Any]] = []
        self.seconds: dict[str, list[tuple[int, float]]] = {}

    def _model_keys(self) -> dict[str, str]:
        """Return the model of each result: results that would share a cell of the overview are different models."""
        keys = {}
        for group in self.groups:
            taken: Counter[str] = Counter()
            for entry in group.entries:
                key = documents.model_key(entry.result)
                taken[key] += 1
                keys[documents.result_id(entry.result)] = key if taken[key] == 1 else f"{key}{taken[key]:x}"
        return keys

    def _models(self) -> dict[str, dict[str, Any]]:
        examples: dict[str, Result] = {}
        for group in self.groups:
            for entry in group.entries:
                examples.setdefault(self.keys[documents.result_id(entry.result)], entry.result)
        names = labels([documents.model_alone(result) for result in examples.values()])
        return {
            key: documents.model_json(result, key, name)
            for (key, result), name in zip(examples.items(), names, strict=True)
        }

    def write(self) -> None:
        """Write all documents."""
        for place, group in enumerate(self.groups):
            self._write_group(place, group)
        for key, model in self.models.items():
            self._put(f"model-{key}", model)
        listed = [
            {key: model[key] for key in ("id", "label", "adapter", "parameters")} | {"seconds": self._cost(model["id"])}
            for model in self.models.values()
        ]
        groups = [documents.group_json(group) for group in self.groups]
        self._put("index", {"groups": groups, "models": listed, "cells": self.cells})

    def _cost(self, key: str) -> float | None:
        """Return the seconds that a model took for 1,000 samples, over all its results that tell."""
        told = self.seconds.get(key, [])
        samples = sum(count for count, _ in told)
        return sum(count * taken for count, taken in told) / samples if samples else None

    def _put(self, name: str, document: object) -> None:
        text = json.dumps(document, separators=(",", ":"), allow_nan=False)
        (self.out / "data" / f"{name}.js").write_text(f'vlbenchData("{name}",{text});\n', encoding="ascii")

    def _write_group(self, place: int, group: Group) -> None:
        identifier = documents.group_id(group)
        truths = load_truths(group.first, self.options.data, self.plugins)
        leader: tuple[Result, list[SampleRow]] | None = None
        order: dict[str, int] = {}
        p: list[float | None] = []
        kept: list[tuple[Entry, list[SampleRow]]] = []
        parts: list[int] = []
        for entry in group.entries:
            rows = self._rows(entry.result)
            if rows and not order:
                order = {row.sample_id: i for i, row in enumerate(rows)}
                self._write_truths(identifier, rows, truths)
            rows.sort(key=lambda row: order.get(row.sample_id, len(order)))
            parts.append(self._write_samples(entry.result, rows, truths))
            own = slim(entry.result, rows)
            p.append(against_leader(leader, own) if leader is not None and rows else None)
            leader = leader or own
            if len(kept) < max(SLICED, self.options.compared) and rows:
                kept.append((entry, rows))
        self._put(f"slices-{identifier}", documents.slices_json(kept[:SLICED]))
        compared = self._write_comparisons(identifier, kept[: self.options.compared], truths)
        self._write_entries(place, group, p, parts, compared, truths is not NO_TRUTHS)

    def _rows(self, result: Result) -> list[SampleRow]:
        """Return the rows of a result; none where its table was not copied along."""
        path = samples_path(self.files[documents.result_id(result)])
        if path.is_file():
            return read_rows(path)
        self.bare.append(path.name)
        return []

    def _write_truths(self, group: str, rows: Sequence[SampleRow], truths: Truths) -> None:
        if truths is NO_TRUTHS:
            return
        for part, chunk in enumerate(_parts(rows)):
            shown = [documents.truth_json(truths.by_id.get(row.sample_id), self.pictures) for row in chunk]
            self._put(f"truth-{group}-{part}", shown)

    def _write_samples(self, result: Result, rows: Sequence[SampleRow], truths: Truths) -> int:
        """Write the rows of a result in parts, and return how many there are."""
        chunks = _parts(rows)
        for part, chunk in enumerate(chunks):
            document = documents.samples_json(chunk, result.primary_metric, truths)
            self._put(f"samples-{documents.result_id(result)}-{part}", document)
        return len(chunks)

    def _write_comparisons(
        self, group: str, kept: Sequence[tuple[Entry, list[SampleRow]]], truths: Truths
    ) -> list[tuple[str, str, str]]:
        """Write the comparisons of all pairs; return ids of each pair of results and of their comparison."""
        from vlbench.stats.compare import compare, correct

        found, names = [], []
        for (first, rows), (second, others) in itertools.combinations(kept, 2):
            try:
                # The weaker one is A, so that a difference tells what the better one gains.
                found.append(compare((second.result, others), (first.result, rows)))
            except NotComparable:
                continue
            names.append((second.label, first.label))
        for one, pair in zip(correct(found), names, strict=True):
            document = {**documents.comparison_json(one, pair, truths, self.pictures), "group": group}
            self._put(f"compare-{document['id']}", document)
        return [
            (documents.result_id(c.first), documents.result_id(c.second), documents.comparison_id(c.first, c.second))
            for c in found
        ]

    def _write_entries(
        self,
        place: int,
        group: Group,
        p: Sequence[float | None],
        parts: Sequence[int],
        compared: Sequence[tuple[str, str, str]],
        shown: bool,
    ) -> None:
        names = group.chosen(all_metrics=False)
        standing = standings([entry.result.primary for entry in group.entries], p)
        entries = []
        for rank, (entry, stands) in enumerate(zip(group.entries, standing, strict=True)):
            result = entry.result
            key = self.keys[documents.result_id(result)]
            entries.append({**documents.entry_json(entry, key, stands, names), "parts": parts[rank]})
            self._write_cell(place, group, rank, stands.best)
        document = {
            **documents.group_json(group),
            "metrics": [documents.metric_json(name) for name in names],
            "entries": entries,
            "comparisons": [list(pair) for pair in compared],
            "legend": group.legend(names),
            "shown": shown,
            "others": [
                {"id": documents.group_id(other), "title": other.title, "signature": other.signature}
                for other in self.groups
                if other.first.task.name == group.first.task.name and other is not group
            ][:50],
        }
        self._put(f"group-{document['id']}", document)

    def _write_cell(self, place: int, group: Group, rank: int, best: bool) -> None:
        entry = group.entries[rank]
        result = entry.result
        key = self.keys[documents.result_id(result)]
        self.cells.append(
            [place, key, *documents.value_json(result.metrics[result.primary_metric]), int(best), entry.marks]
        )
        self.models[key]["results"].append({**documents.result_json(result, group, entry, rank + 1), "best": best})
        taken = documents.seconds(result)
        if taken is not None:
            self.seconds.setdefault(key, []).append((result.samples.attempted, taken))


def read_document(folder: Path, name: str) -> Mapping[str, Any]:
    """Return the document ``name`` of a built site, for programs and tests."""
    text = (folder / "data" / f"{name}.js").read_text(encoding="ascii")
    document: Mapping[str, Any] = json.loads(text[text.index(",") + 1 : -len(");\n")])
    return document
