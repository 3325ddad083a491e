"""The store: names that follow from the evaluation, files that are whole or not there, errors that name the file."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.support.results import result
from vlbench.errors import DataError, EvaluationFailed
from vlbench.leaderboard.store import load_results, samples_path, stem, write_result
from vlbench.result import Result, SampleCounts, read_result
from vlbench.types import Metric, SampleRow

ROOT = Path(__file__).resolve().parents[2]
ROWS = [SampleRow("1", "1", "a cat", "ok", {"CIDEr": 1.5}), SampleRow("2", "2", "", "failed", {"CIDEr": 0.0})]


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    made = result({"CIDEr": Metric(1.2925817645, ci95=(1.25, 1.33)), "SPICE": None}, notes=("a note",))
    path = write_result(tmp_path / "new" / "folder", made, ROWS)
    assert path.name == f"{stem(made)}.json" and read_result(path) == made
    assert [row["response"] for row in pq.read_table(samples_path(path)).to_pylist()] == ["a cat", ""]
    assert sorted(p.name for p in path.parent.iterdir()) == [path.name, samples_path(path).name]


def test_the_stem_is_readable_and_its_second_part_is_the_task() -> None:
    made = result(name="Qwen/qwen2.5-vl: the best|one\n", task={"name": "my.task/2"})
    assert stem(made).split(".")[:2] == ["Qwen_qwen2_5-vl_the_best_one", "my_task_2"]
    assert len(stem(made).split(".")[2]) == 16 and len(stem(result(name="x" * 300))) < 200
    assert stem(result(name="../../etc/passwd")).startswith("etc_passwd.") and stem(result(name="…")).startswith(
        "unnam"
    )


def test_the_stem_is_known_before_anything_is_computed() -> None:
    made = result()
    same: list[dict[str, Any]] = [
        {"run_id": "other"},
        {"created": "2027-01-01T00:00:00Z"},
        {"cost": {}},
        {"environment": {"python": "3.13"}},
        {"command": ("vlbench",)},
        {"metrics": {}},
        {"samples": SampleCounts(0, 0, 0)},
        {"truncated_fraction": 0.5},
        {"settings": {"seed": 0, "batch_size": "auto"}},
    ]
    assert {stem(dataclasses.replace(made, **change)) for change in same} == {stem(made)}


def test_every_part_of_the_identity_makes_another_name() -> None:
    others = [
        result(name="clip2"),
        result(name="cl/ip"),
        result(name="cl.ip"),
        *(result(model={key: "other"}) for key in ("fingerprint", "adapter", "dtype", "preprocessing")),
        result(settings={"batch_size": "auto", "seed": 1}),
        result(settings={"batch_size": "auto", "seed": "0"}),
        result(signature="another"),
        result(task={"split": "val2014"}),
    ]
    assert len({stem(made) for made in [result(), *others]}) == len(others) + 1


def test_settings_hash_as_they_are_stored(tmp_path: Path) -> None:
    made = result(settings={"sizes": (1, 2), "task_arguments": {"meteor": "off", "rerank": 5}})
    assert stem(read_result(write_result(tmp_path, made, ROWS))) == stem(made)


def test_a_failed_write_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_result(tmp_path, result({"CIDEr": 1.0}), ROWS)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError) as error:
        write_result(tmp_path, result({"CIDEr": 2.0}), [*ROWS, *ROWS])
    assert str(path) in str(error.value) and "No space left on device" in str(error.value)
    assert "\n" not in str(error.value)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_a_file_that_grows_too_large_is_one_clear_error(tmp_path: Path) -> None:
    """The kernel refuses in the middle of the table, inside the library that writes it."""
    rows = [SampleRow(str(i), str(i), os.urandom(200).hex(), "ok", {"CIDEr": 0.1 * i}) for i in range(2000)]
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        with pytest.raises(DataError, match="cannot write .* make room, or choose another place"):
            write_result(tmp_path, result(), rows)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_under_a_file_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot write .*file/results.*Not a directory"):
        write_result(tmp_path / "file" / "results", result(), ROWS)


def test_the_table_comes_before_the_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill between the two leaves a table without a result, which is computed again; never the reverse."""
    replaced: list[str] = []
    replace = Path.replace

    def spy(self: Path, target: Path) -> Path:
        replaced.append(Path(target).name)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", spy)
    path = write_result(tmp_path, result(), ROWS)
    assert replaced == [samples_path(path).name, path.name]


def test_a_metric_that_is_no_number_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(EvaluationFailed, match="coco_caption gave nan for CIDEr"):
        write_result(tmp_path, result({"CIDEr": float("nan")}), ROWS)
    with pytest.raises(EvaluationFailed, match="coco_caption gave no value for its primary metric METEOR"):
        write_result(tmp_path, result(primary="METEOR"), ROWS)
    assert list(tmp_path.iterdir()) == []


WRITER = """
import sys
from pathlib import Path
from tests.support.results import result
from vlbench.leaderboard.store import write_result
from vlbench.types import SampleRow
folder, own = Path(sys.argv[1]), sys.argv[2]
for i in range(25):
    rows = [SampleRow(str(k), str(k), own * 50, "ok", {"CIDEr": float(k)}) for k in range(50)]
    write_result(folder, result(name="shared", run_id=own, notes=(own * 2000,)), rows)
    write_result(folder, result(name=f"model-{own}-{i}"), rows)
"""


def test_many_processes_write_one_folder_at_once(tmp_path: Path) -> None:
    """Own results all arrive; the one that all write is at every moment one of theirs, whole."""
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), own], cwd=ROOT, stderr=subprocess.PIPE)
        for own in "abc"
    ]
    shared = tmp_path / f"{stem(result(name='shared'))}.json"
    seen = 0
    while any(writer.poll() is None for writer in writers):
        if shared.exists():
            found = read_result(shared)
            assert found.notes == (found.run_id * 2000,)
            assert pq.read_table(samples_path(shared)).num_rows == 50
            seen += 1
    assert [(writer.wait(), writer.communicate()[1]) for writer in writers] == [(0, b"")] * 3
    results = load_results(tmp_path)
    assert seen and {made.model.name for made in results} == {
        "shared",
        *(f"model-{own}-{i}" for own in "abc" for i in range(25)),
    }
    assert [p.name for p in tmp_path.iterdir() if p.suffix not in (".json", ".parquet")] == []


def test_results_come_from_folders_and_files_and_copies_count_once(tmp_path: Path) -> None:
    one = write_result(tmp_path / "a", result(name="one"), ROWS)
    two = write_result(tmp_path / "b", result(name="two"), ROWS)
    (tmp_path / "a" / ".hidden.json").write_text("{")
    (tmp_path / "a" / "copy.json").write_bytes(one.read_bytes())
    assert [made.model.name for made in load_results([tmp_path / "a", two, tmp_path / "b", one])] == ["one", "two"]


def _break(change: dict[str, Any]) -> str:
    return json.dumps(result().to_json() | change)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "JSONDecodeError"),
        ('{"schema": "vlbench.result/1"', "JSONDecodeError"),
        ("[]", "TypeError"),
        ("{}", "KeyError: 'schema'"),
        (_break({"schema": "vlbench.result/2"}), "schema 'vlbench.result/2' is not 'vlbench.result/1'"),
        (_break({"metrics": []}), "AttributeError"),
        (_break({"metrics": {"CIDEr": {"value": "high"}}}), "'high' is not a finite number"),
        (_break({"metrics": {"CIDEr": {"value": float("nan")}}}), "nan is not a finite number"),
        (_break({"metrics": {"CIDEr": {"value": 1.0, "ci95": [0.9]}}}), "IndexError"),
        (_break({"metrics": {"METEOR": {"value": 1.0}}}), "primary metric 'CIDEr' is not among the metrics"),
        (_break({"model": {"name": "x"}}), "KeyError"),
        ("\udcff", "UnicodeDecodeError"),
    ],
)
def test_a_file_that_is_no_result_is_named_in_one_line(tmp_path: Path, text: str, named: str) -> None:
    write_result(tmp_path, result(), ROWS)
    (tmp_path / "broken.json").write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(DataError) as error:
        load_results(tmp_path)
    line = str(error.value)
    assert line.startswith("1 of 2 files cannot be read, mend or remove them: ") and "\n" not in line
    assert f"{tmp_path / 'broken.json'} is not a vlbench.result/1 file" in line and named in line


def test_all_broken_files_are_named_but_not_without_end(tmp_path: Path) -> None:
    for i in range(7):
        (tmp_path / f"{i}.json").write_text("x")
    with pytest.raises(DataError, match=r"7 of 7 files.*0\.json.*4\.json.*and 2 more$"):
        load_results(tmp_path)


def test_nothing_there_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no result file or folder .*nowhere; `vlbench run --output .*` makes one"):
        load_results(tmp_path / "nowhere")
    with pytest.raises(DataError, match="holds no results"):
        load_results(tmp_path)


def test_results_of_earlier_writers_lack_nothing_that_matters() -> None:
    document = result().to_json()
    del document["notes"], document["truncated_fraction"], document["settings"]
    document["a_later_field"] = 1
    assert Result.from_json(document | {"notes": []}) == dataclasses.replace(result(), settings={})


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("run_id",), []),
        (("created",), None),
        (("command",), "vlbench run"),
        (("settings",), [1]),
        (("settings", "task_arguments"), "meteor=off"),
        (("settings", "task_arguments"), {"meteor": ["off"]}),
        (("cost", "samples_per_second"), "fast"),
        (("cost", "samples_per_second"), float("nan")),
        (("model", "parameters"), "many"),
        (("model", "name"), None),
        (("task", "limit"), True),
        (("task", "counts", "images"), "x"),
        (("samples", "failures"), [1]),
        (("metrics", "CIDEr", "reason"), 7),
        (("truncated_fraction",), "x"),
    ],
)
def test_a_field_of_another_type_is_found_on_reading(tmp_path: Path, place: tuple[str, ...], value: object) -> None:
    """What was taken as it stood came back as a ``TypeError`` of whichever verb used it first."""
    path = write_result(tmp_path, result(), ROWS)
    document = json.loads(path.read_text())
    part = document
    for name in place[:-1]:
        part = part[name]
    part[place[-1]] = value
    path.write_text(json.dumps(document))
    with pytest.raises(DataError, match=r"is not a vlbench.result/1 file"):
        read_result(path)
