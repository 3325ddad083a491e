"""``--compile`` through the real compiler of torch: the same answers, and one line where there is no C++ compiler."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.support import dual_encoders
from tests.support.cli import here
from vlbench.adapter import LoadOptions
from vlbench.adapters.open_clip import OpenCLIP
from vlbench.testing.adapters import answer, same
from vlbench.testing.samples import pictures, requests_for

if TYPE_CHECKING:
    from pathlib import Path

COMPILER = shutil.which("g++") or shutil.which("clang++")


@pytest.mark.slow
@pytest.mark.skipif(COMPILER is None, reason="no C++ compiler is here")
@pytest.mark.filterwarnings("default")  # what the compiler says of its own parts
def test_a_compiled_model_answers_the_same(tmp_path: Path) -> None:
    folder, images = dual_encoders.coca(tmp_path / "coca"), pictures(tmp_path)
    plain = OpenCLIP(LoadOptions(str(folder)))
    compiled = OpenCLIP(LoadOptions(str(folder), arguments={"compile": "yes"}))
    assert all(part._compiled_call_impl is not None for part in compiled.model.children())
    assert compiled.fingerprint() == plain.fingerprint()
    requests = requests_for("embed_images", images)
    expected, got = answer(plain, requests), answer(compiled, requests)
    assert all(same(one, other, 1e-4) for one, other in zip(expected, got, strict=True))
    assert not same(got[0], got[1])


@pytest.mark.parametrize("model", ["vlbench-tiny", "open_clip"])
def test_no_compiler_is_one_clear_error(tmp_path: Path, model: str) -> None:
    from torch._inductor import config

    name = model if model == "vlbench-tiny" else str(dual_encoders.open_clip(tmp_path / "model"))
    with config.patch({"cpp.cxx": (None, "no-such-compiler")}):
        done = here(
            "run", "--compile", "--model", name, "--tasks", "coco_retrieval", "--limit", 2, "--output", tmp_path
        )
    (line,) = [line for line in done.err.splitlines() if line.startswith("vlbench: ")]
    assert done.code == 2 and "--compile needs a C++ compiler, and no-such-compiler is not here; install g++" in line
