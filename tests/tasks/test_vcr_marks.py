"""VCR with marks in the picture: what is drawn, how texts name it, and that it is told apart from VCR without."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from tests.support import layouts
from vlbench.data.source import DataRoot, LocalFolder
from vlbench.data.vcr import NO_LABEL
from vlbench.edits import PALETTE, Marks
from vlbench.errors import UsageError
from vlbench.leaderboard.site_truth import Truths
from vlbench.runner.manifest import signature
from vlbench.tasks.vcr import Vcr
from vlbench.tasks.vcr_marks import marked
from vlbench.testing import TaskContract
from vlbench.types import Choose, ImageRef, Region

if TYPE_CHECKING:
    from pathlib import Path

CHOOSES = frozenset({"choose"})


class TestMarkedVcrContract(TaskContract):
    @pytest.fixture
    def task(self) -> Vcr:
        return Vcr({"marks": "draw"})

    @pytest.fixture
    def root(self, tmp_path: Path) -> DataRoot:
        layouts.vcr(tmp_path / "vcr")
        return DataRoot(tmp_path)


@pytest.fixture
def root(tmp_path: Path) -> DataRoot:
    layouts.vcr(tmp_path)
    return DataRoot(tmp_path)


def test_texts_name_the_marks_and_only_what_they_point_to_is_drawn(root: DataRoot) -> None:
    task = Vcr({"marks": "draw"})
    first, second = task.load(root, None, None).samples
    answer, rationale = task.requests(first, task.protocol(CHOOSES))
    assert isinstance(answer, Choose) and isinstance(rationale, Choose)
    assert answer.prompt == (
        "Does the person marked redn't like the person marked blue and the bottle marked orange, or does the person "
        "marked blue's cat?"
    )
    assert answer.choices[1:3] == ("No, the person marked blue does.", "The person marked red is sad.")
    assert answer.images[0].regions == ()
    (marks,) = answer.images[0].edits
    assert isinstance(marks, Marks) and marks.outlines
    assert [region.label for region in marks.regions] == ["person1", "person2", "bottle1"]
    for request in task.requests(second, task.protocol(CHOOSES)):
        assert isinstance(request, Choose)
        (marks,) = request.images[0].edits
        assert isinstance(marks, Marks) and [region.label for region in marks.regions] == ["bottle1"]


def test_marks_are_seen_in_the_picture(tmp_path: Path) -> None:
    Image.new("RGB", (200, 160), "white").save(tmp_path / "a.png")
    outline = ((60.0, 60.0), (100.0, 60.0), (80.0, 100.0))
    regions = (Region("person1", (50.0, 50.0, 110.0, 110.0), (outline,)), Region("car1", (5.0, 5.0, 20.0, 20.0)))
    image = ImageRef(LocalFolder(tmp_path), "a.png", regions)
    asked = Choose((image,), "Who is [person1]?", ("[person1] is [nobody1].", "It is 5 [sic]."))
    drawn = marked(asked, outlines=True)
    assert drawn.choices == ("The person marked red is [nobody1].", "It is 5 [sic].")
    pixels = np.asarray(drawn.images[0].load())
    assert tuple(pixels[60, 80]) == PALETTE["red"]
    assert (pixels[:30, :30] == 255).all()
    boxed = np.asarray(marked(asked, outlines=False).images[0].load())
    assert tuple(boxed[80, 50]) == PALETTE["red"]
    assert len({request.key for request in (asked, drawn, marked(asked, outlines=False))}) == 3


def test_more_regions_than_colours_are_named_by_their_labels(tmp_path: Path) -> None:
    regions = tuple(Region(f"person{k}", (k, 0.0, k + 5.0, 9.0)) for k in range(1, len(PALETTE) + 2))
    image = ImageRef(LocalFolder(tmp_path), "a.png", regions)
    everybody = " ".join(f"[{region.label}]" for region in regions)
    drawn = marked(Choose((image,), everybody, ("a", "b")), outlines=True)
    assert drawn.prompt == " ".join(region.label for region in regions)


def test_texts_that_point_to_nothing_leave_the_picture_as_it_is(tmp_path: Path) -> None:
    image = ImageRef(LocalFolder(tmp_path), "a.png", (Region("person1", (0.0, 0.0, 5.0, 5.0)),))
    assert marked(Choose((image,), "Why?", ("a", "b")), outlines=True).images[0].edits == ()


def test_each_way_of_pointing_has_its_own_signature(root: DataRoot) -> None:
    lines = []
    for marks in ("off", "draw", "draw-boxes"):
        task = Vcr({"marks": marks})
        lines.append(signature(task, task.load(root, None, None), task.protocol(CHOOSES), None))
    assert "marks" not in lines[0]
    assert "|marks:draw-v1|" in lines[1] and "|marks:draw-boxes-v1|" in lines[2]
    plain = Vcr()
    assert lines[0] == signature(plain, plain.load(root, None, None), plain.protocol(CHOOSES), None)
    with pytest.raises(UsageError, match="vcr:marks=masks is none of: off, draw, draw-boxes"):
        Vcr({"marks": "masks"})


def test_a_site_shows_the_marks_whatever_the_model_saw_and_no_right_answer_that_nobody_knows(root: DataRoot) -> None:
    task = Vcr()
    dataset = task.load(root, None, None)
    first, second = dataset.samples
    views = dict(task.views(dataset))
    (marks,) = views[first.annot_id].images[0].edits
    assert isinstance(marks, Marks)
    assert [region.label for region in marks.regions] == ["person1", "person2", "bottle1"]
    assert views[first.annot_id].references == (first.answers[1], first.rationales[3])
    hidden = dataclasses.replace(second, answer_label=NO_LABEL, rationale_label=NO_LABEL)
    ((_, shown),) = task.views(dataclasses.replace(dataset, samples=(hidden,)))
    assert shown.references == ()
    chosen = Truths({hidden.annot_id: shown}).answer(hidden.annot_id, "3 0 1 2 3")
    assert chosen == " / ".join((hidden.answers[3], *hidden.rationales))
