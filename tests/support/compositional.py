"""Winoground, SugarCrepe and an image folder in miniature, in their official layouts, with the quirks of the files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.support.layouts import lines, picture, write

if TYPE_CHECKING:
    from pathlib import Path

Json = dict[str, Any]


def winoground_examples() -> list[Json]:
    """Images are named without their suffix; most secondary tags are empty; the second has equal colours (ties)."""
    rows = (
        ("a red thing left of nothing", "nothing left of a green thing", "Noun", "", 1, "Object"),
        ("there is a thing", "a thing is there", "Adverb-Temporal", "Symbolic", 2, "Relation"),
        ("a blue thing", "a thing, red", "Noun, Adjective-Color", "", 1, "Both"),
    )
    return [
        {
            "id": n,
            "image_0": f"ex_{n}_img_0",
            "image_1": f"ex_{n}_img_1",
            "caption_0": caption_0,
            "caption_1": caption_1,
            "tag": tag,
            "secondary_tag": secondary,
            "num_main_preds": preds,
            "collapsed_tag": collapsed,
        }
        for n, (caption_0, caption_1, tag, secondary, preds, collapsed) in enumerate(rows)
    ]


def winoground(root: Path) -> Path:
    """Write the examples and their images, and return the annotation file."""
    for n, colours in enumerate((("red", "green"), ("red", "green"), ("blue", "red"))):
        for k, colour in enumerate(colours):
            picture(root / "images" / f"ex_{n}_img_{k}.png", colour)
    write(root / "examples.jsonl", lines(winoground_examples()))
    return root / "examples.jsonl"


ITEMS: dict[str, dict[str, tuple[int, str, str]]] = {
    "replace_obj": {"0": (391895, "A red moped.", "A green moped."), "2": (522418, "A green cake.", "A red cake. ")},
    "replace_att": {"0": (391895, "A red moped.", "A blue moped.")},
    "replace_rel": {"0": (522418, "A blue cake.", "A green cake.")},
    "swap_obj": {"107": (391895, "Red on green, red.", "Green on red, green."), "109": (522418, "Both.", "None.")},
    "swap_att": {"0": (522418, "Green things.", "Red things.")},
    "add_obj": {"0": (391895, "A red moped.", "A red moped and blue sky, blue sea.")},
    "add_att": {"0": (391895, "A moped, red.", "A moped, green.")},
}
"""By category and id (not contiguous): COCO image, caption, negative caption."""


def sugarcrepe_document(category: str) -> Json:
    return {
        key: {"filename": f"{image:012d}.jpg", "caption": caption, "negative_caption": negative}
        for key, (image, caption, negative) in ITEMS[category].items()
    }


def sugarcrepe(root: Path, images: Path | None = None) -> dict[str, Path]:
    """Write the seven files and the images (into ``images``, else the root), and return the files by category."""
    for image, colour in ((391895, "red"), (522418, "green")):
        picture((images or root) / "val2017" / f"{image:012d}.jpg", colour)
    files = {category: root / f"{category}.json" for category in ITEMS}
    for category, path in files.items():
        write(path, sugarcrepe_document(category))
    return files


def recorded_answers(root: Path, wrong: dict[str, str]) -> Path:
    """Write answers as the authors recorded GPT-4V's: right ones but for those of ``wrong``, by item."""
    for category in ITEMS:
        document: Json = {}
        records = sugarcrepe_document(category)
        if category == "swap_obj":
            records["108"] = {"filename": "000000391895.jpg", "caption": "Gone.", "negative_caption": "Withdrawn."}
        for key, record in records.items():
            answer = wrong.get(f"{category}/{key}", record["caption"])
            given = {"free_form_answer": "(1)" if answer else "Neither.", "multiple_choice_answer": answer}
            document[key] = {"answer": given, **record, "correct": answer == record["caption"]}
        write(root / f"gpt4v-{category}.json", document | {"accuracy": 0.5})
    return root


FOLDERS = ("blue_sky", "green", "red")


def image_folder(root: Path, folders: tuple[str, ...] = FOLDERS, split: str = "val") -> Path:
    """Write two images a class in its colour, one of the last class in blue, and return the folder of the split."""
    place = root / split
    for name in folders:
        colour = name.partition("_")[0] if name in FOLDERS else "white"
        picture(place / name / "ILSVRC2012_val_00000001.JPEG", colour)
        picture(place / name / "b.png", colour)
    write(place / folders[0] / "notes.txt", "no image")
    picture(place / folders[-1] / "c.jpg", "blue")
    return place
