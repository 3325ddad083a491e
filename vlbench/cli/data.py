"""``vlbench data``: what is here, whether it is whole, and how to get it; and the bundled benchmark on disk."""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vlbench.errors import DataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vlbench.data.source import DataRoot
    from vlbench.plugins import Plugins
    from vlbench.specs import DatasetSpec

DEFECTIVE = 2

data_app = typer.Typer(help="Datasets on disk.", no_args_is_help=True, rich_markup_mode=None)

Data = Annotated[str | None, typer.Option(help="What run takes as --data. Default: $VLBENCH_DATA.")]
Plugin = Annotated[list[str] | None, typer.Option(metavar="FILE", help="A plugin file or module.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else.")]
Names = Annotated[list[str] | None, typer.Argument(metavar="[DATASET]…", help="Default: all that are here.")]


@data_app.command("list")
def list_data(data: Data = None, plugin: Plugin = None, as_json: Json = False) -> None:
    """Show which datasets and splits are here, what is missing, sizes, licences and where to get them."""
    from vlbench.data.inventory import holding

    root = _root(data)
    holdings = [holding(spec, root) for spec in _plugins(plugin).datasets.values()]
    if as_json:
        _print_json([dataclasses.asdict(found) for found in holdings])
        return
    for found in holdings:
        size = "" if found.bytes is None else f", {_megabytes(found.bytes)}"
        here = f"{', '.join(found.here)} in {found.folder}{size}" if found.here else found.reason or "nothing"
        lines = [f"{found.name}", f"  here     {here}"]
        if found.missing:
            lines += [f"  missing  {', '.join(found.missing)}", f"  get      {found.get}"]
        lines += [f"  licence  {found.licence}", f"  source   {found.source}"]
        sys.stdout.write("\n".join(lines) + "\n")


@data_app.command("check")
def check_data(
    datasets: Names = None,
    data: Data = None,
    split: Annotated[str | None, typer.Option(help="Split; default: all that are here.")] = None,
    max_defects: Annotated[int, typer.Option(min=1, help="Lines to print; the rest is counted.")] = 20,
    plugin: Plugin = None,
    as_json: Json = False,
) -> None:
    """Check counts, ids and that every image opens. One line a defect; exit code 2 if there is one."""
    from vlbench.cli.run import data_root
    from vlbench.data.inventory import check

    root, plugins = _root(data), _plugins(plugin)
    # The bundled benchmark is whole by itself: it has other counts than the datasets whose layout it is in.
    official = data_root(data) is not None
    defects: list[dict[str, str]] = []
    splits = _splits(plugins, root, datasets, split)
    for spec, name in splits:
        progress = _progress(f"{spec.name} {name}")
        for line in check(spec, root, name, named=split is not None, official=official, progress=progress):
            defects.append({"dataset": spec.name, "split": name, "defect": line})
            if not as_json and len(defects) <= max_defects:
                sys.stdout.write(f"{spec.name} {name}: {line}\n")
    checked = ", ".join(f"{spec.name} {name}" for spec, name in splits)
    if as_json:
        _print_json(defects)
    elif len(defects) > max_defects:
        sys.stdout.write(f"and {len(defects) - max_defects} more (--max-defects)\n")
    sys.stderr.write(f"checked {checked}: {len(defects) or 'no'} defect{'s' * (len(defects) != 1)}\n")
    if defects:
        raise typer.Exit(DEFECTIVE)


@data_app.command("get")
def get_data(
    datasets: Annotated[list[str], typer.Argument(metavar="DATASET…")],
    data: Annotated[Path | None, typer.Option(help="Folder to fetch into. Default: $VLBENCH_DATA.")] = None,
    split: Annotated[str | None, typer.Option(help="Splits by commas; default: the first (vlbench list).")] = None,
    mirror: Annotated[
        str | None,
        typer.Option(metavar="URL", envvar="VLBENCH_MIRROR", help="In place of scheme and host of every address."),
    ] = None,
    plugin: Plugin = None,
    as_json: Json = False,
) -> None:
    """Fetch what has a public source, resuming; say what must be asked for."""
    from vlbench.data.get import get
    from vlbench.data.public import BY_HAND, PUBLIC

    root = data or (Path(os.environ["VLBENCH_DATA"]) if os.environ.get("VLBENCH_DATA") else None)
    if root is None:
        raise UsageError("nowhere to fetch into; give --data FOLDER, or set VLBENCH_DATA")
    plugins = _plugins(plugin)
    plan = [(spec, name) for spec in _specs(plugins, datasets) for name in _wanted(spec, split)]
    for spec, _ in plan:
        if spec.name not in PUBLIC:
            raise DataError(f"{spec.name} has no public source: {BY_HAND.get(spec.name, f'see {spec.source}')}")
    rows: list[dict[str, Any]] = []
    for spec, name in plan:
        sys.stderr.write(f"{spec.name} {name}: {spec.licence}\n")
        for got in get(root, spec.name, PUBLIC[spec.name][name], mirror, _say):
            rows.append({"dataset": spec.name, "split": name, **dataclasses.asdict(got)})
            if not as_json:
                text = f"{got.status:8} {got.files} files, {_megabytes(got.bytes)}, sha256 {got.sha256}  {got.url}\n"
                sys.stdout.write(text)
    for spec_name in dict.fromkeys(spec.name for spec, _ in plan if spec.name in BY_HAND):
        sys.stderr.write(f"{spec_name}: the rest is not public: {BY_HAND[spec_name]}\n")
    if as_json:
        _print_json(rows)


@data_app.command("make-scenes")
def make_scenes(
    folder: Annotated[Path, typer.Argument(help="Folder to make; it must not exist or be empty.")],
    train: Annotated[int, typer.Option(help="Number of train scenes.")] = 2000,
) -> None:
    """Write the bundled benchmark in the official layouts of COCO, Flickr30K, VQA v2, VCR and Visual Genome."""
    from vlbench.data.scenes.write import write_official

    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"{folder} exists and is not an empty folder; choose another")
    try:
        write_official(folder, train_count=train)
    except OSError as error:
        raise DataError(f"cannot write {folder} ({error.strerror}); choose another folder") from error
    sys.stdout.write(f"scenes written to {folder} (vlbench run --data {folder})\n")


def _root(data: str | None) -> DataRoot:
    from vlbench.cli.run import data_root
    from vlbench.data.roots import open_root

    return open_root(data_root(data))


def _plugins(plugin: Sequence[str] | None) -> Plugins:
    from vlbench.plugins import load_plugins

    plugins = load_plugins(plugin or ())
    for error in plugins.errors:
        sys.stderr.write(f"warning: {error}\n")
    return plugins


def _specs(plugins: Plugins, names: Sequence[str]) -> list[DatasetSpec]:
    from vlbench.plugins import nearest

    for name in names:
        if name not in plugins.datasets:
            raise UsageError(f"unknown dataset {name!r}{nearest(name, plugins.datasets)} (vlbench list datasets)")
    return [plugins.datasets[name] for name in dict.fromkeys(names)]


def _splits(
    plugins: Plugins, root: DataRoot, names: Sequence[str] | None, split: str | None
) -> list[tuple[DatasetSpec, str]]:
    """Return what is to be checked: named splits even where they are not here, otherwise all that are."""
    from vlbench.data.inventory import holding

    chosen = []
    for spec in _specs(plugins, names or list(plugins.datasets)):
        here = holding(spec, root).here
        if names and not spec.loader:
            raise UsageError(f"{spec.name} was registered without a loader; it cannot be checked")
        if names:
            wanted = _wanted(spec, split) if split else list(here)
        else:
            wanted = [name for name in here if not split or name in split.replace(" ", "").split(",")]
        if names and not wanted:
            raise DataError(f"no annotations of {spec.name} in {root.name}; check --data (vlbench data list)")
        chosen += [(spec, name) for name in wanted]
    if not chosen:
        raise DataError(f"no dataset is in {root.name}; check --data (vlbench data list)")
    return chosen


def _wanted(spec: DatasetSpec, split: str | None) -> list[str]:
    wanted = [name.strip() for name in split.split(",")] if split else list(spec.splits[:1])
    for name in wanted:
        if name not in spec.splits:
            raise UsageError(f"unknown split {name!r} of {spec.name}; it has: {', '.join(spec.splits)}")
    return wanted


def _progress(what: str) -> Callable[[int, int], None] | None:
    if not sys.stderr.isatty():
        return None

    def show(done: int, total: int) -> None:
        if done % 100 == 0 or done == total:
            sys.stderr.write(f"\r{what}: {done:,} of {total:,} images" + ("\n" if done == total else ""))

    return show


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"


def _print_json(rows: object) -> None:
    import json

    sys.stdout.write(json.dumps(rows, indent=2) + "\n")


@data_app.command("df")
def document_frequencies(
    references: Annotated[Path, typer.Option(metavar="FILE", help="Captions in one of the official layouts.")],
    output: Annotated[Path, typer.Option(metavar="FILE", help="File to write; it must not exist.")],
    split: Annotated[str | None, typer.Option(help="Split, where the file holds several.")] = None,
) -> None:
    """Count document frequencies, by which CIDEr can score a small set as a large one (--task-arg df=FILE)."""
    from vlbench.data.coco import load_references
    from vlbench.metrics.document_frequencies import count_document_frequencies

    if output.exists():
        raise DataError(f"{output} exists; choose another --output")
    dataset = load_references(references, split)
    made = count_document_frequencies([[caption.text for caption in s.captions] for s in dataset.samples])
    try:
        output.write_bytes(made.to_bytes())
    except OSError as error:
        raise DataError(f"cannot write {output} ({error.strerror}); choose another --output") from error
    sys.stdout.write(
        f"{output}: {len(made.counts)} n-grams of {made.images} images of {dataset.name} {dataset.split} "
        f"(vlbench run --task-arg coco_caption:df={output})\n"
    )
