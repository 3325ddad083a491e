"""``vlbench adapt``: few-shot classification of an image folder, as ordinary results."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional

from vlbench.adapter import LoadOptions
from vlbench.data.image_folder import load_image_folder
from vlbench.errors import EvaluationFailed, UnsupportedTask, UsageError
from vlbench.runner.execute import NOT_A_NUMBER
from vlbench.task import Protocol
from vlbench.tasks.zeroshot_classification import KS, ZeroshotClassification
from vlbench.train.few_shot import CONTEXT, ContextPrompts, draw_shots, probe
from vlbench.types import SampleRow

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from vlbench.adapter import Adapter
    from vlbench.data.image_folder import LabelledImage, LabelledImages
    from vlbench.plugins import Plugins
    from vlbench.result import Result
    from vlbench.runner.options import RunOptions
    from vlbench.runner.progress import Reporter
    from vlbench.runner.results import Finished
    from vlbench.runner.rounds import TaskRun

METHODS = ("probe", "coop")
BATCH = 64


class FewShotClassification(ZeroshotClassification):
    """Classify images after a few labelled ones of each class were seen; hits are means over draws of those."""

    name = "fewshot_classification"


@dataclass(frozen=True)
class _Embedded:
    """Unit vectors (n, d) of the images of a split, with their labels."""

    vectors: torch.Tensor
    labels: torch.Tensor


def adapt(
    model: str,
    method: str,
    shots: Sequence[int],
    seeds: int,
    options: RunOptions,
    *,
    plugins: Plugins | None = None,
    reporter: Reporter | None = None,
) -> list[Result]:
    """Learn from each number of ``shots`` a class of the train split, ``seeds`` times; write one result a number.

    A result that is there already is taken. Raises ``UsageError`` for a method that is unknown, ``DataError`` where a
    class has too few images, ``UnsupportedTask`` for a model that does not embed, ``EvaluationFailed`` where it does
    so in something that is no number.
    """
    from vlbench.data.roots import open_root
    from vlbench.plugins import load_plugins
    from vlbench.resolve import resolve_model
    from vlbench.runner.devices import pick_device
    from vlbench.runner.driver import check_output, tell_model
    from vlbench.runner.progress import Silent
    from vlbench.runner.results import Finished

    reporter = reporter or Silent()
    if method not in METHODS:
        raise UsageError(f"--method {method!r} is none of {', '.join(METHODS)}")
    task = FewShotClassification()
    folder = open_root(options.data).folder(task.dataset)
    train, test = load_image_folder(folder, "train"), load_image_folder(folder, options.split or "val", options.limit)
    if train.classes != test.classes:
        raise UsageError(f"the splits train and {test.split} of {folder.path} have different classes")
    labels = [sample.label for sample in train.samples]
    support = {k: [draw_shots(labels, k, seed) for seed in range(seeds)] for k in shots}
    resolved = resolve_model(model, plugins or load_plugins(), options.model_arguments, options.revision)
    load = LoadOptions(
        resolved.checkpoint,
        pick_device(options.device),
        options.dtype,
        options.revision,
        options.seed,
        resolved.arguments,
    )
    needed = {"embed_images"} if method == "probe" else {"embed_images", "embed_texts"}
    if not needed <= resolved.adapter.capabilities(load):
        raise UnsupportedTask(f"{method} needs {' and '.join(sorted(needed))}; {model} does not offer it")
    check_output(options.output)
    adapter = resolved.load(load)
    runs = {k: _run(task, test, method, f"{k}", f"{seeds}", train.fingerprint, options.limit) for k in shots}
    tell_model(resolved, adapter, list(runs.values())[:1], reporter)
    finished = Finished(resolved, adapter, adapter.fingerprint(), options)
    results = {k: there for k, run in runs.items() if (there := finished.find(run)) is not None}
    for k in results:
        reporter.say(f"{method}, {k} shots: finished already; result reused")
    todo = {k: draws for k, draws in support.items() if k not in results}
    for k, result in _learned(finished, method, (train, test), todo, runs) if todo else ():
        results[k] = result
        reporter.say(f"{method}, {k} shots: accuracy {result.metrics['accuracy@1'].value:.1%} over {seeds} draws")
    return [results[k] for k in runs]


def _learned(
    finished: Finished,
    method: str,
    splits: tuple[LabelledImages, LabelledImages],
    support: Mapping[int, Sequence[Sequence[int]]],
    runs: Mapping[int, TaskRun],
) -> Iterator[tuple[int, Result]]:
    """Learn from the draws of ``support`` and yield each result when it is written."""
    started = time.perf_counter()
    adapter, (train, test) = finished.adapter, splits
    wanted = sorted({n for draws in support.values() for draw in draws for n in draw})
    place = {n: k for k, n in enumerate(wanted)}
    seen, asked = _embed(adapter, [train.samples[n] for n in wanted]), _embed(adapter, test.samples)
    if adapter.model is not None:
        adapter.model.requires_grad_(False)
    for k, draws in support.items():
        parts = [_part(seen, [place[n] for n in draw]) for draw in draws]
        scores = [_scores(adapter, method, part, asked, test) for part in parts]
        yield k, _written(finished, runs[k], _rows(test, scores), started)


def _embed(adapter: Adapter, samples: Sequence[LabelledImage]) -> _Embedded:
    from vlbench.runner.engine import inference_mode

    parts = []
    for start in range(0, len(samples), BATCH):
        images = [adapter.prepare_image(sample.image.load()) for sample in samples[start : start + BATCH]]
        with inference_mode():
            parts.append(torch.as_tensor(adapter.embed_images(images)).float().cpu())
    # Cloned out of inference mode: gradients of the classifiers run over these vectors.
    vectors = functional.normalize(torch.cat(parts).clone(), dim=-1)
    if not vectors.isfinite().all():
        raise EvaluationFailed(NOT_A_NUMBER)
    return _Embedded(vectors, torch.tensor([sample.label for sample in samples]))


def _part(seen: _Embedded, rows: Sequence[int]) -> _Embedded:
    return _Embedded(seen.vectors[list(rows)], seen.labels[list(rows)])


def _scores(adapter: Adapter, method: str, seen: _Embedded, asked: _Embedded, test: LabelledImages) -> torch.Tensor:
    """Return scores (images, classes) of one draw."""
    if method == "probe":
        return probe(seen.vectors, seen.labels, asked.vectors, len(test.classes))
    prompts = ContextPrompts(adapter, test.class_names)
    device = adapter.device
    context = prompts.learn(seen.vectors.to(device), seen.labels.to(device))
    with torch.no_grad():
        return asked.vectors @ prompts.embed(context).cpu().T


def _rows(test: LabelledImages, scores: Sequence[torch.Tensor]) -> list[SampleRow]:
    """Return one row an image: its hits averaged over draws; the answer is that of the first."""
    labels = torch.tensor([sample.label for sample in test.samples])
    ks = [k for k in KS if k < len(test.classes)]
    hits: Mapping[int, Any] = {
        k: np.mean([(one.topk(k, dim=1).indices == labels[:, None]).any(dim=1).numpy() for one in scores], axis=0)
        for k in ks
    }
    best = scores[0].argmax(dim=1).tolist()
    return [
        SampleRow(
            sample_id=sample.image_id,
            image_id=sample.image_id,
            response=test.class_names[best[n]],
            status="ok",
            scores={f"accuracy@{k}": float(hits[k][n]) for k in ks},
            slices={"class": test.classes[sample.label]},
        )
        for n, sample in enumerate(test.samples)
    ]


def _run(
    task: FewShotClassification,
    test: LabelledImages,
    method: str,
    shots: str,
    draws: str,
    train: str,
    limit: int | None,
) -> TaskRun:
    from vlbench.runner.manifest import signature
    from vlbench.runner.rounds import TaskRun

    extra = {"shots": shots, "draws": draws, "train": train.removeprefix("sha256:")[:16]}
    protocol = Protocol(method, prompt=f"[context of {CONTEXT!r}]" if method == "coop" else "none", extra=extra)
    return TaskRun(task, protocol, test, signature(task, test, protocol, limit), limit)


def _written(finished: Finished, run: TaskRun, rows: Sequence[SampleRow], started: float) -> Result:
    from vlbench.leaderboard.store import write_result
    from vlbench.runner.manifest import Counters
    from vlbench.runner.results import build_result

    options = finished.options
    counters = Counters(wall_seconds=time.perf_counter() - started)
    result = build_result(finished.result(run), run, rows, counters, options.bootstrap, options.seed)
    write_result(options.output, result, rows)
    return result
