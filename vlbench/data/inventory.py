"""What a data root holds, and whether it is whole: the two questions of ``vlbench data list`` and ``check``."""

from __future__ import annotations

import dataclasses
import importlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vlbench.data.checks import NoSuchSplit
from vlbench.data.public import BY_HAND, PUBLIC
from vlbench.data.source import LocalFolder
from vlbench.errors import DataError
from vlbench.specs import import_object
from vlbench.types import ImageRef

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from vlbench.data.source import DataRoot
    from vlbench.specs import DatasetSpec


@dataclass(frozen=True)
class Holding:
    """What is here of one dataset, or why nothing is.

    ``bytes`` is None where it does not lie on this disk as files of its own.
    """

    name: str
    folder: str
    here: tuple[str, ...]
    missing: tuple[str, ...]
    reason: str
    bytes: int | None
    get: str
    licence: str
    source: str


def holding(spec: DatasetSpec, root: DataRoot) -> Holding:
    """Return which splits of a dataset have their annotations in ``root``, and how to get it."""
    folder: LocalFolder | None = None
    here: tuple[str, ...] = ()
    reason = ""
    try:
        folder = root.folder(spec.name)
        here = _splits_here(spec, folder)
    except DataError as error:
        reason = str(error)
    public = spec.name in PUBLIC
    ways = [f"vlbench data get {spec.name}"] if public else []
    if spec.name in BY_HAND or not public:
        ways.append(BY_HAND.get(spec.name, f"see {spec.source}"))
    return Holding(
        name=spec.name,
        folder=folder.describe("") if folder is not None and here else "",
        here=here,
        missing=tuple(split for split in spec.splits if split not in here),
        reason=reason,
        bytes=_size(folder) if here and type(folder) is LocalFolder else None,
        get="; ".join(ways),
        licence=spec.licence,
        source=spec.source,
    )


def _splits_here(spec: DatasetSpec, folder: LocalFolder) -> tuple[str, ...]:
    if not spec.loader:
        return ()
    module = importlib.import_module(spec.loader.partition(":")[0])
    if hasattr(module, "splits_here"):
        return tuple(module.splits_here(folder))
    files: Mapping[str, tuple[str, ...]] = getattr(module, "FILES", {})
    return tuple(
        split
        for split, names in files.items()
        if (folder.splits is None or split in folder.splits) and folder.first(*names) is not None
    )


def _size(folder: LocalFolder) -> int:
    return sum(path.stat().st_size for path in folder.path.rglob("*") if path.is_file())


def check(
    spec: DatasetSpec,
    root: DataRoot,
    split: str,
    *,
    named: bool,
    official: bool,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[str]:
    """Yield one line for each defect of a split: ids and records, counts, and images that do not open.

    That a file of several splits lacks this one is a defect only if it was ``named``. With ``official`` the counts must
    be those of the official split. ``progress`` is told the images so far and in all.
    """
    try:
        shared = {spec.images_of: root.folder(spec.images_of)} if spec.images_of else {}
        dataset = import_object(spec.loader)(root.folder(spec.name), split, **shared)
    except DataError as error:
        if named or not isinstance(error, NoSuchSplit):
            yield str(error)
        return
    for name, count in dataset.official_counts.items() if official else ():
        if dataset.counts.get(name) != count:
            yield f"there are {dataset.counts.get(name, 0):,} {name}; the official split has {count:,}"
    images = {image.name: image for sample in dataset.samples for image in _images(sample)}
    with ThreadPoolExecutor() as pool:
        for done, defect in enumerate(pool.map(_open, images.values()), 1):
            if progress is not None:
                progress(done, len(images))
            if defect:
                yield defect


def _images(sample: Any) -> Iterator[ImageRef]:
    for field in dataclasses.fields(sample):
        value = getattr(sample, field.name)
        yield from (item for item in (value if isinstance(value, tuple) else (value,)) if isinstance(item, ImageRef))


def _open(image: ImageRef) -> str:
    """Return what is wrong with an image; all of its pixels are decoded, since files are cut off at their ends."""
    try:
        image.load()
    except DataError as error:
        return str(error)
    return ""
