"""The split files of Karpathy & Fei-Fei (2015): one schema for COCO, Flickr30K and Flickr8K."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from vlbench.data.checks import NoSuchSplit, Table, refuse, refuse_duplicates
from vlbench.types import Caption, CaptionedImage, ImageRef

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vlbench.data.source import LocalFolder


def karpathy_samples(
    document: Any,
    parts: Sequence[str],
    folder: LocalFolder,
    where: str,
    id_key: str,
    image_folders: Sequence[str] = ("images", ""),
) -> list[CaptionedImage]:
    """Return the images of the named ``parts`` of the file, in its order.

    ``id_key`` is ``cocoid``, or empty where the stem of the file name is the id. ``image_folders`` are those in which
    images without ``filepath`` may lie, the official one first. Raises ``DataError`` naming the file
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
            path = _find_image(folder, name, table.rows[i].get("filepath", ""), image_folders)
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


def find_bare_image(folder: LocalFolder, name: str, image_folders: Sequence[str]) -> str:
    """Return the name under which an image lies in one of the ``image_folders``; where in none, that in the first."""
    candidates = [f"{place}/{name}" if place else name for place in image_folders]
    return folder.first(*candidates) or candidates[0]


def _find_image(folder: LocalFolder, name: str, filepath: str, image_folders: Sequence[str]) -> str:
    if not filepath:
        return find_bare_image(folder, name, image_folders)
    candidates = (f"{filepath}/{name}", f"images/{filepath}/{name}", f"images/{name}", name)
    return folder.first(*candidates) or candidates[0]
