"""Second models that help to score: CLIPScore asks a dual encoder how well a caption fits its image.

They are loaded like any model and asked like any model, with an engine and a journal of their own. Their name and
fingerprint are in the signature: they are the instrument that a number was measured with.
"""

from __future__ import annotations

import contextlib
import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vlbench.adapter import Adapter, LoadOptions
from vlbench.errors import UsageError
from vlbench.fingerprints import remembered_fingerprint
from vlbench.resolve import resolve_model
from vlbench.runner.engine import LocalEngine
from vlbench.runner.identity import model_cache
from vlbench.runner.journal import Journal
from vlbench.runner.manifest import Counters, signature
from vlbench.runner.rounds import Execution, TaskRun
from vlbench.task import Protocol
from vlbench.types import content_key

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from vlbench.plugins import Plugins
    from vlbench.runner.progress import Reporter
    from vlbench.types import SampleRow

DEFAULT_BATCH_SIZES: Mapping[str, int] = {
    "embed_images": 64,
    "embed_texts": 64,
    "match": 128,
    "choose": 32,
    "generate": 64,
    "loglikelihood": 64,
}
"""Requests a batch. On a CPU more gain nothing: 256 texts took a tenth longer. On a GPU sizes grow by trial."""
NEEDED = frozenset({"embed_images", "embed_texts"})


@dataclass(frozen=True)
class ScoringModel:
    """A loaded model that helps to score; ``digest`` hashes its weights, preprocessing and dtype."""

    name: str
    adapter: Adapter
    digest: str

    def __str__(self) -> str:
        """Return the form used by signatures."""
        return f"{self.name}@{self.digest[:16]}"


@dataclass(frozen=True)
class Scored:
    """The rows with the scores of scoring models, by the name of the task, and what those models computed."""

    rows: Mapping[str, list[SampleRow]]
    counters: Counters


def batch_sizes(adapter: Adapter, batch_size: int | None) -> dict[str, int]:
    """Return requests a batch for each capability: the user's number, the adapter's, or the default."""
    if batch_size is not None:
        return dict.fromkeys(DEFAULT_BATCH_SIZES, batch_size)
    return {**DEFAULT_BATCH_SIZES, **adapter.batch_sizes}


def attach_scoring_models(runs: Sequence[TaskRun], plugins: Plugins, device: str, seed: int) -> None:
    """Load the scoring models that the tasks of ``runs`` name, each once, and put them into the signatures.

    They compute in float32, so that one caption has one score whatever the dtype of the model under test. Raises
    ``UsageError`` for a name that is unknown or a model that does not embed.
    """
    loaded: dict[str, ScoringModel] = {}
    for run in runs:
        name = run.task.scoring_model()
        if name is None:
            continue
        if name not in loaded:
            loaded[name] = _load(name, plugins, device, seed)
        run.scorer = loaded[name]
        run.signature = signature(run.task, run.dataset, run.protocol, run.limit, str(run.scorer))


def _load(name: str, plugins: Plugins, device: str, seed: int) -> ScoringModel:
    resolved = resolve_model(name, plugins, {})
    options = LoadOptions(resolved.checkpoint, device, "float32", seed=seed, arguments=resolved.arguments)
    lacking = NEEDED - resolved.adapter.capabilities(options)
    if lacking:
        raise UsageError(f"{name} cannot score captions: it lacks {' and '.join(sorted(lacking))}")
    adapter = resolved.load(options)
    digest = content_key(remembered_fingerprint(adapter), adapter.preprocessing(), adapter.dtype)
    return ScoringModel(resolved.name, adapter, digest)


def score_rows(
    runs: Sequence[TaskRun],
    rows: Mapping[str, list[SampleRow]],
    journal: Path,
    reporter: Reporter,
    workers: int | None = None,
    cached: bool = False,
) -> Scored:
    """Return the rows of the tasks that have a scoring model, with its scores.

    Each model has a journal beside ``journal``: a run that was killed while scoring resumes there.
    """
    scored: dict[str, list[SampleRow]] = {}
    counters = Counters()
    for model in {id(run.scorer): run.scorer for run in runs if run.scorer is not None}.values():
        path = journal.with_name(f"{journal.stem}.{model.digest[:16]}{journal.suffix}")
        engine = LocalEngine(model.adapter, workers)
        header = {"batch_sizes": batch_sizes(model.adapter, None)}
        try:
            with (
                contextlib.closing(Journal(path, header)) as records,
                model_cache(model.adapter, remembered_fingerprint(model.adapter), cached, reporter) as cache,
            ):
                execution = Execution(engine, records, reporter, model.adapter.logit_scale, cache)
                # Copies: what the scoring model does not see whole says nothing about the model under test.
                asked = [
                    dataclasses.replace(run, protocol=Protocol("embed"), asked=0, truncated=0)
                    for run in runs
                    if run.scorer is model
                ]
                pairs = [(run, run.task.scoring_rounds(run.dataset, rows[run.task.name], model.name)) for run in asked]
                scored |= execution.drive(pairs)
                execution.counters.adapter = model.adapter.counters()
                counters = counters.plus(execution.counters)
        finally:
            engine.close()
        for run in asked:
            run.warn_of_truncation(model.name, reporter)
    return Scored(scored, counters)
