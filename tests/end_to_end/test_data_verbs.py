"""``vlbench data list | check | get`` as a user calls them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import compositional, layouts, tables
from tests.support.cli import vlbench
from tests.support.files import archive
from tests.support.hub import HubServer
from vlbench.data.coco import load_coco
from vlbench.data.source import LocalFolder
from vlbench.data.vqa import load_vqa

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    layouts.coco(tmp_path / "coco")
    layouts.vqa(tmp_path / "vqa")
    return tmp_path


def refused(done: subprocess.CompletedProcess[str], *named: object) -> None:
    assert done.returncode == 2 and done.stdout == "" and "Traceback" not in done.stderr, done.stderr
    line = done.stderr.splitlines()[-1]
    assert line.startswith("vlbench: ") and all(str(text) in line for text in named), line


def test_list_says_what_is_here_and_how_to_get_the_rest(root: Path) -> None:
    done = vlbench("data", "list", "--data", root, "--json")
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    assert rows["coco"]["here"] == ["val2014"] and "karpathy-test" in rows["coco"]["missing"]
    assert rows["coco"]["folder"] == str(root / "coco")
    size = sum(path.stat().st_size for path in (root / "coco").rglob("*") if path.is_file())
    assert rows["coco"]["bytes"] == size
    assert rows["flickr30k"]["here"] == [] and rows["flickr30k"]["bytes"] is None
    assert "vlbench data get flickr30k; ask for the images" in rows["flickr30k"]["get"]
    assert rows["vcr"]["get"].startswith("accept the terms") and rows["vcr"]["licence"] and rows["vcr"]["source"]
    shown = vlbench("data", "list", "--data", root).stdout
    assert f"here     val2014 in {root / 'coco'}, " in shown and "here     nothing" in shown


def test_list_of_a_hub(tmp_path: Path) -> None:
    """Only the card of each repository is fetched; what cannot be had is said."""
    with HubServer() as hub:
        refused(vlbench("data", "list", "--data", "hf:lmms-lab/flickr30k"), "take nlphuji/flickr30k")
        hub.push("lmms-lab/VQAv2", tables.vqa())
        done = vlbench("data", "list", "--data", "hub", "--json", **hub.environment(tmp_path))
        rows = {row["name"]: row for row in json.loads(done.stdout)}
        assert set(rows["vqa"]["here"]) == {"val2014", "test2015", "test-dev2015"} and rows["vqa"]["bytes"] is None
        assert "lmms-lab/COCO-Caption is not on the hub" in rows["coco"]["reason"]
        assert "does not hold vcr, and no repository is known that does" in rows["vcr"]["reason"]
        assert not [path for _, path, _ in hub.requests if path.endswith(".parquet")]


def test_check_finds_counts_ids_and_images(root: Path) -> None:
    images = root / "coco" / "val2014"
    bad, gone = images / "COCO_val2014_000000391895.jpg", images / "COCO_val2014_000000522418.jpg"
    bad.write_bytes(bad.read_bytes()[:200])
    gone.unlink()
    done = vlbench("data", "check", "coco", "--data", root)
    lines = done.stdout.splitlines()
    assert done.returncode == 2 and done.stderr == "checked coco val2014: 4 defects\n"
    assert lines[:2] == [
        "coco val2014: there are 3 images; the official split has 40,504",
        "coco val2014: there are 7 captions; the official split has 202,654",
    ]
    assert f"image {bad} cannot be decoded" in lines[2] and lines[3] == f"coco val2014: file {gone} is missing"
    few = vlbench("data", "check", "coco", "--data", root, "--max-defects", "1")
    assert few.stdout.splitlines()[1:] == ["and 3 more (--max-defects)"]
    defects = json.loads(vlbench("data", "check", "--data", root, "--json").stdout)
    assert {row["dataset"] for row in defects} == {"coco", "vqa"}
    document = layouts.coco_document()
    document["images"].append(document["images"][0])
    layouts.write(root / "coco" / "annotations" / "captions_val2014.json", document)
    done = vlbench("data", "check", "coco", "--data", root)
    assert done.returncode == 2 and "duplicate image ids 391895" in done.stdout


def test_datasets_without_a_file_a_split_and_with_images_of_another(tmp_path: Path) -> None:
    """An image folder was never listed, and SugarCrepe's images were missed though `run` finds them in coco/."""
    compositional.sugarcrepe(tmp_path / "sugarcrepe")
    layouts.coco(tmp_path / "coco")
    (tmp_path / "sugarcrepe" / "val2017").rename(tmp_path / "coco" / "val2017")
    compositional.image_folder(tmp_path / "imagenet")
    rows = {row["name"]: row for row in json.loads(vlbench("data", "list", "--data", tmp_path, "--json").stdout)}
    assert rows["imagenet"]["here"] == ["val"] and "train" in rows["imagenet"]["missing"]
    defects = json.loads(vlbench("data", "check", "sugarcrepe", "imagenet", "--data", tmp_path, "--json").stdout)
    assert {row["dataset"] for row in defects} == {"sugarcrepe", "imagenet"}
    assert all("the official split has" in row["defect"] for row in defects), defects


def test_check_of_the_bundled_benchmark_and_of_nothing(root: Path) -> None:
    done = vlbench("data", "check", "flickr30k", "--data", "scenes")
    assert done.returncode == 0 and done.stdout == "" and ": no defects" in done.stderr
    refused(vlbench("data", "check", "vcr", "--data", root), "no annotations of vcr in", "vlbench data list")
    refused(
        vlbench("data", "check", "cocoa", "--data", root), "unknown dataset 'cocoa'; did you mean 'coco' or 'nocaps'?"
    )
    refused(vlbench("data", "check", "coco", "--split", "val", "--data", root), "unknown split 'val' of coco")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[HubServer]:
    """The official hosts with miniatures of the official archives."""
    with HubServer() as hub:
        names = {i: f"COCO_val2014_{i:012d}.jpg" for i in layouts.COLOURS}
        pictures = {f"val2014/{name}": tables.png(layouts.COLOURS[i]) for i, name in names.items()}
        pictures |= {f"val2014/COCO_val2014_{i:012d}.jpg": tables.png("red") for i in (262148, 393225)}
        captions = json.dumps(layouts.coco_document())
        vqa = "/cvmlp/vqa/mscoco/vqa"
        hub.files = {
            "/zips/val2014.zip": archive({"val2014/": "", **pictures}),
            "/annotations/annotations_trainval2014.zip": archive(
                {"annotations/captions_val2014.json": captions, "annotations/instances_val2014.json": "{}"}
            ),
            "/people/karpathy/deepimagesent/caption_datasets.zip": archive(
                {
                    "dataset_coco.json": json.dumps(layouts.karpathy_document()),
                    "dataset_flickr30k.json": json.dumps(layouts.flickr30k_document()),
                }
            ),
            f"{vqa}/v2_Questions_Val_mscoco.zip": archive(
                {"v2_OpenEnded_mscoco_val2014_questions.json": json.dumps(layouts.vqa_questions())}
            ),
            f"{vqa}/v2_Annotations_Val_mscoco.zip": archive(
                {"v2_mscoco_val2014_annotations.json": json.dumps(layouts.vqa_annotations())}
            ),
            f"{vqa}/v2_Annotations_Train_mscoco.zip": archive({"v2_mscoco_train2014_annotations.json": "{}"}),
        }
        yield hub


def get(server: HubServer, root: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return vlbench("data", "get", *arguments, "--data", root, VLBENCH_MIRROR=server.url, NO_PROXY="127.0.0.1")


def statuses(done: subprocess.CompletedProcess[str]) -> list[Any]:
    assert done.returncode == 0, done.stderr
    return [row["status"] for row in json.loads(done.stdout)]


def test_get_makes_a_split_complete_and_resumes(server: HubServer, tmp_path: Path) -> None:
    server.break_after = 700
    assert statuses(get(server, tmp_path, "coco", "vqa", "--split", "val2014", "--json")) == [
        *("fetched", "fetched"),
        *("fetched", "fetched", "fetched", "here"),
    ]
    coco = load_coco(LocalFolder(tmp_path / "coco"))
    assert coco.split == "val2014" and all(s.image.load().size == (8, 6) for s in coco.samples)
    # The questions are about the same photographs, which are not stored twice.
    assert (tmp_path / "vqa" / "val2014").is_symlink()
    assert all(s.image.load().size == (8, 6) for s in load_vqa(LocalFolder(tmp_path / "vqa")).samples)
    assert not (tmp_path / "coco" / "annotations" / "instances_val2014.json").exists()
    assert not list(tmp_path.rglob("*.zip")) and not list(tmp_path.rglob("*.part*"))
    server.requests.clear()
    done = get(server, tmp_path, "coco", "--split", "karpathy-test")
    assert "fetching https://cs.stanford.edu/people/karpathy" in done.stderr and "CC BY 4.0" in done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["fetched", "here"]
    assert {path for _, path, _ in server.requests} == {"/people/karpathy/deepimagesent/caption_datasets.zip"}
    (tmp_path / "coco" / "val2014" / "COCO_val2014_000000391895.jpg").unlink()
    assert statuses(get(server, tmp_path, "coco", "--json")) == ["here", "fetched"]


def test_get_says_what_is_not_public(server: HubServer, tmp_path: Path) -> None:
    done = get(server, tmp_path, "flickr30k")
    assert done.returncode == 0 and "the rest is not public: ask for the images with the form" in done.stderr
    assert (tmp_path / "flickr30k" / "dataset_flickr30k.json").is_file()
    refused(get(server, tmp_path, "vcr"), "vcr has no public source: accept the terms on https://visualcommonsense.com")
    refused(vlbench("data", "get", "coco"), "nowhere to fetch into; give --data FOLDER")


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"no zip", ("was damaged", "run again")),
        (archive({"other.json": "{}"}), ("has no dataset_coco.json", "not the official archive")),
        (b"", ("404", "check the address")),
    ],
)
def test_get_refuses_what_is_not_the_official_archive(
    server: HubServer, tmp_path: Path, content: bytes, named: tuple[str, ...]
) -> None:
    path = "/people/karpathy/deepimagesent/caption_datasets.zip"
    if content:
        server.files[path] = content
    else:
        del server.files[path]
    refused(get(server, tmp_path, "coco"), *named)


def test_get_writes_nothing_outside_its_folder(server: HubServer, tmp_path: Path) -> None:
    server.files["/zips/val2014.zip"] = archive({"val2014/../../../evil.jpg": "x"})
    refused(get(server, tmp_path / "root", "coco", "--split", "val2014"), "would be written outside its folder")
    assert not list(tmp_path.rglob("evil.jpg"))


def test_shards_behind_an_address(server: HubServer, tmp_path: Path) -> None:
    folder = tables.webdataset(tmp_path / "w")
    server.files = {
        f"/wds_mscoco_captions/{path.relative_to(folder)}": path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
    server.break_after = 3000
    where = f"wds:{server.url}/wds_mscoco_captions"
    environment = {"VLBENCH_CACHE": str(tmp_path / "cache"), "NO_PROXY": "127.0.0.1"}
    done = vlbench("data", "check", "coco", "--data", where, **environment)
    assert [line for line in done.stdout.splitlines() if "the official split has" not in line] == [], done.stderr
    assert "checked coco karpathy-test: 2 defects" in done.stderr
    server.stop()
    again = vlbench("data", "list", "--data", where, "--json", **environment)
    assert json.loads(again.stdout)[0]["here"] == ["karpathy-test"]
