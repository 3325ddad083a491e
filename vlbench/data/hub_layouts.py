"""What the usual repositories on the hub hold, as a table, and how their columns become the official documents.

The columns are those of the repositories as published; a repository that is not in the table is refused, since
nothing in a parquet file tells which benchmark and which official split its rows are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from vlbench.data.vqa import UNLABELLED

Columns = Mapping[str, Sequence[Any]]


class Shown(NamedTuple):
    """Documents by official name, and for each image column the official name of each row's image."""

    documents: Mapping[str, Any]
    images: Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Repository:
    """One repository: ``splits`` maps an official split to the hub's, ``columns`` what is needed to its columns."""

    dataset: str
    splits: Mapping[str, str]
    show: Callable[[Columns, str], Shown]
    documents: Callable[[str], Sequence[str]]
    columns: Mapping[str, str]
    images: Mapping[str, str]
    revision: str | None = None


def coco_documents(split: str) -> Sequence[str]:
    """Return the official name of the captions of a split."""
    return (f"annotations/captions_{split}.json",)


def show_coco(rows: Columns, split: str) -> Shown:
    """Return the annotation file; captions have no ids on the hub and are called ``<image id>-<k>``."""
    images = [{"id": i, "file_name": n} for i, n in zip(rows["image_id"], rows["file_name"], strict=True)]
    annotations = [
        {"id": f"{image_id}-{k}", "image_id": image_id, "caption": text}
        for image_id, texts in zip(rows["image_id"], rows["captions"], strict=True)
        for k, text in enumerate(texts)
    ]
    names = [f"{split}/{name}" for name in rows["file_name"]]
    return Shown({coco_documents(split)[0]: {"images": images, "annotations": annotations}}, {"image": names})


def flickr30k_documents(split: str) -> Sequence[str]:
    """Return the name of Karpathy's file, which holds all splits."""
    return ("dataset_flickr30k.json",)


def show_flickr30k(rows: Columns, split: str) -> Shown:
    """Return Karpathy's file."""
    keys = ("file_name", "split", "captions", "caption_ids")
    images = [
        {
            "filename": name,
            "split": part,
            "sentences": [{"raw": raw, "sentid": i} for raw, i in zip(texts, ids, strict=True)],
        }
        for name, part, texts, ids in zip(*(rows[key] for key in keys), strict=True)
    ]
    names = [f"flickr30k-images/{name}" for name in rows["file_name"]]
    return Shown({flickr30k_documents(split)[0]: {"images": images, "dataset": "flickr30k"}}, {"image": names})


def vqa_documents(split: str) -> Sequence[str]:
    """Return the official names of questions and, where there are any, annotations."""
    questions = f"v2_OpenEnded_mscoco_{split}_questions.json"
    return (questions,) if split in UNLABELLED else (questions, f"v2_mscoco_{split}_annotations.json")


_QUESTION = ("question_id", "image_id", "question")
_ANNOTATION = ("question_id", "image_id", "question_type", "answer_type", "multiple_choice_answer", "answers")

_VQA_TABLES = {"questions": _QUESTION, "annotations": _ANNOTATION}


def show_vqa(rows: Columns, split: str) -> Shown:
    """Return the files of questions and annotations."""
    documents = {}
    for name, (key, columns) in zip(vqa_documents(split), _VQA_TABLES.items(), strict=False):
        records = zip(*(rows[column] for column in columns), strict=True)
        documents[name] = {key: [dict(zip(columns, record, strict=True)) for record in records]}
    folder = "test2015" if split in UNLABELLED else split
    return Shown(documents, {"image": [f"{folder}/COCO_{folder}_{str(i).zfill(12)}.jpg" for i in rows["image_id"]]})


def winoground_documents(split: str) -> Sequence[str]:
    """Return the official name of the examples."""
    return ("examples.jsonl",)


def show_winoground(rows: Columns, split: str) -> Shown:
    """Return the examples as the lines of the official file, images by their official stems."""
    keys = [key for key in rows if key != "id"]
    lines = []
    names: dict[str, list[str]] = {"image_0": [], "image_1": []}
    for n, number in enumerate(rows["id"]):
        stems = {f"image_{k}": f"ex_{number}_img_{k}" for k in (0, 1)}
        lines.append({"id": number, **stems, **{key: rows[key][n] for key in keys}})
        for column, stem in stems.items():
            names[column].append(f"images/{stem}.png")
    return Shown({winoground_documents(split)[0]: lines}, names)


def _same(*names: str) -> dict[str, str]:
    return {name: name for name in names}


_COCO = {"image_id": "id", "file_name": "file_name", "captions": "answer"}
_IMAGE = {"image": "image"}

REPOSITORIES: Mapping[str, Repository] = {
    "lmms-lab/COCO-Caption": Repository("coco", {"val2014": "val"}, show_coco, coco_documents, _COCO, _IMAGE),
    "lmms-lab/COCO-Caption2017": Repository("coco", {"val2017": "val"}, show_coco, coco_documents, _COCO, _IMAGE),
    "nlphuji/flickr30k": Repository(
        "flickr30k",
        # One hub split holds everything; the column `split` tells Karpathy's.
        dict.fromkeys(("test", "val", "train"), "test"),
        show_flickr30k,
        flickr30k_documents,
        {"file_name": "filename", "split": "split", "captions": "caption", "caption_ids": "sentids"},
        _IMAGE,
        # Its main branch is a loading script, which is never run.
        revision="refs/convert/parquet",
    ),
    "lmms-lab/VQAv2": Repository(
        "vqa",
        {"val2014": "validation", "test2015": "test", "test-dev2015": "testdev"},
        show_vqa,
        vqa_documents,
        _same(*dict.fromkeys((*_QUESTION, *_ANNOTATION))),
        _IMAGE,
    ),
    "facebook/winoground": Repository(
        "winoground",
        {"test": "test"},
        show_winoground,
        winoground_documents,
        _same("id", "caption_0", "caption_1", "tag", "secondary_tag", "num_main_preds", "collapsed_tag"),
        _same("image_0", "image_1"),
    ),
}
"""The first repository of a dataset is the one that ``--data hub`` takes."""

UNFIT: Mapping[str, str] = {
    "lmms-lab/flickr30k": "its test split is all 31,783 images and no column tells Karpathy's; take nlphuji/flickr30k",
    "HuggingFaceM4/VQAv2": "it is a loading script, which is never run; take lmms-lab/VQAv2",
    "yerevann/coco-karpathy": "it has no images; take lmms-lab/COCO-Caption, or the official files (vlbench data get)",
}
"""Repositories that people try, and why they cannot be used."""
