"""SPICE: what stands in the way, and the conversation with the Java program. No value is claimed: see the docs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from pycocoevalcap.spice import spice as official

from vlbench.metrics.java import JavaUnavailable
from vlbench.metrics.spice import JARS, run_spice

if TYPE_CHECKING:
    from pathlib import Path

CAPTIONS = (["a dog runs", ""], [["a dog"], ["a cat", "a cat sits"]])


def test_without_java(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(JavaUnavailable, match="no java on the PATH"):
        run_spice(*CAPTIONS)


@pytest.fixture
def java(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A program called java that the test writes, and a folder in which SPICE looks for its parts."""
    monkeypatch.setattr(official, "__file__", str(tmp_path / "spice" / "spice.py"))
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    for name in JARS:
        (tmp_path / "spice" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "spice" / name).touch()
    return tmp_path / "java"


def say(java: Path, script: str) -> None:
    java.write_text(f"#!/bin/sh\n{script}\n")
    java.chmod(0o755)


def test_missing_models_are_named_with_the_remedy(java: Path) -> None:
    say(java, "exit 0")
    (java.parent / "spice" / JARS[2]).unlink()
    with pytest.raises(JavaUnavailable, match=r"needs lib/stanford-corenlp-3.6.0-models.jar .*get_stanford_models"):
        run_spice(*CAPTIONS)


def test_scores_are_taken_by_image_and_what_is_undefined_is_zero(java: Path) -> None:
    answer = (
        '[{"image_id": 1, "scores": {"All": {"f": null}}}, {"image_id": 0, "scores": {"All": {"f": 0.25, "pr": 1.0}}}]'
    )
    say(java, f"""cp "$4" {java.parent}/given.json; echo '{answer}' > "$6" """)
    assert run_spice(*CAPTIONS) == [0.25, 0.0]
    given = (java.parent / "given.json").read_text()
    assert given.startswith('[{"image_id": 0, "test": "a dog runs", "refs": ["a dog"]}')


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo 'Error: no memory' >&2; exit 1", "Java broke off: Error: no memory"),
        ("exit 0", "Java broke off: .*scores.json"),
        ("echo '[]' > \"$6\"", "Java broke off: 0"),
        ("exec sleep 30", "Java was stopped after 0.5 s without an answer"),
    ],
)
def test_where_java_breaks_off(java: Path, script: str, reason: str) -> None:
    say(java, script)
    with pytest.raises(JavaUnavailable, match=reason):
        run_spice(*CAPTIONS, timeout=0.5 if "sleep" in script else 60)
