"""Visual Genome 1.4 (Krishna et al. 2017): region descriptions and questions; its scene graphs are in ``scene_graphs``.

Layout: ``image_data.json``, ``region_descriptions.json``, ``question_answers.json`` and ``scene_graphs.json`` in the
root or in ``annotations/``; images ``<image id>.jpg`` in ``VG_100K/`` and ``VG_100K_2/`` (the url in
``image_data.json`` tells which), in the root or in ``images/``. The files are large: each is parsed whole, only what a
task needs of it is kept.

There is no official split. ``densecap-{train,val,test}`` are those of DenseCap (Johnson et al. 2016), where its
``densecap_splits.json`` lies in the root, in ``annotations/`` or in ``info/``; ``hash-test`` is one image in twenty,
chosen by a hash of its id; ``all`` is every image.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from vlbench.data.checks import Table, expect, limited, pick_split, refuse, refuse_duplicates
from vlbench.edits import Crop
from vlbench.errors import DataError
from vlbench.fingerprints import dataset_fingerprint
from vlbench.types import Caption, CaptionedImage, Dataset, ImageRef, VisualQuestion, content_key

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from vlbench.data.source import LocalFolder

NAME = "visual_genome"
DEFAULT_SPLITS = ("densecap-test", "hash-test")
OFFICIAL_IMAGES: Mapping[str, int] = {
    "densecap-test": 5_000,
    "densecap-val": 5_000,
    "densecap-train": 77_398,
    "all": 108_077,
}
HASHED = 20
"""``hash-test`` holds one image in this many."""
MIN_SIDE = 16
"""Pixels that a box must have inside the picture along each side to be asked about."""

_SPLIT_FILES = tuple(f"{folder}densecap_splits.json" for folder in ("", "annotations/", "info/"))
_IMAGE_FILES = ("image_data.json", "annotations/image_data.json")
FILES = {
    **{f"densecap-{part}": _SPLIT_FILES for part in ("test", "val", "train")},
    "hash-test": _IMAGE_FILES,
    "all": _IMAGE_FILES,
}

Box = tuple[int, int, int, int]
ItemT = TypeVar("ItemT")
SampleT = TypeVar("SampleT")


class Picture(NamedTuple):
    """An image of the split, with its size in pixels as the annotations have it."""

    image_id: str
    image: ImageRef
    size: tuple[int, int]

    def clip(self, x: int, y: int, width: int, height: int) -> Box | None:
        """Return the part of a box that lies in the picture, or None where it is smaller than ``MIN_SIDE``."""
        x1, y1 = max(0, x), max(0, y)
        x2, y2 = min(self.size[0], x + width), min(self.size[1], y + height)
        return (x1, y1, x2, y2) if min(x2 - x1, y2 - y1) >= MIN_SIDE else None


@dataclass(frozen=True)
class Genome:
    """The images of a split; ``known`` are the ids of all images of ``image_data.json``."""

    folder: LocalFolder
    split: str
    pictures: Mapping[str, Picture]
    known: frozenset[str]

    @classmethod
    def open(cls, folder: LocalFolder, split: str | None) -> Genome:
        """Read ``image_data.json`` and the split.

        Raises ``DataError`` naming file and ids where something is malformed or the split is empty, ``UsageError`` for
        an unknown split. No image is opened.
        """
        split, name = pick_split(split, FILES, DEFAULT_SPLITS, folder, NAME)
        table = _table(folder, "image_data.json")
        ids = [table.identifier(i, "image_id") for i in range(len(table))]
        refuse_duplicates(ids, "image ids", table.name)
        chosen = _chooser(folder, name, split)
        pictures = {image_id: _picture(table, i, folder) for i, image_id in enumerate(ids) if chosen(image_id)}
        if not pictures:
            raise DataError(f"{folder.describe(name)}: split {split} has no images of {table.name}; choose another")
        return cls(folder, split, pictures, frozenset(ids))

    def records(self, file: str, id_key: str, *list_keys: str) -> Iterator[tuple[str, list[Table]]]:
        """Yield the id of every image of ``file``, in the split or not, with its lists of records.

        Raises ``DataError`` where an image comes twice or ``image_data.json`` does not list it.
        """
        table = _table(self.folder, file)
        ids = [table.identifier(i, id_key) for i in range(len(table))]
        refuse_duplicates(ids, "image ids", table.name)
        unknown = [image_id for image_id in ids if image_id not in self.known]
        refuse(unknown, "images that image_data.json does not list", table.name)
        for i, image_id in enumerate(ids):
            yield image_id, [Table(table.get(i, key, list), table.place(i, key)) for key in list_keys]

    def counts(self, limit: int | None, images: Iterable[str]) -> dict[str, int]:
        """Return how many images samples were taken from: those of the split, under a limit those of the samples."""
        return {"images": len(self.pictures) if limit is None else len(set(images))}

    def official(self) -> dict[str, int]:
        """Return the official number of images, where there is one."""
        return {"images": OFFICIAL_IMAGES[self.split]} if self.split in OFFICIAL_IMAGES else {}


def load_regions(
    folder: LocalFolder, split: str | None = None, limit: int | None = None, per_image: int = 0
) -> Dataset[CaptionedImage]:
    """Read region descriptions, each as the crop of its box with its phrase as the one caption.

    ``image_id`` of a sample is ``<image id>/<region id>``. Left out are regions without a phrase, regions that repeat
    phrase and box of another region of the image, and boxes of which less than ``MIN_SIDE`` pixels a side lie in the
    picture. Of the rest ``per_image`` are taken, chosen by a hash of their ids (0: all of them).
    """
    genome = Genome.open(folder, split)
    found: list[CaptionedImage] = []
    for image_id, (table,) in genome.records("region_descriptions.json", "id", "regions"):
        if image_id in genome.pictures:
            found += pick(_regions(genome.pictures[image_id], table), per_image, lambda sample: sample.image_id)
    refuse_duplicates([s.image_id for s in found], "region ids", folder.describe("region_descriptions.json"))
    samples = limited(found, limit)
    rows = [[s.image_id, s.captions[0].text, [edit.content() for edit in s.image.edits]] for s in samples]
    counts = genome.counts(limit, (s.image_id.partition("/")[0] for s in samples)) | {"regions": len(samples)}
    return _dataset(genome, samples, counts, rows)


def load_questions(
    folder: LocalFolder,
    split: str | None = None,
    limit: int | None = None,
    elsewhere: Counter[tuple[str, str]] | None = None,
) -> Dataset[VisualQuestion]:
    """Read questions with their one answer; ``question_type`` is the first word.

    ``elsewhere``, where given, counts (first word, answer) over the images outside the split.
    """
    genome = Genome.open(folder, split)
    found: list[VisualQuestion] = []
    for image_id, (table,) in genome.records("question_answers.json", "id", "qas"):
        if image_id in genome.pictures:
            found += (_question(genome.pictures[image_id], table, i) for i in range(len(table)))
        elif elsewhere is not None:
            elsewhere.update(_typed_answer(table, i) for i in range(len(table)))
    refuse_duplicates([s.question_id for s in found], "question ids", folder.describe("question_answers.json"))
    samples = limited(found, limit)
    rows = [[s.question_id, s.image_id, s.question, s.answers] for s in samples]
    counts = genome.counts(limit, (s.image_id for s in samples)) | {"questions": len(samples)}
    return _dataset(genome, samples, counts, rows)


def pick(items: Sequence[ItemT], count: int, identity: Callable[[ItemT], str]) -> list[ItemT]:
    """Return ``count`` of ``items`` in their order, those whose ``identity`` has the lowest hash; 0: all of them."""
    if not count or len(items) <= count:
        return list(items)
    chosen = set(sorted(range(len(items)), key=lambda i: content_key(identity(items[i])))[:count])
    return [item for i, item in enumerate(items) if i in chosen]


def first_word(question: str) -> str:
    """Return the first word of a question in lower case, without marks around it; "" where there is none.

    >>> first_word("WhAt's that?"), first_word(" How many?"), first_word("")
    ("what's", 'how', '')
    """
    return next((word.strip("?!.,\"'") for word in question.lower().split()), "")


def _table(folder: LocalFolder, file: str) -> Table:
    name = folder.first(file, f"annotations/{file}") or file
    return Table.read(folder.read_json(name), "", folder.describe(name))


def _chooser(folder: LocalFolder, name: str, split: str) -> Callable[[str], bool]:
    """Return the test for an image id of the split."""
    if split == "all":
        return lambda _: True
    if split == "hash-test":
        return lambda image_id: int(hashlib.sha256(f"{NAME}/{image_id}".encode()).hexdigest(), 16) % HASHED == 0
    where = folder.describe(name)
    part = split.removeprefix("densecap-")
    document = expect(folder.read_json(name), dict, f"{where}: the document")
    if part not in document:
        raise DataError(f"{where} has no {part!r}; it is not the file of DenseCap")
    listed = expect(document[part], list, f"{where}: {part}")
    members = {str(image_id) for image_id in listed}
    return members.__contains__


def _picture(table: Table, index: int, folder: LocalFolder) -> Picture:
    size = table.get(index, "width", int), table.get(index, "height", int)
    if min(size) < 1:
        raise DataError(f"{table.place(index)} is {size[0]} pixels wide and {size[1]} high")
    image_id = table.identifier(index, "image_id")
    return Picture(image_id, ImageRef(folder, _find_image(folder, image_id, table.get(index, "url", str))), size)


def _find_image(folder: LocalFolder, image_id: str, url: str) -> str:
    """Return the first name that exists, else the most official one."""
    own = "VG_100K_2" if "VG_100K_2/" in url else "VG_100K"
    other = "VG_100K" if own == "VG_100K_2" else "VG_100K_2"
    candidates = [
        f"{place}{half}/{image_id}{suffix}"
        for place in ("", "images/")
        for half in (own, other)
        for suffix in (".jpg", ".png")
    ]
    return folder.first(*candidates) or candidates[0]


def _regions(picture: Picture, table: Table) -> list[CaptionedImage]:
    found: list[CaptionedImage] = []
    seen: set[tuple[str, Box]] = set()
    for i in range(len(table)):
        phrase = table.get(i, "phrase", str).strip()
        x, y, width, height = (table.get(i, key, int) for key in ("x", "y", "width", "height"))
        region_id = table.identifier(i, "region_id")
        identity = " ".join(phrase.lower().split()), (x, y, width, height)
        box = picture.clip(x, y, width, height)
        if not phrase or box is None or identity in seen:
            continue
        seen.add(identity)
        image = ImageRef(picture.image.source, picture.image.name, edits=(Crop(box),))
        found.append(CaptionedImage(f"{picture.image_id}/{region_id}", image, (Caption(region_id, phrase),)))
    return found


def _question(picture: Picture, table: Table, index: int) -> VisualQuestion:
    kind, answer = _typed_answer(table, index)
    return VisualQuestion(
        question_id=table.identifier(index, "qa_id"),
        image_id=picture.image_id,
        image=picture.image,
        question=table.get(index, "question", str).strip(),
        answers=(answer,),
        question_type=kind,
        answer_type="",
    )


def _typed_answer(table: Table, index: int) -> tuple[str, str]:
    return first_word(table.get(index, "question", str)), table.get(index, "answer", str).strip()


def _dataset(
    genome: Genome, samples: tuple[SampleT, ...], counts: Mapping[str, int], rows: Sequence[object]
) -> Dataset[SampleT]:
    fingerprint = "sha256:" + dataset_fingerprint(rows)
    return Dataset(NAME, genome.split, samples, counts, genome.official(), fingerprint)
