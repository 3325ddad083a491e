"""``vlbench data``: make the bundled benchmark on disk."""

from __future__ import annotations

import sys
from pathlib import Path  # noqa: TC003 (the command line is made from the annotations)
from typing import Annotated

import typer

from vlbench.errors import DataError

data_app = typer.Typer(help="Datasets on disk.", no_args_is_help=True, rich_markup_mode=None)


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
