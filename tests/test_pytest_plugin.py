"""The pytest plugin in a fresh project: vlbench installed from its wheel, pytest in a process of its own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

import vlbench
from tests.support.cli import ROOT
from vlbench.gate.baseline import write_baseline
from vlbench.gate.results import read_scored
from vlbench.testing import pytest_plugin

if TYPE_CHECKING:
    from pathlib import Path

PACKAGED = ("vlbench", "adapters", "tasks", "leaderboard", "pyproject.toml", "README.md", "LICENSE")
COLOURS = str(ROOT / "tests" / "support" / "colours.py")
PLUGIN = f"""
import importlib.util, pathlib
import vlbench

spec = importlib.util.spec_from_file_location("colours", {COLOURS!r})
colours = importlib.util.module_from_spec(spec)
spec.loader.exec_module(colours)

class Counted(colours.Colours):
    def embed_images(self, images):
        with pathlib.Path(__file__).with_name("calls.txt").open("a") as file:
            file.write(f"{{len(images)}}\\n")
        return super().embed_images(images)

@vlbench.hookimpl
def vlbench_register_models():
    return [vlbench.ModelSpec("counted", "tells how many images it was shown", Counted)]
"""
SHARED = """
import pytest

@pytest.mark.parametrize("place", range(2))
def test_quality(vlbench_run, place):
    run = vlbench_run("counted", "vcr", plugins=["plugin.py"], device="cpu")
    run.assert_no_regression("baselines/")
"""
TESTS = f"""
import sys
import pytest

HEAVY = [name for name in ("torch", "pandas", "numpy", "vlbench.api") if name in sys.modules]
GIVEN = {{"plugins": [{COLOURS!r}], "device": "cpu"}}

def test_light():
    assert HEAVY == []

def test_where_it_comes_from():
    import vlbench
    assert vlbench.__file__.startswith(sys.prefix)

@pytest.mark.vlbench(limit=40, seed=0)
def test_worse(vlbench_run):
    run = vlbench_run("colours", "vcr", **GIVEN, model_arguments={{"nan_for": "red"}})
    assert len(run.results) == 1
    run.assert_no_regression("baselines/", max_failures=40)

def test_unknown(vlbench_run):
    vlbench_run("no-such-model", "vcr", **GIVEN)

@pytest.mark.vlbench(limitt=40)
def test_misspelt(vlbench_run):
    pass
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with vlbench from its wheel, and all else from this one."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in PACKAGED:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, folder / "source" / name, symlinks=True, ignore=ignored)
        else:
            shutil.copyfile(ROOT / name, folder / "source" / name)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    offline = ["--no-deps", "--no-index"]
    made = ["wheel", *offline, "--no-build-isolation", "--wheel-dir", folder, folder / "source"]
    subprocess.run([*pip, *made], check=True)
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "venv", symlinks=True)
    interpreter = folder / "venv" / "bin" / "python"
    subprocess.run([*pip, "--python", interpreter, "install", "--ignore-installed", *offline, wheel], check=True)
    # system_site_packages would give those of the Python that this environment was made from.
    (site,) = (folder / "venv" / "lib").glob("python*/site-packages")
    (site / "parent.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return interpreter


@pytest.mark.parametrize(
    ("given", "folder"), [("data", True), ("hf:org/name", False), ("hub", False), ("/data", False)]
)
def test_a_folder_of_data_is_sought_from_the_root(tmp_path: Path, given: str, folder: bool) -> None:
    """Pytest may be started from any folder of the project."""
    ini = {"vlbench_data": given, "vlbench_limit": "", "vlbench_output": "out"}
    config = SimpleNamespace(getini=ini.__getitem__, rootpath=tmp_path)
    request = SimpleNamespace(config=config, node=SimpleNamespace(iter_markers=lambda _: []))
    assert pytest_plugin._settings(request)["data"] == (str(tmp_path / "data") if folder else given)


@pytest.mark.slow
def test_a_fresh_project(tmp_path: Path, python: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two workers, three tests of one evaluation: it is made once, whoever comes first."""
    monkeypatch.delenv("VLBENCH_DATA", raising=False)
    (tmp_path / "plugin.py").write_text(PLUGIN)
    plugins = [str(tmp_path / "plugin.py")]
    vlbench.run("counted", "vcr", plugins=plugins, limit=40, device="cpu", output=tmp_path / "old")
    calls = tmp_path / "calls.txt"
    once = sum(map(int, calls.read_text().split()))
    calls.unlink()
    for scored in read_scored([tmp_path / "old"]).values():
        write_baseline(tmp_path / "baselines", scored)
    (tmp_path / "pytest.ini").write_text("[pytest]\nvlbench_limit = 40\nfilterwarnings = error\n")
    (tmp_path / "vlbench.toml").write_text('[check]\nmax_drop = 0.0\nestimand = "benchmark"\n')
    for name, text in (("test_one.py", SHARED), ("test_two.py", SHARED), ("test_rest.py", TESTS)):
        (tmp_path / name).write_text(text)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "PYTHONPATH"))}
    done = subprocess.run(
        [python, "-m", "pytest", "-n", "2", "--strict-markers", "--strict-config", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        env=inherited,
        capture_output=True,
        text=True,
        check=False,
    )
    assert re.search("2 failed, 6 passed, 1 error in", done.stdout), done.stdout + done.stderr
    assert "vcr: regressed: " in done.stdout and "which is shown to exceed 0" in done.stdout
    assert "vlbench: unknown model 'no-such-model'" in done.stdout and "vlbench/plugins.py" not in done.stdout
    assert "the marker vlbench takes limit and seed by name, not limitt" in done.stdout
    assert sum(map(int, calls.read_text().split())) == once
