"""Miniature repositories of parquet files as on the hub, and webdataset shards as CLIP_benchmark has them."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from tests.support import layouts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

Files = dict[str, bytes]


def png(colour: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 6), colour).save(buffer, "PNG")
    return buffer.getvalue()


def cell(colour: str) -> dict[str, Any]:
    """An image as the hub stores it."""
    return {"bytes": png(colour), "path": None}


def parquet(rows: Sequence[Mapping[str, Any]], group: int = 2) -> bytes:
    """Write ``rows`` with ``group`` rows a row group."""
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows)), buffer, row_group_size=group)
    return buffer.getvalue()


def shards(folder: str, split: str, *tables: bytes) -> Files:
    names = (f"{folder}/{split}-{k:05d}-of-{len(tables):05d}.parquet" for k in range(len(tables)))
    return {"README.md": b"# a card\n", **dict(zip(names, tables, strict=True))}


def coco() -> Files:
    rows = [
        {
            "question_id": f"COCO_val2014_{i:012d}.jpg",
            "image": cell(layouts.COLOURS[i]),
            "question": "Please carefully observe the image and come up with a caption for the image.",
            "answer": texts,
            "id": i,
            "license": 3,
            "file_name": f"COCO_val2014_{i:012d}.jpg",
        }
        for i, texts in layouts.CAPTIONS.items()
    ]
    return shards("data", "val", parquet(rows[:1]), parquet(rows[1:], 1))


def flickr30k() -> Files:
    """One hub split with everything; the column ``split`` is Karpathy's. Its numbers are strings."""
    rows = [
        {
            "image": cell(colour),
            "caption": [sentence["raw"] for sentence in image["sentences"]],
            "sentids": [str(sentence["sentid"]) for sentence in image["sentences"]],
            "split": image["split"],
            "img_id": str(image["imgid"]),
            "filename": image["filename"],
        }
        for image, colour in zip(layouts.flickr30k_document()["images"], layouts.COLOURS.values(), strict=True)
    ]
    return {"TEST/test/0000.parquet": parquet(rows[:2]), "TEST/test/0001.parquet": parquet(rows[2:])}


def vqa() -> Files:
    colours = {262148: "red", 393225: "green"}
    annotations = {row["question_id"]: row for row in layouts.vqa_annotations()["annotations"]}
    rows = [
        annotations[row["question_id"]] | row | {"image": cell(colours[row["image_id"]])}
        for row in layouts.vqa_questions()["questions"]
    ]
    blank = {"question_type": None, "multiple_choice_answer": None, "answers": None, "answer_type": None}
    return {
        **shards("data", "validation", parquet(rows)),
        **shards("data", "testdev", parquet([row | blank for row in rows])),
    }


def winoground() -> Files:
    row = {"caption_0": "an old person kisses a young person", "caption_1": "a young person kisses an old person"}
    more = {"tag": "Adjective-Age", "secondary_tag": "", "num_main_preds": 1, "collapsed_tag": "Object"}
    rows = [{"id": n, "image_0": cell("red"), "image_1": cell("blue"), **row, **more} for n in range(2)]
    return shards("data", "test", parquet(rows))


def tar(path: Path, members: Mapping[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def webdataset(folder: Path) -> Path:
    """Write two retrieval shards with the captions of ``layouts`` and return the folder."""
    samples = list(layouts.CAPTIONS.items())
    for shard, part in enumerate((samples[:2], samples[2:])):
        members = {}
        for n, (image_id, texts) in enumerate(part):
            key = f"s{2 * shard + n:07d}"
            # Captions are joined by line breaks, so that one at the end of a caption makes an empty line.
            members |= {f"{key}.txt": "\n".join(texts).encode(), f"{key}.webp": png(layouts.COLOURS[image_id])}
        tar(folder / "test" / f"{shard}.tar", members)
    layouts.write(folder / "test" / "nshards.txt", "2\n")
    layouts.write(folder / "dataset_type.txt", "retrieval")
    return folder
