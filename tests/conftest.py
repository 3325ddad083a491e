"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    # One worker a core: threads of one would only take the core of another. Processes that tests start inherit it.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# Answers of an earlier test would hide what a test is about; those of the cache set a bound of their own.
os.environ["VLBENCH_CACHE_SIZE"] = "0"

ROOT = Path(__file__).resolve().parents[1]


def _folder(variable: str, default: Path) -> Path:
    folder = Path(os.environ.get(variable, default))
    if not folder.is_dir():
        pytest.skip(f"{variable} is not set and {default.name} is not beside the checkout")
    return folder


@pytest.fixture(scope="session")
def oracles() -> Path:
    """Folder with the recorded outputs of official scorers."""
    return _folder("VLBENCH_ORACLES", ROOT.parent / "shared" / "oracles")


@pytest.fixture(scope="session")
def realdata() -> Path:
    """Folder with real photographs, annotations and predictions."""
    return _folder("VLBENCH_REALDATA", ROOT.parent / "shared" / "realdata")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest file, lest one worker be left alone with it at the end."""
    items.sort(key=lambda item: item.path.name != "test_main_job.py")
