"""Visual Genome in its official layout: what is read, what is left out, and what can be wrong."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import genome
from tests.support.layouts import write
from vlbench.data.source import LocalFolder
from vlbench.data.visual_genome import first_word, load_questions, load_regions, pick
from vlbench.edits import Crop
from vlbench.errors import DataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> LocalFolder:
    genome.genome(tmp_path)
    return LocalFolder(tmp_path)


def test_regions_are_crops_clipped_to_the_picture_and_none_is_there_twice(folder: LocalFolder) -> None:
    dataset = load_regions(folder)
    assert (dataset.name, dataset.split) == ("visual_genome", "densecap-test")
    assert dataset.counts == {"images": 2, "regions": 4} and dataset.partial
    assert [(s.image_id, s.captions[0].text, s.image.edits) for s in dataset.samples] == [
        ("1/10", "the wall is white", (Crop((0, 0, 30, 30)),)),
        ("1/12", "shade is along the street", (Crop((0, 20, 35, 48)),)),
        ("2/20", "The wall is white", (Crop((10, 10, 40, 40)),)),
        ("2/21", "a red car", (Crop((20, 0, 64, 40)),)),
    ]
    assert dataset.samples[1].image.load().size == (35, 28)


def test_a_number_of_regions_is_chosen_by_their_ids_alone(folder: LocalFolder) -> None:
    few = load_regions(folder, per_image=1)
    assert len(few.samples) == 2 and set(few.samples) <= set(load_regions(folder).samples)
    document = genome.region_descriptions()
    for record in document:
        record["regions"].reverse()
    write(folder.path / "region_descriptions.json", document)
    kept = {s.image_id for s in few.samples} - {"1/10"}
    assert kept <= {s.image_id for s in load_regions(folder, per_image=1).samples}


def test_pick_keeps_the_order() -> None:
    items = [f"r{k}" for k in range(50)]
    chosen = pick(items, 10, str)
    assert len(chosen) == 10 and chosen == sorted(chosen, key=items.index)
    assert set(chosen) == set(pick(items[::-1], 10, str)) and chosen != items[:10]
    assert pick(items, 0, str) == items == pick(items, 99, str)


def test_images_lie_in_two_folders_and_not_always_where_the_url_says(folder: LocalFolder) -> None:
    dataset = load_questions(folder, "all")
    names = {sample.image_id: sample.image.name for sample in dataset.samples}
    assert names == {"1": "VG_100K_2/1.jpg", "2": "VG_100K/2.jpg", "3": "VG_100K/3.jpg"}
    (folder.path / "VG_100K_2" / "1.jpg").unlink()
    assert load_questions(folder).samples[0].image.name == "VG_100K_2/1.jpg"


def test_questions_have_one_answer_and_the_type_of_their_first_word(folder: LocalFolder) -> None:
    elsewhere: Counter[tuple[str, str]] = Counter()
    dataset = load_questions(folder, None, None, elsewhere)
    assert dataset.counts == {"images": 2, "questions": 4}
    assert [(s.question_id, s.question_type, s.answers) for s in dataset.samples] == [
        ("100", "what", ("Green.",)),
        ("101", "how", ("Two.",)),
        ("200", "what", ("A dog.",)),
        ("201", "where", ("On the  couch.",)),
    ]
    assert elsewhere == {("what", "Dog."): 1}
    assert first_word("'Where's it?'") == "where's"


def test_limit_counts_the_images_of_its_samples(folder: LocalFolder) -> None:
    assert load_questions(folder, None, 2).counts == {"images": 1, "questions": 2}
    assert load_regions(folder, None, 3).counts == {"images": 2, "regions": 3}
    with pytest.raises(UsageError, match="--limit 0"):
        load_questions(folder, None, 0)


def test_without_the_file_of_densecap_one_image_in_twenty_is_the_default(tmp_path: Path) -> None:
    genome.genome(tmp_path, test=None)
    folder = LocalFolder(tmp_path)
    with pytest.raises(DataError, match=r"image_data\.json: split hash-test has no images"):
        load_questions(folder)
    rows = [genome.image_data()[0] | {"image_id": image_id} for image_id in range(1, 2001)]
    write(tmp_path / "image_data.json", rows)
    dataset = load_questions(folder, "all")
    assert dataset.counts["images"] == 2000 and dataset.official_counts == {"images": 108_077}
    hashed = load_regions(folder)
    assert hashed.split == "hash-test" and 60 < hashed.counts["images"] < 140 and not hashed.official_counts
    with pytest.raises(UsageError, match=r"unknown split 'test' of visual_genome; it has: densecap-test"):
        load_questions(folder, "test")
    with pytest.raises(DataError, match=r"no visual_genome annotations for split densecap-val"):
        load_questions(folder, "densecap-val")


def test_annotations_may_lie_in_a_folder_of_their_own(tmp_path: Path) -> None:
    genome.genome(tmp_path)
    (tmp_path / "annotations").mkdir()
    for path in list(tmp_path.glob("*.json")):
        path.rename(tmp_path / "annotations" / path.name)
    assert load_questions(LocalFolder(tmp_path)).counts == {"images": 2, "questions": 4}


BREAKS: dict[str, tuple[str, Callable[[Any], object], str]] = {
    "image twice": ("image_data.json", lambda d: d.append(dict(d[0])), "duplicate image ids 1"),
    "no url": ("image_data.json", lambda d: d[0].pop("url"), "record [0] has no 'url'"),
    "width a string": ("image_data.json", lambda d: d[0].update(width="64"), "width is a string, not an integer"),
    "no height": ("image_data.json", lambda d: d[1].update(height=0), "record [1] is 64 pixels wide and 0 high"),
    "no list": ("image_data.json", lambda d: d.clear(), "image_data.json has no records"),
    "unlisted image": ("region_descriptions.json", lambda d: d[0].update(id=9), "does not list: 9"),
    "image of regions twice": ("region_descriptions.json", lambda d: d[1].update(id=1), "duplicate image ids 1"),
    "regions missing": ("region_descriptions.json", lambda d: d[1].pop("regions"), "record [1] has no 'regions'"),
    "phrase null": (
        "region_descriptions.json",
        lambda d: d[0]["regions"][2].update(phrase=None),
        "record [0].regions[2].phrase is null, not a string",
    ),
    "box of a float": (
        "region_descriptions.json",
        lambda d: d[1]["regions"][0].update(x=1.5),
        "record [1].regions[0].x is a number, not an integer",
    ),
    "region twice": (
        "region_descriptions.json",
        lambda d: d[1]["regions"][1].update(region_id=20),
        "duplicate region ids 2/20",
    ),
    "answer missing": (
        "question_answers.json",
        lambda d: d[0]["qas"][1].pop("answer"),
        "record [0].qas[1] has no 'answer'",
    ),
    "question twice": ("question_answers.json", lambda d: d[1]["qas"][0].update(qa_id=100), "duplicate question ids"),
    "split missing": ("densecap_splits.json", lambda d: d.pop("test"), "has no 'test'; it is not the file of DenseCap"),
    "split no list": ("densecap_splits.json", lambda d: d.update(test=7), "densecap_splits.json: test is an integer"),
    "split empty": ("densecap_splits.json", lambda d: d.update(test=[]), "split densecap-test has no images"),
}


@pytest.mark.parametrize("case", BREAKS)
def test_a_broken_file_is_named_in_one_line(folder: LocalFolder, case: str) -> None:
    name, change, message = BREAKS[case]
    document = folder.read_json(name)
    change(document)
    write(folder.path / name, document)
    load = load_questions if name == "question_answers.json" else load_regions
    with pytest.raises(DataError) as error:
        load(folder)
    text = str(error.value)
    assert message in text and str(folder.path) in text and "\n" not in text


def test_a_missing_file_is_named(folder: LocalFolder) -> None:
    (folder.path / "question_answers.json").unlink()
    with pytest.raises(DataError, match=r"question_answers\.json is missing"):
        load_questions(folder)
