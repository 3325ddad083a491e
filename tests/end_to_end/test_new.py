"""What ``vlbench new`` writes installs, passes its own tests, and is in the lists at once."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.cli import ROOT, vlbench

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["adapter", "task"])
def test_a_new_package_works_at_once(tmp_path: Path, kind: str) -> None:
    folder, site, name = tmp_path / "mine", tmp_path / "site", f"my-first-{kind}"
    done = vlbench("new", kind, name, "--output", folder)
    assert done.returncode == 0, done.stderr
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--target"]
    subprocess.run([*install, str(site), str(folder)], check=True, capture_output=True)
    listed = vlbench("list", f"{'model' if kind == 'adapter' else 'task'}s", PYTHONPATH=str(site))
    assert name in listed.stdout, listed.stderr
    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", str(folder)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(site), str(ROOT)))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert tested.returncode == 0, tested.stdout


@pytest.mark.parametrize(
    ("name", "message"),
    [("../evil", "cannot be the name of a package"), ("class", "cannot be the name"), ("json", "exists already")],
)
def test_a_bad_name_is_one_clear_error(tmp_path: Path, name: str, message: str) -> None:
    done = vlbench("new", "adapter", name, "--output", tmp_path / "mine")
    assert done.returncode == 2
    assert message in done.stderr and not (tmp_path / "mine").exists()


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "kept.txt").write_text("kept")
    done = vlbench("new", "task", "my-task", "--output", tmp_path)
    assert done.returncode != 0
    assert "is not an empty folder" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["kept.txt"]
