"""``vlbench new``: a small package for a plugin of one's own."""

from __future__ import annotations

import keyword
import re
import string
import sys
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from vlbench.errors import DataError, UsageError

new_app = typer.Typer(help="A package for a plugin of your own.", no_args_is_help=True, rich_markup_mode=None)

Name = Annotated[str, typer.Argument(help="Its name, in letters, digits, - and _.")]
Output = Annotated[Path | None, typer.Option(help="Folder to make; default: NAME in the working directory.")]


@new_app.command("adapter")
def adapter(name: Name, output: Output = None) -> None:
    """Write a package with a model of your own: module, entry point, contract test."""
    _write("adapter", name, output)


@new_app.command("task")
def task(name: Name, output: Output = None) -> None:
    """Write a package with a task of your own: module, entry point, contract test."""
    _write("task", name, output)


def _write(kind: str, name: str, output: Path | None) -> None:
    """Fill the templates of ``kind``; raises ``UsageError`` for a bad name, ``DataError`` for a folder in use."""
    package = name.replace("-", "_").lower()
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", name) or keyword.iskeyword(package):
        raise UsageError(f"{name!r} cannot be the name of a package; use letters, digits, - and _, a letter first")
    if package in sys.stdlib_module_names or package in ("vlbench", "numpy", "pytest", "tests"):
        raise UsageError(f"{name!r} is the name of a module that exists already; choose another")
    folder = output or Path(name)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"{folder} exists and is not an empty folder; choose another --output")
    kind_name = "".join(part.capitalize() for part in (*package.split("_"), kind) if part)
    words = {"name": name, "package": package, "class": kind_name}
    names = {"module.py": f"{package}.py", "test_module.py": f"tests/test_{package}.py"}
    try:
        for template in sorted(files("vlbench").joinpath("templates", kind).iterdir(), key=lambda item: item.name):
            # Templates end in .txt so that no tool takes them for code.
            plain = template.name.removesuffix(".txt")
            target = folder / names.get(plain, plain)
            target.parent.mkdir(parents=True, exist_ok=True)
            text = string.Template(template.read_text(encoding="utf-8")).substitute(words)
            target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise DataError(f"cannot write {folder} ({error.strerror}); choose another --output") from error
    sys.stdout.write(f"{kind} {name} written to {folder}; next: pip install -e '{folder}[test]' && pytest {folder}\n")
