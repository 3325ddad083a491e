"""`vlbench data df`, and CIDEr with the file that it writes, through the real command line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.support import layouts
from tests.support.cli import vlbench

if TYPE_CHECKING:
    from pathlib import Path


def test_a_file_of_the_split_itself_gives_the_same_cider(tmp_path: Path) -> None:
    references = layouts.coco(tmp_path)
    output = tmp_path / "df.json"
    done = vlbench("data", "df", "--references", references, "--output", output)
    assert done.returncode == 0, done.stderr
    assert "n-grams of 3 images of coco val2014" in done.stdout
    document = json.loads(output.read_text())
    assert document["images"] == 3 and document["document_frequencies"]["motor bike"] == 2
    assert "moped" not in document["document_frequencies"], "a word of one image weighs as an unknown one"
    texts = [{"image_id": image_id, "caption": captions[0]} for image_id, captions in layouts.CAPTIONS.items()]
    layouts.write(tmp_path / "answers.json", texts)
    arguments = ("score", "--task", "coco_caption", "--predictions", tmp_path / "answers.json")
    arguments = (*arguments, "--references", references, "--task-arg", "meteor=off", "--json")
    (own,) = json.loads(vlbench(*arguments).stdout)
    (given,) = json.loads(vlbench(*arguments, "--task-arg", f"coco_caption:df={output}").stdout)
    assert given["metrics"]["CIDEr"] == own["metrics"]["CIDEr"]
    assert "|df:" in given["signature"] and "|df:" not in own["signature"]
    assert "are those of 3 images" in given["notes"][0]


def test_what_is_refused(tmp_path: Path) -> None:
    references = layouts.coco(tmp_path)
    done = vlbench("data", "df", "--references", references, "--output", references)
    assert done.returncode == 2 and "exists; choose another --output" in done.stderr
    done = vlbench("data", "df", "--references", references, "--output", tmp_path / "no" / "df.json")
    assert done.returncode == 2 and "cannot write" in done.stderr and len(done.stderr.splitlines()) == 1
    done = vlbench("data", "df", "--references", tmp_path / "none.json", "--output", tmp_path / "df.json")
    assert done.returncode == 2 and "none.json is missing" in done.stderr
