"""Datasets from a hub: what the columns become, the cache, and each failure as one line with its remedy."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import layouts, tables
from tests.support.cli import ROOT, vlbench
from tests.support.hub import TOKEN, HubServer
from vlbench.data.flickr30k import load_flickr30k
from vlbench.data.hub import HubRoot, read_columns
from vlbench.data.hub_layouts import REPOSITORIES
from vlbench.data.source import LocalFolder
from vlbench.data.vqa import load_vqa
from vlbench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

COCO = "lmms-lab/COCO-Caption"
SECONDS = 15

# The library reads its environment when it is imported, so each client is a process of its own, as for a user.
CLIENT = """
import importlib, json, os, sys, time
from vlbench.data.roots import open_root
from vlbench.errors import VlbenchError
data, dataset, split = sys.argv[1:]
started = time.perf_counter()
try:
    module = importlib.import_module(f"vlbench.data.{dataset}")
    folder = open_root(data).folder(dataset)
    loaded = getattr(module, f"load_{dataset}")(folder, split or None)
    answer = {
        "split": loaded.split, "counts": loaded.counts, "fingerprint": loaded.fingerprint, "origin": folder.origin,
        "pixels": [s.image.load().getpixel((0, 0)) for s in loaded.samples],
        "ids": [s.image_id for s in loaded.samples],
        "there": all(s.image.source.exists(s.image.name) for s in loaded.samples),
        "keys": len({s.image.key for s in loaded.samples}),
    }
except VlbenchError as error:
    answer = {"error": str(error)}
print(json.dumps(answer | {"seconds": time.perf_counter() - started}))
"""
RED, GREEN, BLUE = [255, 0, 0], [0, 128, 0], [0, 0, 255]


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with HubServer() as server:
        yield server


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def load(
    hub: HubServer, cache: Path, data: str, dataset: str = "coco", split: str = "", **environment: str
) -> dict[str, Any]:
    """Load in a process of its own; whatever comes of it, it is soon, and nothing else is said."""
    done = subprocess.run(
        [sys.executable, "-c", CLIENT, data, dataset, split],
        env={"PYTHONPATH": str(ROOT), "PATH": "", "HOME": str(cache), **hub.environment(cache), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0 and done.stderr == "", done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    assert answer["seconds"] < SECONDS
    return answer


def refused(answer: dict[str, Any], *named: str) -> None:
    assert "error" in answer, answer
    assert "\n" not in answer["error"]
    for text in named:
        assert text in answer["error"], answer["error"]


def bodies(hub: HubServer, name: str) -> list[str]:
    """The Range headers of all downloads of a file."""
    return [asked for method, path, asked in hub.requests if method == "GET" and path.endswith(name)]


def test_first_download_then_the_cache_and_then_without_a_server(hub: HubServer, cache: Path) -> None:
    commit = hub.push(COCO, tables.coco())
    first = load(hub, cache, "hub")
    assert first["split"] == "val2014" and first["counts"] == {"images": 3, "captions": 7}
    assert first["ids"] == ["391895", "522418", "184613"] and first["pixels"] == [RED, GREEN, BLUE]
    assert first["origin"] == f"hf:{COCO}@{commit}" and first["there"] and first["keys"] == 3
    assert bodies(hub, "val-00001-of-00002.parquet") == [""]
    again = load(hub, cache, f"hf:{COCO}")
    assert len(bodies(hub, ".parquet")) == 2
    hub.stop()
    offline = load(hub, cache, f"hf:{COCO}")
    forbidden = load(hub, cache, f"hf:{COCO}", HF_HUB_OFFLINE="1")
    for answer in (again, offline, forbidden):
        assert {**answer, "seconds": 0} == {**first, "seconds": 0}
    refused(load(hub, cache / "other", "hub"), f"hf:{COCO} is not, or not wholly, in the cache", "check the network")


def test_an_interrupted_download_goes_on_where_it_stopped(hub: HubServer, cache: Path) -> None:
    """The server breaks off every answer; a process killed in between leaves its part to the next one."""
    files = tables.coco()
    hub.push(COCO, files)
    hub.break_after = 500
    name = "val-00000-of-00002.parquet"
    assert load(hub, cache, "hub")["pixels"] == [RED, GREEN, BLUE]
    asked = bodies(hub, name)
    size = len(files[f"data/{name}"])
    assert asked == ["", *(f"bytes={k}-" for k in range(500, size, 500))]


def test_what_another_process_left_unfinished_is_continued(hub: HubServer, cache: Path) -> None:
    files = tables.coco()
    hub.push(COCO, files)
    hub.break_after = 0
    refused(load(hub, cache, "hub"), "cannot be fetched", "the server stopped after 0 of", "the same command resumes")
    hub.break_after = None
    hub.requests.clear()
    # As a killed process leaves it: some bytes, and the tag of the file that they belong to.
    name, data = next((n, d) for n, d in files.items() if n.endswith("00000-of-00002.parquet"))
    blobs = cache / "hub" / f"datasets--{COCO.replace('/', '--')}" / "blobs"
    tag = hashlib.sha1(data).hexdigest()
    (blobs / f"{tag}.part").write_bytes(data[:700])
    (blobs / f"{tag}.part.tag").write_text(f'"{tag}"')
    assert load(hub, cache, "hub")["pixels"] == [RED, GREEN, BLUE]
    assert bodies(hub, name) == ["bytes=700-"]
    assert not list(blobs.glob("*.part*"))


def test_a_revision_that_changes_is_seen_and_one_that_is_pinned_is_not(hub: HubServer, cache: Path) -> None:
    old = hub.push(COCO, tables.coco())
    assert load(hub, cache, "hub")["origin"].endswith(old)
    changed = tables.coco()
    changed["data/val-00000-of-00002.parquet"] = changed["data/val-00000-of-00002.parquet"].replace(b"moped", b"horse")
    new = hub.push(COCO, changed)
    assert new != old
    fresh, pinned = load(hub, cache, "hub"), load(hub, cache, f"hf:{COCO}@{old}")
    assert fresh["origin"].endswith(new) and pinned["origin"].endswith(old)
    refused(load(hub, cache, f"hf:{COCO}@v9"), f"hf:{COCO}@v9 is no revision that the hub has", "/commits")


def test_what_is_missing_gated_or_broken(hub: HubServer, cache: Path) -> None:
    refused(load(hub, cache, "hub"), f"hf:{COCO} is not on the hub, or is private", hub.url, "hf auth login")
    refused(load(hub, cache, "hub", HF_TOKEN=TOKEN), f"hf:{COCO} is not on the hub")
    hub.push(COCO, tables.coco())
    hub.gated.add(COCO)
    refused(load(hub, cache, "hub"), f"hf:{COCO} is gated", f"terms on {hub.url}/datasets/{COCO}", "HF_TOKEN")
    assert load(hub, cache, "hub", HF_TOKEN=TOKEN)["split"] == "val2014"
    hub.broken.add(COCO)
    refused(load(hub, cache / "b", "hub", HF_TOKEN=TOKEN), "cannot be reached")


def test_a_server_that_never_answers(hub: HubServer, cache: Path) -> None:
    hub.push(COCO, tables.coco())
    whole = load(hub, cache, "hub")
    hub.silent.set()
    refused(load(hub, cache / "b", "hub"), f"the hub at {hub.url} cannot be reached")
    assert load(hub, cache, "hub")["fingerprint"] == whole["fingerprint"]


def test_files_that_are_not_what_the_table_says(hub: HubServer, cache: Path) -> None:
    hub.push(COCO, {"README.md": b"x", "data/train-00000-of-00001.parquet": b""})
    refused(load(hub, cache, "hub"), "has no parquet files of split 'val'")
    hub.push(COCO, tables.shards("data", "val", b"not parquet"))
    refused(load(hub, cache, "hub"), "val-00000-of-00001.parquet is not a readable parquet file", "delete ")
    hub.push(COCO, tables.shards("data", "val", tables.parquet([{"image": tables.cell("red"), "id": 1}])))
    refused(load(hub, cache, "hub"), "has no column file_name, answer; it has image, id")


def test_flickr30k_and_vqa_are_equal_to_the_official_files(hub: HubServer, cache: Path, tmp_path: Path) -> None:
    """Numbers that come as strings are the same ids: results of both sources can be compared."""
    hub.push("nlphuji/flickr30k", tables.flickr30k(), revision="refs/convert/parquet")
    layouts.flickr30k(tmp_path / "f")
    there = load(hub, cache, "hub", "flickr30k")
    assert there["fingerprint"] == load_flickr30k(LocalFolder(tmp_path / "f")).fingerprint
    assert there["pixels"] == [RED, BLUE] and there["split"] == "test"
    assert load(hub, cache, "hub", "flickr30k", "train")["counts"] == {"images": 1, "captions": 2}
    hub.push("lmms-lab/VQAv2", tables.vqa())
    layouts.vqa(tmp_path / "v")
    there = load(hub, cache, "hf:lmms-lab/VQAv2", "vqa")
    assert there["fingerprint"] == load_vqa(LocalFolder(tmp_path / "v")).fingerprint
    assert there["pixels"] == [RED, RED, GREEN]
    assert load(hub, cache, "hf:lmms-lab/VQAv2", "vqa", "test-dev2015")["counts"]["questions"] == 3
    refused(load(hub, cache, "hf:lmms-lab/VQAv2"), "does not hold coco; take hf:lmms-lab/COCO-Caption")


def test_shards_on_the_hub(hub: HubServer, cache: Path, tmp_path: Path) -> None:
    folder = tables.webdataset(tmp_path / "w")
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    commit = hub.push("clip-benchmark/wds_mscoco_captions", files)
    there = load(hub, cache, "hf:clip-benchmark/wds_mscoco_captions")
    assert there["split"] == "karpathy-test" and there["pixels"] == [RED, GREEN, BLUE]
    assert there["origin"] == f"hf:clip-benchmark/wds_mscoco_captions@{commit}"
    refused(load(hub, cache, "hf:clip-benchmark/wds_mscoco_captions", "flickr30k"), "holds coco, not flickr30k")


def test_winoground_is_shown_in_its_official_layout(tmp_path: Path) -> None:
    files = tables.winoground()
    for name, data in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    known = REPOSITORIES["facebook/winoground"]
    (table,) = tmp_path.glob("data/*.parquet")
    columns, sizes = read_columns(table, known, "here")
    shown = known.show(columns, "test")
    lines = shown.documents["examples.jsonl"]
    assert [line["id"] for line in lines] == [0, 1] and sizes == [2]
    assert (lines[1]["image_0"], lines[1]["image_1"]) == ("ex_1_img_0", "ex_1_img_1")
    assert lines[0]["caption_0"].startswith("an old person") and lines[0]["collapsed_tag"] == "Object"
    assert shown.images == {f"image_{k}": [f"images/ex_0_img_{k}.png", f"images/ex_1_img_{k}.png"] for k in (0, 1)}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("hf:lmms-lab/flickr30k", "no column tells Karpathy's; take nlphuji/flickr30k"),
        ("hf:HuggingFaceM4/VQAv2@main", "take lmms-lab/VQAv2"),
        ("hf:someone/something", "nothing is known of the columns of hf:someone/something"),
    ],
)
def test_repositories_that_cannot_be_used(data: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        HubRoot(Path(data))


def test_a_run_records_the_revision(hub: HubServer, cache: Path, tmp_path: Path) -> None:
    commit = hub.push(COCO, tables.coco())
    environment = hub.environment(cache)
    plugin = ROOT / "tests" / "support" / "colours.py"
    arguments = ["--device", "cpu", "--plugin", plugin, "--model", "colours", "--tasks", "coco_retrieval", "--json"]
    started = time.perf_counter()
    done = vlbench("run", *arguments, "--data", f"hf:{COCO}", "--output", tmp_path / "r", **environment)
    assert done.returncode == 0, done.stderr
    (result,) = json.loads(done.stdout)
    assert result["settings"]["data"] == f"hf:{COCO}@{commit}"
    assert result["task"]["dataset"] == "coco" and result["task"]["partial"] is True
    hub.stop()
    done = vlbench("run", *arguments, "--data", "hub", "--output", tmp_path / "s", **hub.environment(cache / "none"))
    assert done.returncode == 2 and done.stdout == ""
    assert [line for line in done.stderr.splitlines() if "cannot be reached" in line] == [done.stderr.splitlines()[-1]]
    assert time.perf_counter() - started < 60
