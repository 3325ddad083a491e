"""The tutorials work as they are printed: every file is written, every command run, in the order of the page."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.cli import ROOT
from vlbench.cli.app import run_app

if TYPE_CHECKING:
    from pathlib import Path

BLOCK = re.compile(r"^```(\w+)(?: ([\w.]+)( append)?)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def _run(line: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command of the page in the working directory; return its standard output."""
    program, *arguments = shlex.split(line)
    if program == "vlbench":
        code = run_app(arguments)
        out, err = capsys.readouterr()
        assert code == 0, err
        return out
    assert program in ("python", "pytest"), line
    module = ["-m", "pytest", "-p", "no:cacheprovider"] if program == "pytest" else []
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, *module, *arguments], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _follow(page: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """Do what the page says, in ``folder``; return all that the commands printed."""
    monkeypatch.chdir(folder)
    printed = []
    for language, name, more, text in BLOCK.findall((ROOT / "docs" / page).read_text(encoding="utf-8")):
        if language == "sh":
            printed += [_run(line, capsys) for line in text.splitlines()]
        else:
            path = folder / name
            path.write_text((path.read_text() if more else "") + text)
    return "\n".join(printed)


@pytest.mark.slow
def test_the_tutorial_of_an_adapter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = _follow("tutorial-adapter.md", tmp_path, monkeypatch, capsys)
    assert re.search(r"text_to_image_recall@1 +30\.6 \[.*\]\* +0\.2 \[", printed)
    assert "ok     order is kept" in printed and "FAILED" not in printed
    assert printed.count("vqa:1|") == printed.count("vcr:1|") == 2
    # The method that is appended belongs to the class: questions are answered in words of its own.
    assert len(re.findall(r"vqa:1\|\S*\|protocol:generate", printed)) == 2
    assert (tmp_path / "my-colours" / "pyproject.toml").is_file()


@pytest.mark.slow
def test_the_tutorial_of_a_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = _follow("tutorial-task.md", tmp_path, monkeypatch, capsys)
    # Once as each run ends, and once both together.
    assert printed.count("counting:1|counting:test|n:20") == 3
    assert re.search(r"^vlbench-tiny .*\nbaseline:chance ", printed, re.MULTILINE)
    assert (tmp_path / "my-counting" / "pyproject.toml").is_file()
