"""The driver: from names of a model and tasks to result files.

It resolves names and protocols, reads annotations and looks for missing images before any model is loaded; then it
loads the model, runs the tasks' rounds together (equal requests of different tasks are made once), journals every
batch, scores, and writes the results. Only the driver writes the journal.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vlbench import prompts
from vlbench.adapter import LoadOptions
from vlbench.data.overlaps import DATASET, exposure
from vlbench.data.roots import open_root
from vlbench.errors import DataError, UnsupportedTask
from vlbench.fingerprints import remembered_fingerprint
from vlbench.leaderboard.store import write_result
from vlbench.runner.devices import open_engine, pick_devices
from vlbench.runner.growth import growth
from vlbench.runner.identity import model_cache
from vlbench.runner.journal import Journal
from vlbench.runner.lock import exclusive
from vlbench.runner.manifest import signature
from vlbench.runner.options import RunOptions
from vlbench.runner.profile import span
from vlbench.runner.progress import Reporter, Silent
from vlbench.runner.results import Finished, build_result, trained_on
from vlbench.runner.rounds import Execution, TaskRun
from vlbench.runner.scoring import attach_scoring_models, batch_sizes, score_rows
from vlbench.runner.submission import remake_submission, save_submission

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from matplotlib.figure import Figure

    from vlbench.adapter import Adapter
    from vlbench.data.overlaps import Exposure
    from vlbench.plugins import Plugins
    from vlbench.resolve import ResolvedModel
    from vlbench.result import Result
    from vlbench.runner.engine import Engine
    from vlbench.task import Protocol, Task
    from vlbench.types import Dataset

MISSING_SHOWN = 5


@dataclass(frozen=True)
class RunReport:
    """What came of a run: results in the order of the tasks, and tasks that the model cannot do with the reason."""

    results: tuple[Result, ...]
    unsupported: Mapping[str, str]
    reused: frozenset[str]

    @property
    def failed_samples(self) -> int:
        """Number of samples that failed, over all tasks."""
        return sum(result.samples.failed for result in self.results)

    def plot(self) -> Figure:
        """Return the primary metrics over the tasks as a matplotlib figure (``vlbench[plot]``)."""
        from vlbench.leaderboard.plots import plot_results

        return plot_results(self.results)

    def _repr_html_(self) -> str:
        from vlbench.api import to_html

        return "".join(to_html(result) for result in self.results)


def evaluate(
    model: str,
    tasks: Sequence[str] = ("all",),
    options: RunOptions | None = None,
    *,
    plugins: Plugins | None = None,
    reporter: Reporter | None = None,
) -> RunReport:
    """Evaluate ``model`` on ``tasks`` (names, or ``("all",)``) and write the results into ``options.output``.

    Raises a ``VlbenchError`` for whatever is wrong with names, data or model, before anything is computed; failed
    samples are no error here: they count as wrong in the results.
    """
    from vlbench.plugins import load_plugins

    options = options or RunOptions()
    reporter = reporter or Silent()
    plugins = plugins or load_plugins()
    prepared = prepare(model, tasks, options, plugins, reporter)
    with contextlib.closing(prepared.engine):
        plugins.manager.hook.vlbench_run_start(model=model, tasks=[run.task.name for run in prepared.runs])
        results, reused = _run_all(prepared.finished, prepared.engine, prepared.runs, plugins, reporter)
    plugins.manager.hook.vlbench_run_end(results=results)
    return RunReport(tuple(results), prepared.unsupported, frozenset(reused))


@dataclass(frozen=True)
class Prepared:
    """A loaded model with its tasks, before anything is computed; who takes it closes the engine."""

    finished: Finished
    engine: Engine
    runs: Sequence[TaskRun]
    unsupported: Mapping[str, str]


def prepare(model: str, tasks: Sequence[str], options: RunOptions, plugins: Plugins, reporter: Reporter) -> Prepared:
    """Resolve names and protocols, read annotations, look for missing images, and load the model."""
    from vlbench.resolve import resolve_model

    resolved = resolve_model(model, plugins, options.model_arguments, options.revision)
    load = LoadOptions(
        checkpoint=resolved.checkpoint,
        device=pick_devices(options.device, options.num_workers)[0],
        dtype=options.dtype,
        revision=options.revision,
        seed=options.seed,
        arguments=resolved.arguments,
    )
    kind = resolved.adapter
    chosen, unsupported = choose_tasks(tasks, kind.capabilities(load), plugins, options, kind.prompt_family)
    check_output(options.output)
    runs = []
    for task, protocol in chosen:
        with span("load data", task=task.name):
            dataset = load_dataset(task, options.data, options.split, options.limit)
        runs.append(open_run(task, protocol, dataset, options.limit, reporter))
    check_images(runs, options.allow_missing, reporter)
    attach_scoring_models(runs, plugins, load.device, options.seed)
    with span("load model", model=model):
        engine, adapter = open_engine(model, resolved, load, options, plugins, reporter)
    tell_model(resolved, adapter, runs, reporter)
    finished = Finished(resolved, adapter, remembered_fingerprint(adapter), options)
    return Prepared(finished, engine, runs, unsupported)


def choose_tasks(
    names: Sequence[str], capabilities: frozenset[str], plugins: Plugins, options: RunOptions, family: str = ""
) -> tuple[list[tuple[Task[Any], Protocol]], dict[str, str]]:
    """Return the tasks with their protocols, and under ``all`` those that the model cannot do with the reason.

    A model of a prompt ``family`` is asked by that family's arguments, which the user's override.
    ``all`` stands for the tasks that are registered as ``default``.

    A task asked for by name that the model cannot do raises ``UnsupportedTask``.
    """
    every = list(names) == ["all"]
    wanted = [spec.name for spec in plugins.tasks.values() if spec.default] if every else list(dict.fromkeys(names))
    specs = [plugins.task(name) for name in wanted]
    chosen: list[tuple[Task[Any], Protocol]] = []
    unsupported: dict[str, str] = {}
    for spec in specs:
        kind = spec.load()
        task = kind({**prompts.arguments(family, kind), **options.task_arguments.get(spec.name, {})})
        try:
            chosen.append((task, prompts.lettered(task.protocol(prompts.offered(capabilities, family)))))
        except UnsupportedTask as error:
            if not every:
                raise
            unsupported[spec.name] = str(error)
    if not chosen:
        raise UnsupportedTask("the model can do none of the tasks: " + "; ".join(unsupported.values()))
    return chosen, unsupported


def load_dataset(task: Task[Any], data: Path | str | None, split: str | None, limit: int | None) -> Dataset[Any]:
    """Return the samples of ``task`` from where ``--data`` says, or from the bundled scenes."""
    root = open_root(data)
    dataset = task.load(root, split, limit)
    dataset = dataclasses.replace(dataset, origin=root.folder(task.dataset).origin)
    if data is None:
        # The bundled benchmark is whole by itself; its name keeps it from ever standing beside the real dataset.
        dataset = dataclasses.replace(dataset, name=f"scenes/{dataset.name}", official_counts={})
    return dataset


def open_run(
    task: Task[Any], protocol: Protocol, dataset: Dataset[Any], limit: int | None, reporter: Reporter
) -> TaskRun:
    """Return the run of a task over ``dataset``, and report what a reader of its numbers must know."""
    if not dataset.samples:
        raise DataError(f"{task.name}: split {dataset.split} of {dataset.name} has no samples")
    counts = ", ".join(f"{count} {name}" for name, count in dataset.counts.items())
    reporter.say(f"{task.name}: {dataset.name} {dataset.split}, {counts}, protocol {protocol.name}")
    if dataset.origin:
        reporter.say(f"{task.name}: from {dataset.origin}")
    if dataset.partial and limit is None:
        official = ", ".join(f"{count} {name}" for name, count in dataset.official_counts.items())
        reporter.warn(f"{task.name}: partial data: {counts}; the official split has {official}")
    for note in task.notes(dataset, limit):
        reporter.warn(f"{task.name}: {note}")
    return TaskRun(task, protocol, dataset, signature(task, dataset, protocol, limit), limit)


def tell_model(resolved: ResolvedModel, adapter: Adapter, runs: Sequence[TaskRun], reporter: Reporter) -> None:
    """Warn of what a reader of a model's numbers must know."""
    for note in adapter.notes():
        reporter.warn(note)
    if adapter.random_weights:
        reporter.warn(f"{resolved.name} has random weights: its scores say nothing about a trained model")
    tell_exposure(resolved.name, trained_on(resolved, adapter), runs, reporter)


def tell_exposure(model: str, seen: Sequence[str], runs: Sequence[TaskRun], reporter: Reporter) -> None:
    """Warn of tasks whose numbers are not zero-shot: the model was trained on their dataset, or on its images."""
    found: dict[Exposure, list[str]] = {}
    for run in runs:
        found.setdefault(exposure(seen, run.dataset.name), []).append(run.task.name)
    for (level, through), tasks in found.items():
        what = "" if level == DATASET else ", which shares images with what is tested"
        if level:
            reporter.warn(f"{model} was trained on {', '.join(through)}{what}: not zero-shot on {', '.join(tasks)}")


def check_images(runs: Sequence[TaskRun], allow_missing: bool, reporter: Reporter) -> None:
    """Raise ``DataError`` with number and first names of missing images; only warn with ``allow_missing``."""
    line = missing_images(runs)
    if not line:
        return
    if not allow_missing:
        raise DataError(f"{line}; add them, or count their samples as wrong with --allow-missing")
    reporter.warn(f"{line}; their samples count as wrong")


def missing_images(runs: Sequence[TaskRun]) -> str:
    """Return number and first names of missing images in words, or an empty string."""
    images = {(id(image.source), image.name): image for run in runs for image in run.task.images(run.dataset)}
    missing = [image for image in images.values() if not image.source.exists(image.name)]
    if not missing:
        return ""
    names = ", ".join(image.source.describe(image.name) for image in missing[:MISSING_SHOWN])
    more = f" and {len(missing) - MISSING_SHOWN} more" if len(missing) > MISSING_SHOWN else ""
    return f"{len(missing)} of {len(images)} images are missing: {names}{more}"


def check_output(output: Path) -> None:
    """Make the output folder; raises ``DataError`` where that is not possible, or where nothing can be written."""
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"cannot make the output folder {output} ({error.strerror}); choose another --output"
        ) from error
    if not os.access(output, os.W_OK | os.X_OK):
        raise DataError(f"cannot write into the output folder {output}; choose another --output")


def _run_all(
    finished: Finished,
    engine: Engine,
    runs: Sequence[TaskRun],
    plugins: Plugins,
    reporter: Reporter,
) -> tuple[list[Result], set[str]]:
    """Run what has no finished result yet; another process at the same run is waited for."""
    adapter, options = finished.adapter, finished.options
    journal_path = options.output / ".journal" / f"{finished.identity(runs)[:32]}.records"

    def waiting() -> None:
        reporter.say("the same run is under way in another process; waiting for it")

    with exclusive(journal_path.with_suffix(".lock"), waiting):
        done = {run.task.name: result for run in runs if (result := finished.find(run)) is not None}
        todo = [run for run in runs if run.task.name not in done]
        reused = set(done)
        for name in done:
            reporter.say(f"{name}: finished already; result reused")
        for run in runs:
            if run.task.name in done:
                remake_submission(options.output, run, done[run.task.name], reporter)
        if todo:
            header = {"batch_sizes": batch_sizes(adapter, options.batch_size)}
            with contextlib.closing(Journal(journal_path, header)) as journal:
                for result in _run_todo(finished, engine, todo, journal, plugins, reporter):
                    done[result.task.name] = result
            if any(result.unfinished for result in done.values()):
                # The next attempt at a metric takes the responses from here.
                return [done[run.task.name] for run in runs], reused
            for path in journal_path.parent.glob(f"{journal_path.stem}*{journal_path.suffix}"):
                path.unlink()
    return [done[run.task.name] for run in runs], reused


def _run_todo(
    finished: Finished,
    engine: Engine,
    runs: Sequence[TaskRun],
    journal: Journal,
    plugins: Plugins,
    reporter: Reporter,
) -> Iterator[Result]:
    started = time.perf_counter()
    adapter, cached = finished.adapter, finished.options.cache
    try:
        with model_cache(adapter, finished.fingerprint, cached, reporter) as cache:
            grown = growth(engine, adapter, finished.fingerprint, finished.options.batch_size)
            execution = Execution(engine, journal, reporter, adapter.logit_scale, cache, grown)
            rows = execution.run(runs)
        scored = score_rows(runs, rows, journal.path, reporter, finished.options.workers, cached)
    finally:
        reporter.stop()
    rows |= scored.rows
    execution.counters.adapter = adapter.counters()
    counters = dataclasses.replace(execution.counters.plus(scored.counters), wall_seconds=time.perf_counter() - started)
    for run in runs:
        options = finished.options
        known, scores = finished.result(run), rows[run.task.name]
        with span("aggregate", task=run.task.name):
            result = build_result(known, run, scores, counters, options.bootstrap, options.seed)
        # The submission comes first, so that a result of a split without answers never lacks it.
        save_submission(finished.options.output, run, result, rows[run.task.name], reporter)
        write_result(finished.options.output, result, rows[run.task.name])
        run.warn_of_truncation("the model", reporter)
        for name in result.unfinished:
            reporter.warn(
                f"{run.task.name}: {name} is missing: {result.metrics[name].reason}; the same command tries it again"
            )
        plugins.manager.hook.vlbench_task_scored(result=result)
        yield result
