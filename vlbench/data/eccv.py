"""Further right pairs in the COCO Karpathy test split, as the package ``eccv-caption`` ships them.

ECCV Caption (Chun et al. 2022): people checked machine-found pairs for 1,261 images and 1,332 captions. CxC
(Crisscrossed Captions, Parekh et al. 2021): pairs that people rated 3 or more. Both count over 5,000 images and 25,000
captions, five an image; the split has 25,010.
"""

from __future__ import annotations

import importlib.util
import io
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vlbench.data.checks import refuse
from vlbench.data.source import LocalFolder
from vlbench.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from vlbench.types import CaptionedImage, Dataset

PACKAGE = "eccv_caption"
ABSENT = -1
"""Stands for a right caption that is none of the 25,000: ECCV Caption has two such. It counts, and is never found."""


@dataclass(frozen=True)
class Truth:
    """Right items of queries, images and captions by their numbers in the dataset.

    ``captions_of`` an image and ``images_of`` a caption hold ``ABSENT`` for an item outside the gallery; ``captions``
    are those that form it, in order.
    """

    name: str
    captions_of: Mapping[int, Sequence[int]]
    images_of: Mapping[int, Sequence[int]]
    captions: npt.NDArray[np.int64]


def load_truths(dataset: Dataset[CaptionedImage], names: Sequence[str] = ("eccv", "cxc")) -> tuple[Truth, ...]:
    """Return the ground truths for the whole Karpathy test split.

    Captions are told by their COCO annotation ids; those of ``coco_karpathy_test.json``, which has none, by their
    places. Raises ``DataError`` where the package is not installed or an image or caption is not in ``dataset``.
    """
    folder = _package_data()
    ids = np.load(io.BytesIO(folder.read("coco_test_ids.npy")), allow_pickle=False).tolist()
    owner = {int(c): int(i) for c, (i,) in folder.read_json("original_caption_to_image.json").items()}
    images = {sample.image_id: number for number, sample in enumerate(dataset.samples)}
    captions = _caption_numbers(dataset, ids, owner)
    where = f"{dataset.name} {dataset.split}"
    refuse(
        sorted({str(image) for image in owner.values()} - set(images)),
        "the ECCV and CxC ground truths need the whole karpathy-test split; images are missing",
        where,
    )
    refuse(
        [str(i) for i in ids if i not in captions],
        "the ECCV and CxC ground truths need the whole karpathy-test split; captions are missing",
        where,
    )
    by_image = {int(image): number for image, number in images.items() if image.isdigit()}
    gallery = np.array(sorted(captions.values()), dtype=np.int64)
    return tuple(
        Truth(
            name,
            _numbers(folder.read_json(f"{name}_image_to_caption.json"), by_image, captions),
            _numbers(folder.read_json(f"{name}_caption_to_image.json"), captions, by_image),
            gallery,
        )
        for name in names
    )


def _package_data() -> LocalFolder:
    # The package is found, not imported: on import it warns of an optional dependency that nothing here needs.
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise DataError("the ECCV and CxC ground truths come with eccv-caption; pip install 'vlbench[eccv]'")
    return LocalFolder(Path(spec.origin).parent / "data")


def _caption_numbers(dataset: Dataset[CaptionedImage], ids: Sequence[int], owner: Mapping[int, int]) -> dict[int, int]:
    """Return the number in the dataset of each of the captions ``ids``."""
    in_order: dict[int, list[int]] = defaultdict(list)
    for caption in ids:
        in_order[owner[caption]].append(caption)
    by_place = {f"{image}-{k}": caption for image, own in in_order.items() for k, caption in enumerate(own)}
    known = {str(caption): caption for caption in ids} | by_place
    every = (caption.caption_id for sample in dataset.samples for caption in sample.captions)
    return {known[name]: number for number, name in enumerate(every) if name in known}


def _numbers(pairs: Any, queries: Mapping[int, int], items: Mapping[int, int]) -> dict[int, Sequence[int]]:
    return {queries[int(query)]: [items.get(int(item), ABSENT) for item in right] for query, right in pairs.items()}
