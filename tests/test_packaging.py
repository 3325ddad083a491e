"""The mapped folders, the public names, and what start-up imports."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import vlbench

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ("torch", "transformers", "pandas", "datasets", "open_clip", "pyarrow", "pycocoevalcap", "httpx2")


def test_every_package_is_declared() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = set()
    for folder in ("vlbench", "adapters", "tasks", "leaderboard"):
        for init in (ROOT / folder).rglob("__init__.py"):
            parts = init.parent.relative_to(ROOT).parts
            if not any((ROOT / Path(*parts[: i + 1])).is_symlink() for i in range(len(parts))):
                found.add(".".join(parts if parts[0] == "vlbench" else ("vlbench", *parts)))
    assert set(declared) == found


@pytest.mark.parametrize("name", ["adapters", "tasks", "leaderboard"])
def test_the_links_resolve_to_the_folders(name: str) -> None:
    assert (ROOT / "vlbench" / name).resolve() == ROOT / name


def test_public_names_exist() -> None:
    for name in vlbench.__all__:
        assert getattr(vlbench, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        vlbench.nothing  # noqa: B018


@pytest.mark.parametrize(
    "arguments", [["--help"], ["run", "--help"], *(["list", k] for k in ("models", "tasks", "datasets"))]
)
def test_light_commands_import_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys; from vlbench.cli.app import run_app; code = run_app(sys.argv[1:]); "
        f"print([m for m in {HEAVY!r} if m in sys.modules], code)"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[] 0"


def test_modules_and_functions_stay_small() -> None:
    import ast

    for path in (
        p for folder in ("vlbench", "adapters", "tasks", "leaderboard") for p in (ROOT / folder).rglob("*.py")
    ):
        text = path.read_text()
        assert text.count("\n") <= 400, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                assert (node.end_lineno or 0) - node.lineno < 60, f"{path}:{node.name}"
