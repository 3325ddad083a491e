"""Write the benchmark in the official layouts, so that the loaders of the real datasets read it.

What is called ``val2014`` (COCO, VQA) or ``val`` (VCR) holds the test scenes, because that is the labelled split on
which models are compared; the scenes of split "val", for choosing hyper-parameters, are the Karpathy split ``val``.
Visual Genome holds all three, told apart by a ``densecap_splits.json``.
"""

from __future__ import annotations

import dataclasses
import io
import json
import secrets
import shutil
from typing import TYPE_CHECKING, Any

from vlbench.data.scenes.draw import SPLITS, split
from vlbench.data.scenes.layout_captions import (
    coco_captions,
    coco_name,
    flickr_name,
    karpathy_coco,
    karpathy_flickr30k,
)
from vlbench.data.scenes.layout_vcr import vcr_metadata, vcr_name, vcr_rows
from vlbench.data.scenes.layout_visual_genome import genome_documents, genome_name
from vlbench.data.scenes.layout_vqa import vqa_documents
from vlbench.data.scenes.render import render
from vlbench.errors import DataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from vlbench.data.scenes.scene import Scene

DATASETS = ("coco", "flickr30k", "vqa", "vcr", "visual_genome")
"""The folders that ``write_official`` makes."""


def write_official(
    root: Path,
    *,
    splits: Sequence[str] = ("train", "val", "test"),
    train_count: int = 2000,
    train_images: bool = True,
    labelled: str = "test",
) -> None:
    """Write the splits to ``root`` in the layouts of COCO, Flickr30K, VQA v2, VCR and Visual Genome.

    "test" includes the other test scenes of the Flickr30K file. Without ``train_images`` the train scenes have only
    their COCO captions and VQA annotations, which need no picture to be of use. ``labelled`` "val" puts the val scenes
    where test scenes belong and leaves those out: all tasks can then be used to choose hyper-parameters by.

    The folder appears whole or not at all. Raises ``DataError`` where ``root`` exists and is not an empty folder,
    ``UsageError`` for an unknown split or a count below 1; ``OSError`` where the disk refuses.
    """
    unknown = [name for name in splits if name not in ("train", "val", "test")]
    if unknown:
        raise UsageError(f"unknown split {unknown[0]!r} of scenes; write_official takes train, val and test")
    if train_count < 1:
        raise UsageError(f"{train_count} train scenes cannot be written; give 1 or more, or leave the split out")
    root.parent.mkdir(parents=True, exist_ok=True)
    part = root.parent / f".{root.name}.{secrets.token_hex(4)}.part"
    part.mkdir()
    try:
        scenes = _scenes(splits, train_count)
        _write(part, _promoted(scenes) if labelled == "val" else scenes, train_images)
        publish(part, root)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def publish(part: Path, root: Path) -> None:
    """Rename ``part`` to ``root``; raises ``DataError`` where something other than an empty folder is there."""
    if root.is_symlink() or (root.exists() and (not root.is_dir() or any(root.iterdir()))):
        raise DataError(f"{root} exists and is not an empty folder; choose another")
    part.rename(root)


def _scenes(splits: Sequence[str], train_count: int) -> dict[str, list[Scene]]:
    counts = {**{name: size or 0 for name, size in SPLITS.items()}, "train": train_count}
    wanted = {*splits, "flickr-test"} if "test" in splits else set(splits)
    return {name: list(split(name, counts[name])) if name in wanted else [] for name in SPLITS}


def _promoted(scenes: dict[str, list[Scene]]) -> dict[str, list[Scene]]:
    """Return the val scenes as those of both test splits."""
    places = ("test", "flickr-test")
    moved = {name: [dataclasses.replace(scene, split=name) for scene in scenes["val"]] for name in places}
    return {**scenes, "val": [], **moved}


def _write(root: Path, scenes: dict[str, list[Scene]], train_images: bool) -> None:
    train, val, test = (scenes[name] for name in ("train", "val", "test"))
    drawn = train if train_images else []
    _write_coco(root / "coco", train, val, test)
    _put_json(root / "flickr30k" / "dataset_flickr30k.json", karpathy_flickr30k({"test": scenes["flickr-test"]}))
    for folder, members in (("train2014", train), ("val2014", test)):
        _write_vqa(root / "vqa", folder, members)
    for part, members in (("train", drawn), ("val", test)):
        _write_vcr(root / "vcr", part, members)
    for name, document in genome_documents(drawn, val, test).items():
        _put_json(root / "visual_genome" / name, document)
    for scene in (*drawn, *val, *test, *scenes["flickr-test"]):
        data = png(scene)
        for path in _pictures(root, scene):
            _put(path, data)


def _pictures(root: Path, scene: Scene) -> tuple[Path, ...]:
    """Return all places of a scene's picture."""
    coco, vqa, vcr = root / "coco", root / "vqa", root / "vcr" / "vcr1images" / vcr_name(scene, "png")
    genome = root / "visual_genome" / "VG_100K" / genome_name(scene)
    folder = "val2014" if scene.split == "test" else "train2014"
    name = coco_name(scene, folder)
    places = {
        "train": (coco / folder / name, vqa / folder / name, vcr, genome),
        "val": (coco / folder / name, genome),
        "test": (coco / folder / name, vqa / folder / name, vcr, genome),
        "flickr-test": (root / "flickr30k" / "flickr30k-images" / flickr_name(scene),),
    }
    return places[scene.split]


def _write_coco(folder: Path, train: list[Scene], val: list[Scene], test: list[Scene]) -> None:
    parts = {"train": ("train2014", train), "val": ("train2014", val), "test": ("val2014", test)}
    _put_json(folder / "dataset_coco.json", karpathy_coco(parts))
    for name, members in (("train2014", [*train, *val]), ("val2014", test)):
        if members:
            _put_json(folder / "annotations" / f"captions_{name}.json", coco_captions(members, name))


def _write_vqa(folder: Path, subtype: str, scenes: list[Scene]) -> None:
    if scenes:
        questions, annotations = vqa_documents(scenes, subtype)
        _put_json(folder / f"v2_OpenEnded_mscoco_{subtype}_questions.json", questions)
        _put_json(folder / f"v2_mscoco_{subtype}_annotations.json", annotations)


def _write_vcr(folder: Path, part: str, scenes: list[Scene]) -> None:
    if scenes:
        _put_lines(folder / f"{part}.jsonl", vcr_rows(scenes, part))
    for scene in scenes:
        _put_json(folder / "vcr1images" / vcr_name(scene, "json"), vcr_metadata(scene))


def png(scene: Scene) -> bytes:
    """Return the picture as PNG. Its pixels are the same everywhere, its bytes depend on the compressor."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(render(scene)).save(buffer, "PNG")
    return buffer.getvalue()


def _put(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def _dumps(document: object) -> str:
    return json.dumps(document, separators=(",", ":"))


def _put_json(path: Path, document: object) -> None:
    _put(path, _dumps(document).encode())


def _put_lines(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    _put(path, "".join(f"{_dumps(row)}\n" for row in rows).encode())
