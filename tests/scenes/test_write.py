"""The benchmark on disk: layouts, counts, atomicity, and the shared cache under many processes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from vlbench.data.coco import load_coco
from vlbench.data.flickr30k import load_flickr30k
from vlbench.data.scene_graphs import load_attribute_probes, load_relation_probes
from vlbench.data.scenes import cache, captions, questions, render, scene, split
from vlbench.data.scenes.write import DATASETS, write_official
from vlbench.data.source import LocalFolder
from vlbench.data.vcr import load_vcr
from vlbench.data.visual_genome import load_questions, load_regions
from vlbench.data.vqa import load_vqa
from vlbench.errors import DataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY = Path(__file__).resolve().parents[2]


def read(path: Path) -> Any:
    return json.loads(path.read_bytes())


@pytest.fixture(scope="module")
def bundled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The cache, drawn by three processes at once."""
    folder = tmp_path_factory.mktemp("cache")
    environment = {**os.environ, "VLBENCH_CACHE": str(folder), "PYTHONPATH": str(REPOSITORY)}
    code = "from vlbench.data.scenes.cache import ensure; print(ensure())"
    racers = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    outputs = [racer.communicate(timeout=240)[0].strip() for racer in racers]
    assert [racer.returncode for racer in racers] == [0, 0, 0]
    assert len(set(outputs)) == 1
    root = Path(outputs[0])
    assert sorted(p.name for p in folder.iterdir()) == [root.name, f"{root.name}.lock"]
    yield root


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve train scenes with their pictures, and no other split."""
    root = tmp_path_factory.mktemp("written") / "deep" / "root"
    write_official(root, splits=("train",), train_count=12)
    return root


def test_bundled_benchmark_is_read_by_the_ordinary_loaders(bundled: Path) -> None:
    assert {p.name for p in bundled.iterdir()} == {*DATASETS, "manifest.json"}
    coco = load_coco(LocalFolder(bundled / "coco"))
    assert (coco.split, dict(coco.counts)) == ("karpathy-test", {"images": 500, "captions": 2500})
    flickr = load_flickr30k(LocalFolder(bundled / "flickr30k"))
    assert (flickr.split, dict(flickr.counts)) == ("test", {"images": 500, "captions": 2500})
    vqa = load_vqa(LocalFolder(bundled / "vqa"))
    assert (vqa.split, len(vqa.samples)) == ("val2014", 3000)
    vcr = load_vcr(LocalFolder(bundled / "vcr"))
    assert (vcr.split, len(vcr.samples)) == ("val", 1000)
    genome = LocalFolder(bundled / "visual_genome")
    for loaded, samples in ((load_questions(genome), 3000), (load_regions(genome), 2430)):
        assert (loaded.split, loaded.counts["images"], len(loaded.samples)) == ("densecap-test", 500, samples)
    assert load_attribute_probes(genome).counts["probes"] > 500 < load_relation_probes(genome).counts["probes"]


def test_every_picture_that_a_test_split_names_is_there(bundled: Path) -> None:
    datasets = (
        load_coco(LocalFolder(bundled / "coco")),
        load_flickr30k(LocalFolder(bundled / "flickr30k")),
        load_vqa(LocalFolder(bundled / "vqa")),
        load_vcr(LocalFolder(bundled / "vcr")),
        load_questions(LocalFolder(bundled / "visual_genome")),
    )
    for dataset in datasets:
        images = {sample.image for sample in dataset.samples}
        assert len({image.name for image in images}) == 500
        assert all(image.source.exists(image.name) for image in images)


def test_pictures_on_disk_are_the_drawn_ones(bundled: Path) -> None:
    places = {
        "coco/val2014/COCO_val2014_000000000001.png": scene("test", 0),
        "vqa/val2014/COCO_val2014_000000000500.png": scene("test", 499),
        "vcr/vcr1images/scenes_test/7.png": scene("test", 6),
        "flickr30k/flickr30k-images/200003.png": scene("flickr-test", 2),
        "coco/train2014/COCO_train2014_000000100001.png": scene("val", 0),
        "visual_genome/VG_100K/100500.png": scene("val", 499),
        "visual_genome/VG_100K/1.png": scene("test", 0),
    }
    for name, drawn in places.items():
        with Image.open(bundled / name) as picture:
            assert picture.format == "PNG"
            assert (np.asarray(picture) == render(drawn)).all()


def test_no_test_scene_is_among_the_training_files(bundled: Path) -> None:
    test = set(range(1, 501))
    karpathy = read(bundled / "coco" / "dataset_coco.json")["images"]
    assert {row["cocoid"] for row in karpathy if row["split"] == "test"} == test
    assert {row["filepath"] for row in karpathy if row["split"] == "test"} == {"val2014"}
    assert {row["filepath"] for row in karpathy if row["split"] != "test"} == {"train2014"}
    train = {row["id"] for row in read(bundled / "coco" / "annotations" / "captions_train2014.json")["images"]}
    train |= {row["image_id"] for row in read(bundled / "vqa" / "v2_mscoco_train2014_annotations.json")["annotations"]}
    assert not train & test
    assert len(train) == 1500
    parts = read(bundled / "visual_genome" / "densecap_splits.json")
    assert set(parts["test"]) == test and not train & test and set(parts["val"]) <= train and not parts["train"]


def test_bundled_vqa_has_train_answers_for_a_shortlist(bundled: Path) -> None:
    rows = read(bundled / "vqa" / "v2_mscoco_train2014_annotations.json")["annotations"]
    assert len(rows) == 6000
    assert {len(row["answers"]) for row in rows} == {10}
    assert [a["answer_id"] for a in rows[0]["answers"]] == list(range(1, 11))


def test_texts_on_disk_are_the_drawn_ones(bundled: Path) -> None:
    rows = read(bundled / "coco" / "annotations" / "captions_val2014.json")["annotations"]
    assert [row["caption"] for row in rows[:5]] == list(captions(scene("test", 0)))
    asked = read(bundled / "vqa" / "v2_OpenEnded_mscoco_val2014_questions.json")["questions"]
    assert [row["question"] for row in asked[-6:]] == [q.question for q in questions(scene("test", 499))]


def test_a_complete_cache_is_used_again(bundled: Path) -> None:
    before = (bundled / "manifest.json").stat().st_mtime_ns
    assert cache.ensure(bundled.parent) == bundled
    assert (bundled / "manifest.json").stat().st_mtime_ns == before


def test_a_damaged_cache_is_noticed(bundled: Path) -> None:
    path = bundled / "coco" / "val2014" / "COCO_val2014_000000000001.png"
    whole = path.read_bytes()
    path.unlink()
    assert not cache.is_complete(bundled)
    path.write_bytes(whole[:-1])
    assert not cache.is_complete(bundled)
    path.write_bytes(whole)
    assert cache.is_complete(bundled)


@pytest.fixture
def quick_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw six train scenes in place of the whole benchmark: what is under test is the cache, not the drawing."""

    def few(root: Path, **_: object) -> None:
        write_official(root, splits=("train",), train_count=6)

    monkeypatch.setattr(cache, "write_official", few)


@pytest.mark.usefixtures("quick_drawing")
def test_a_damaged_cache_is_drawn_anew_and_leftovers_go(tmp_path: Path) -> None:
    root = cache.ensure(tmp_path)
    (root / "coco" / "dataset_coco.json").unlink()
    left = tmp_path / f".{root.name}.0badcafe.part"
    left.mkdir()
    assert cache.ensure(tmp_path) == root
    assert cache.is_complete(root)
    assert sorted(p.name for p in tmp_path.iterdir()) == [root.name, f"{root.name}.lock"]


@pytest.mark.usefixtures("quick_drawing")
def test_an_empty_or_meaningless_manifest_is_no_manifest(tmp_path: Path) -> None:
    root = cache.ensure(tmp_path)
    for text in ("", "{}", "[1]", "{"):
        (root / "manifest.json").write_text(text)
        assert not cache.is_complete(root)


@pytest.mark.usefixtures("quick_drawing")
def test_many_threads_get_one_cache(tmp_path: Path) -> None:
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(cache.ensure(tmp_path))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert len(set(found)) == 1


def test_a_cache_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match=r"file.*set VLBENCH_CACHE"):
        cache.ensure(tmp_path / "file" / "cache")


def test_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("VLBENCH_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache.cache_folder() == tmp_path / ".cache" / "vlbench"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache.cache_folder() == tmp_path / ".cache" / "vlbench"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.cache_folder() == tmp_path / "xdg" / "vlbench"
    monkeypatch.setenv("VLBENCH_CACHE", str(tmp_path / "own"))
    assert cache.cache_folder() == tmp_path / "own"
    assert re.fullmatch(r"scenes-\d+-[0-9a-f]{12}", cache.folder_name())


def test_train_scenes_are_written_with_pictures(small: Path) -> None:
    for folder in ("coco/train2014", "vqa/train2014", "vcr/vcr1images/scenes_train", "visual_genome/VG_100K"):
        assert len(list((small / folder).glob("*.png"))) == 12
    assert len((small / "vcr" / "train.jsonl").read_text().splitlines()) == 24
    assert not (small / "coco" / "val2014").exists()


def test_visual_genome_layout(small: Path) -> None:
    folder = small / "visual_genome"
    images = read(folder / "image_data.json")
    assert [row["image_id"] for row in images] == [s.scene_id for s in split("train", 12)]
    by_image = {row["image_id"]: row["objects"] for row in read(folder / "objects.json")}
    graphs = read(folder / "scene_graphs.json")
    for graph, attributed, related in zip(
        graphs, read(folder / "attributes.json"), read(folder / "relationships.json"), strict=True
    ):
        objects = {row["object_id"]: row for row in graph["objects"]}
        assert list(objects) == [row["object_id"] for row in by_image[graph["image_id"]]]
        assert graph["objects"] == attributed["attributes"]
        assert len(graph["relationships"]) == len(related["relationships"])
        for short, long in zip(graph["relationships"], related["relationships"], strict=True):
            assert objects[short["subject_id"]]["names"] == long["subject"]["names"]
            assert short["object_id"] == long["object"]["object_id"]
    assert {len(row["regions"]) for row in read(folder / "region_descriptions.json")} <= {1, 3, 5, 7}
    assert {len(row["qas"]) for row in read(folder / "question_answers.json")} == {6}
    parts = read(folder / "densecap_splits.json")
    assert parts == {"train": [s.scene_id for s in split("train", 12)], "val": [], "test": []}


def test_vcr_rows_have_the_official_fields(small: Path) -> None:
    rows = [json.loads(line) for line in (small / "vcr" / "train.jsonl").read_text().splitlines()]
    for row in rows:
        assert set(row) == {
            "movie", "objects", "interesting_scores", "answer_likelihood", "img_fn", "metadata_fn", "question_orig",
            "answer_orig", "rationale_orig", "question", "answer_choices", "answer_label", "answer_sources",
            "answer_match_iter", "rationale_choices", "rationale_label", "rationale_sources", "rationale_match_iter",
            "img_id", "question_number", "annot_id", "match_fold", "match_index",
        }  # fmt: skip
        tags = [k + 1 for token in row["question"] if isinstance(token, list) for k in token]
        assert [int(k) for k in re.findall(r"\d", row["question_orig"])] == tags
        metadata = read(small / "vcr" / "vcr1images" / row["metadata_fn"])
        assert len(metadata["boxes"]) == len(metadata["segms"]) == len(metadata["names"]) == len(row["objects"])
        assert metadata["names"] == row["objects"]
    assert len({row["annot_id"] for row in rows}) == len(rows) == 24


def test_writing_twice_gives_the_same_bytes(small: Path, tmp_path: Path) -> None:
    write_official(tmp_path / "again", splits=("train",), train_count=12)
    files = sorted(p.relative_to(small) for p in small.rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(tmp_path / "again") for p in (tmp_path / "again").rglob("*") if p.is_file())
    for name in files:
        assert (small / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_an_empty_folder_is_filled_and_a_full_one_refused(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    write_official(root, splits=("train",), train_count=1)
    before = sorted(root.rglob("*"))
    with pytest.raises(DataError, match="not an empty folder"):
        write_official(root, splits=("train",), train_count=1)
    assert sorted(root.rglob("*")) == before
    assert [p.name for p in tmp_path.iterdir()] == ["root"]


def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "root").write_text("mine")
    with pytest.raises(DataError, match="not an empty folder"):
        write_official(tmp_path / "root", splits=("train",), train_count=1)
    assert [p.name for p in tmp_path.iterdir()] == ["root"]


def test_nothing_is_left_where_writing_breaks_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> bytes:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("vlbench.data.scenes.write.png", full)
    with pytest.raises(OSError, match="No space"):
        write_official(tmp_path / "root", splits=("train",), train_count=1)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("wrong", [{"splits": ("dev",)}, {"splits": ("train",), "train_count": 0}])
def test_wrong_wishes_are_refused(wrong: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        write_official(tmp_path / "root", **wrong)
    assert not list(tmp_path.iterdir())
