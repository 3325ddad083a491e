"""Zero-shot classification: prompts, ties, failures, what the signature holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.support import layouts
from tests.support.colours import Colours
from tests.support.compositional import image_folder
from vlbench.data.source import DataRoot
from vlbench.errors import DataError, UnsupportedTask
from vlbench.runner.manifest import signature
from vlbench.tasks.zeroshot_classification import ZeroshotClassification
from vlbench.testing import TaskContract
from vlbench.testing.adapters import answer
from vlbench.testing.tasks import drive
from vlbench.types import Embedding, EmbedImage, EmbedText, Failure, Request, Response

if TYPE_CHECKING:
    from pathlib import Path

EMBEDS = frozenset({"embed_images", "embed_texts"})


class TestZeroshotClassificationContract(TaskContract):
    @pytest.fixture
    def task(self) -> ZeroshotClassification:
        return ZeroshotClassification()

    @pytest.fixture
    def root(self, tmp_path: Path) -> DataRoot:
        image_folder(tmp_path / "imagenet")
        return DataRoot(tmp_path)


@pytest.fixture
def root(tmp_path: Path) -> DataRoot:
    image_folder(tmp_path / "imagenet")
    return DataRoot(tmp_path)


def by_colours(request: Request) -> Response:
    return answer(Colours(), [request])[0]


def test_images_are_classified_by_the_nearest_class(root: DataRoot) -> None:
    """A blue picture lies among the three of the class red."""
    task = ZeroshotClassification({"templates": "simple"})
    dataset = task.load(root, None, None)
    rows = drive(task, dataset, task.protocol(EMBEDS), by_colours)
    assert [row.sample_id for row in rows if row.scores["accuracy@1"] == 0.0] == ["red/c.jpg"]
    assert [row.response for row in rows] == ["blue sky", "green", "red", "blue sky", "green", "red", "blue sky"]
    metrics = task.aggregate(rows, dataset)
    assert metrics["accuracy@1"].value == pytest.approx(6 / 7)
    assert metrics["mean_per_class_recall"].value == pytest.approx((1 + 1 + 2 / 3) / 3)
    assert metrics["accuracy@5"].value is None and metrics["accuracy@5"].reason == "there are only 3 classes"
    assert "accuracy@5" not in rows[0].scores


def test_classes_of_one_name_tie_and_share_the_hit(root: DataRoot) -> None:
    layouts.write(root.path / "imagenet" / "classnames.txt", "blue\nred\nred\n")
    task = ZeroshotClassification({"templates": "name"})
    dataset = task.load(root, None, None)
    rows = drive(task, dataset, task.protocol(EMBEDS), by_colours)
    hits = {row.sample_id: row.scores["accuracy@1"] for row in rows}
    assert hits["blue_sky/b.png"] == 1.0 and hits["red/b.png"] == 0.5 and hits["red/c.jpg"] == 0.0
    assert hits["green/b.png"] == 0.0 or hits["green/b.png"] == 0.5


def test_a_collapsed_model_scores_chance(tmp_path: Path) -> None:
    folders = tuple(f"c{n}" for n in range(8))
    for name in folders:
        layouts.picture(tmp_path / name / "x.png")
    task = ZeroshotClassification()
    dataset = task.load(DataRoot(tmp_path), None, None)
    rows = drive(task, dataset, task.protocol(EMBEDS), lambda _: Embedding(np.ones(3, dtype=np.float32)))
    metrics = {name: metric.value for name, metric in task.aggregate(rows, dataset).items()}
    assert metrics == pytest.approx({"accuracy@1": 1 / 8, "accuracy@5": 5 / 8, "mean_per_class_recall": 1 / 8})


def test_the_default_prompts_are_the_80_of_clip(root: DataRoot) -> None:
    task = ZeroshotClassification()
    dataset = task.load(root, None, None)
    texts = [r.text for r in next(task.rounds(dataset, task.protocol(EMBEDS))) if isinstance(r, EmbedText)]
    assert len(texts) == 3 * 80 and texts[0] == "a bad photo of a blue sky." and texts[-1].endswith(" red.")


def test_templates_of_the_data_and_of_the_user_are_in_the_signature(root: DataRoot, tmp_path: Path) -> None:
    def line(templates: str = "") -> str:
        task = ZeroshotClassification({"templates": templates} if templates else {})
        protocol = task.protocol(EMBEDS)
        return signature(task, task.load(root, None, None), protocol, None)

    default = line()
    assert "|templates:openai-80-" in default and line("openai") == default
    layouts.write(root.path / "imagenet" / "templates.txt", "a {c} thing\n\nmuch {}.\n")
    assert "|templates:file-2-" in line() and line("openai") == default
    layouts.write(tmp_path / "own.txt", "a {} thing\nmuch {}.\n")
    assert line(str(tmp_path / "own.txt")) == line()
    assert "|templates:simple-7-" in line("simple") and "|templates:name-1-" in line("name")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a thing\n", r"template 1 'a thing' must have one \{\} for the name"),
        ("{}\n{} or {}\n", r"template 2 '\{\} or \{\}' must have one"),
        ("", "is empty"),
    ],
)
def test_broken_templates_are_one_line(root: DataRoot, text: str, message: str) -> None:
    path = root.path / "imagenet" / "templates.txt"
    layouts.write(path, text)
    with pytest.raises(DataError, match=message) as error:
        ZeroshotClassification().load(root, None, None)
    assert str(path) in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(DataError, match=r"file .*nowhere\.txt is missing"):
        ZeroshotClassification({"templates": "nowhere.txt"}).load(root, None, None)


def test_a_failed_prompt_takes_its_class_with_it_and_a_failed_image_itself(root: DataRoot) -> None:
    task = ZeroshotClassification({"templates": "simple"})
    dataset = task.load(root, None, None)
    bad = dataset.samples[6].image.key

    def answers(request: Request) -> Response:
        if isinstance(request, EmbedText) and request.text == "itap of a green.":
            return Failure("too long")
        if isinstance(request, EmbedImage) and request.image.key == bad:
            return Failure("torn")
        return by_colours(request)

    rows = {row.sample_id: row for row in drive(task, dataset, task.protocol(EMBEDS), answers)}
    failed = {name: row.reason for name, row in rows.items() if row.status == "failed"}
    lost = "the prompts of its class failed: too long"
    assert failed["green/b.png"] == failed["green/ILSVRC2012_val_00000001.JPEG"] == lost
    assert failed["red/c.jpg"] == "torn" and rows["red/c.jpg"].response == ""
    assert all(rows[name].scores["accuracy@1"] == 0.0 for name in failed)
    assert rows["red/b.png"].scores["accuracy@1"] == 1.0


def test_a_model_that_only_matches_is_refused() -> None:
    with pytest.raises(UnsupportedTask, match="zeroshot_classification needs embed_images and embed_texts"):
        ZeroshotClassification().protocol(frozenset({"match", "embed_images"}))


def test_a_site_shows_the_name_of_the_class(root: DataRoot) -> None:
    task = ZeroshotClassification()
    views = dict(task.views(task.load(root, None, None)))
    assert views["blue_sky/b.png"].references == ("blue sky",) and len(views) == 7
