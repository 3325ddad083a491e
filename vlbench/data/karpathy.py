"""The split files of Karpathy & Fei-Fei (2015): one schema for COCO, Flickr30K and Flickr8K."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from vlbench.data.checks import NoSuchSplit, Table, refuse, refuse_duplicates
from vlbench.types import Caption, CaptionedImage, ImageRef

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vlbench.data.source import LocalFolder

IMAGE_FOLDERS = ("flickr30k-images", "flickr30k_images", "images", "")
"""Folders in which images without ``filepath`` may lie; the first is the official one."""


def karpathy_samples(
    document: Any, parts: Sequence[str], folder: LocalFolder, where: str, id_key: str
) -> list[CaptionedImage]:
    """Return the images of the named ``parts`` of the file, in its order.

    ``id_key`` is ``cocoid``, or empty where the stem of the file name is the id. Raises ``DataError`` naming the file
    where a record is malformed, an id occurs twice (in any part), or the parts have no image.
    """
    table = Table.read(document, "images", where)
    image_ids: list[str] = []
    caption_ids: list[str] = []
    samples: list[CaptionedImage] = []
    for i in range(len(table)):
        name = table.get(i, "filename", str)
        image_id = table.identifier(i, id_key) if id_key else PurePosixPath(name).stem
        captions = _captions(table, i)
        image_ids.append(image_id)
        caption_ids.extend(caption.caption_id for caption in captions)
        if table.get(i, "split", str) in parts:
            path = _find_image(folder, name, table.rows[i].get("filepath", ""))
            samples.append(CaptionedImage(image_id, ImageRef(folder, path), captions))
    refuse_duplicates(image_ids, "image ids", where)
    refuse_duplicates(caption_ids, "caption ids", where)
    refuse([s.image_id for s in samples if not s.captions], "images without captions", where)
    if not samples:
        raise NoSuchSplit(f"{where} has no image of split {' or '.join(parts)}")
    return samples


def _captions(table: Table, index: int) -> tuple[Caption, ...]:
    sentences = Table(table.get(index, "sentences", list), table.place(index, "sentences"))
    return tuple(
        Caption(sentences.identifier(k, "sentid"), sentences.get(k, "raw", str)) for k in range(len(sentences))
    )


def _find_image(folder: LocalFolder, name: str, filepath: str) -> str:
    if filepath:
        candidates = [f"{filepath}/{name}", f"images/{filepath}/{name}", f"images/{name}", name]
    else:
        candidates = [f"{place}/{name}" if place else name for place in IMAGE_FOLDERS]
    return folder.first(*candidates) or candidates[0]
