"""Plugins: found, named when broken, and never able to take the rest down."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from vlbench.errors import PluginError, UsageError
from vlbench.plugins import load_plugins
from vlbench.resolve import resolve_model

GOOD = """
import vlbench

class Mine(vlbench.Adapter):
    def embed_images(self, images):
        return [[1.0, 0.0]] * len(images)

    def embed_texts(self, texts):
        return [[1.0, 0.0]] * len(texts)

@vlbench.hookimpl
def vlbench_register_models():
    return [vlbench.ModelSpec("mine", "a model", Mine)]
"""


def _file(folder: Path, text: str, name: str = "my_plugin.py") -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


def test_the_built_in_plugins_register(tmp_path: Path) -> None:
    plugins = load_plugins([_file(tmp_path, GOOD)])
    assert {"coco_retrieval", "flickr30k_retrieval", "coco_caption", "vqa", "vcr"} <= set(plugins.tasks)
    assert {"builtin", "open_clip"} <= set(plugins.adapters)
    assert {"vlbench-tiny", "clip-vit-b16", "clip-vit-b32", "clip-vit-l14", "mine"} <= set(plugins.models)
    assert plugins.errors == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("raise RuntimeError('no licence')", "failed to import: RuntimeError: no licence"),
        ("import no_such_package", "failed to import: ModuleNotFoundError: No module named 'no_such_package'"),
        ("def f(:", "failed to import: SyntaxError"),
        ("x = 1", "has no function marked with @vlbench.hookimpl"),
        (
            GOOD.replace("register_models", "register_modles"),
            "cannot be registered: PluginValidationError: .*register_modles",
        ),
        (
            GOOD.replace('vlbench.ModelSpec("mine", "a model", Mine)', '"mine"'),
            "returned a str where a ModelSpec is needed",
        ),
        (
            GOOD.replace("return [vlbench", 'raise KeyError("x")\n    return [vlbench'),
            "vlbench_register_models raised KeyError",
        ),
        (GOOD.replace('"mine"', '"clip-vit-b16"'), "registers 'clip-vit-b16', which vlbench.adapters.open_clip has"),
    ],
)
def test_a_broken_plugin_file_is_one_clear_error(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(PluginError, match=message):
        load_plugins([_file(tmp_path, text)])


def test_a_missing_plugin_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="nowhere.py does not exist"):
        load_plugins([str(tmp_path / "nowhere.py")])


def test_unknown_names_come_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown task 'coco_retreival'; did you mean 'coco_retrieval'"):
        load_plugins().task("coco_retreival")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("vlbench-tinny", "; did you mean 'vlbench-tiny'?"),
        ("bilp:/a/long/path/to/a/checkpoint", "; did you mean 'blip:' or "),
        ("nonesuch", "; there are vlbench-tiny, clip-vit-b32, "),
    ],
)
def test_an_unknown_model_comes_with_the_nearest_or_with_all(name: str, message: str) -> None:
    with pytest.raises(UsageError) as raised:
        resolve_model(name, load_plugins(), {})
    assert str(raised.value).startswith(f"unknown model {name!r}{message}")
    assert str(raised.value).endswith(" (vlbench list models)") and "\n" not in str(raised.value)


def _distribution(site: Path, name: str, text: str) -> None:
    """Lay out an installed distribution with an entry point, as pip does."""
    (site / f"{name}.py").write_text(text)
    info = site / f"{name}-1.2.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(f"[vlbench]\n{name} = {name}\n")


def test_installed_plugins_register_and_a_broken_one_is_reported_by_name(tmp_path: Path) -> None:
    _distribution(tmp_path, "good_models", GOOD)
    _distribution(tmp_path, "bad_models", "raise OSError('no driver')")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); "
    code += "from vlbench.plugins import load_plugins as load; p = load()"
    show = "; print('mine' in p.models, 'clip-vit-b16' in p.models, p.errors)"
    done = subprocess.run([sys.executable, "-c", code + show], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True True ['plugin bad_models==1.2 failed to import: OSError: no driver']"
    strict = code.replace("p = load()", "load(strict=True)")
    failed = subprocess.run([sys.executable, "-c", strict], capture_output=True, text=True, check=False)
    assert failed.returncode != 0 and "PluginError: plugin bad_models==1.2" in failed.stderr


def test_the_table_of_adapters_in_the_readme_is_the_registry() -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    rows = [f"| `{spec.name}` | {spec.description} |" for spec in load_plugins().adapters.values()]
    assert "\n".join(["| adapter | models |", "| --- | --- |", *rows]) + "\n\n" in readme
