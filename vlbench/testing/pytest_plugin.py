"""The pytest plugin: a model's quality as a test.

::

    def test_quality(vlbench_run):
        vlbench_run("my-model", "vqa").assert_no_regression("baselines/")

Every pytest run of an environment with vlbench imports this module, so that it imports nothing but the standard library
and pytest; the harness comes with the first evaluation.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from vlbench.result import Result
    from vlbench.runner.driver import RunReport

MARKED = ("limit", "seed")


@dataclass(frozen=True)
class Evaluated:
    """What a model scored. ``output`` has the files; ``rules`` is where ``vlbench.toml`` may lie."""

    report: RunReport
    output: Path
    rules: Path

    @property
    def results(self) -> tuple[Result, ...]:
        """The results in the order of the tasks."""
        return self.report.results

    def assert_no_regression(self, baselines: str | Path, *, max_failures: int = 0, **rule: Any) -> None:
        """Fail the test with the gate's report unless every check passes.

        ``rule`` (``metric``, ``max_drop``, ``alpha``, ``estimand``) wins over ``vlbench.toml``. Only *pass* passes: an
        inconclusive check has not shown that the model is as good as it was. A relative path of ``baselines`` begins
        where ``vlbench.toml`` would lie, at pytest's root.
        """
        __tracebackhide__ = True
        from vlbench.gate.baseline import find_baselines
        from vlbench.gate.reports import to_text
        from vlbench.gate.results import of_report
        from vlbench.gate.rules import Rules, read_rules
        from vlbench.gate.verdict import Verdict, check_results, worst

        with _one_line():
            known = (read_rules(self.rules) if self.rules.exists() else Rules()).override(**rule)
            found = find_baselines(self.rules.parent / baselines)
            checks = check_results(of_report(self.report, self.output, found), found, known, max_failures)
        if worst(checks) is not Verdict.PASS:
            pytest.fail(to_text(checks), pytrace=False)


@contextlib.contextmanager
def _one_line() -> Iterator[None]:
    """Fail the test by what vlbench says of a model, data or rules, in place of a traceback through vlbench."""
    __tracebackhide__ = True
    from vlbench.errors import VlbenchError

    try:
        yield
    except VlbenchError as error:
        pytest.fail(f"vlbench: {error}", pytrace=False)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the ini options."""
    parser.addini(
        "vlbench_data", "Data of vlbench_run, as vlbench run --data has it; a folder from pytest's root.", default=""
    )
    parser.addini("vlbench_limit", "Only the first N samples of each task.", default="")
    parser.addini("vlbench_output", "Folder of results and journals, from pytest's root.", default="vlbench-results")


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker."""
    config.addinivalue_line("markers", "vlbench(limit=None, seed=0): how vlbench_run evaluates in this test")


@pytest.fixture
def vlbench_run(request: pytest.FixtureRequest) -> Callable[..., Evaluated]:
    """Evaluate a model: ``vlbench_run(model, tasks, **options)``, as ``vlbench.run`` does.

    Options of the call win over the marker ``vlbench``, and that over the ini options. Workers of pytest-xdist share
    the folder: of those that ask for the same evaluation one runs it, the others wait and take its results.
    """
    root = request.config.rootpath
    given = _settings(request)

    def run(model: str, tasks: str | Sequence[str] = "all", **options: Any) -> Evaluated:
        import vlbench

        chosen = {**given, **options}
        chosen["output"] = root / chosen["output"]
        with _one_line():
            report = vlbench.run(model, tasks, **chosen)
        return Evaluated(report, chosen["output"], root / "vlbench.toml")

    return run


def _settings(request: pytest.FixtureRequest) -> dict[str, Any]:
    ini = request.config.getini
    given: dict[str, Any] = {"output": ini("vlbench_output")}
    if ini("vlbench_data"):
        # A folder is sought from pytest's root, as the output is; other data have a colon in their names, or one word.
        data = ini("vlbench_data")
        named = ":" in data or data in ("scenes", "hub")
        given["data"] = data if named else str(request.config.rootpath / data)
    if ini("vlbench_limit"):
        text = ini("vlbench_limit")
        if not text.isdecimal() or int(text) < 1:
            raise pytest.UsageError(f"vlbench_limit = {text!r} is not a whole number from 1")
        given["limit"] = int(text)
    for marker in reversed(list(request.node.iter_markers("vlbench"))):
        unknown = [*map(repr, marker.args), *(name for name in marker.kwargs if name not in MARKED)]
        if unknown:
            raise pytest.UsageError(f"the marker vlbench takes {' and '.join(MARKED)} by name, not {unknown[0]}")
        given.update(marker.kwargs)
    return given
