"""Tables: early, late and interactive fusion with equal budget on scenes, and an ablation of the objectives.

    python benchmarks/fusion.py [--minutes 5] [--seeds 0,1,2] [--jobs 1] [--rows NAME,…] [--splits test] [--out FILE]

A row is trained for ``--minutes`` a seed: half of them pretraining, half fine-tuning for all tasks, by the verbs of the
command line. Minutes become steps once, by the speed of a short run, and every command is kept with its ``--steps``,
so that it makes the same weights on any machine. Models this small use one core better than two: ``--jobs 2`` trains
two rows beside each other on half of the cores each. Retrieval is by the embeddings, which all strategies have, without
re-ranking by the matching head, which would be four fifths of the evaluation. All that was measured is a line of
``--out``: the same call again goes on where it stopped, and prints the tables of what is there. Checkpoints stay in
``--work``.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shlex
import statistics
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TASKS = ("coco_retrieval", "coco_caption", "vqa", "vcr")
LATE_TASKS = ("coco_retrieval", "vcr")
METRICS = {
    "image_to_text_recall@1": ("image→text R@1", 100),
    "text_to_image_recall@1": ("text→image R@1", 100),
    "CIDEr": ("CIDEr", 1),
    "accuracy": ("VQA", 100),
    "q_to_a": ("VCR Q→A", 100),
    "qa_to_r": ("QA→R", 100),
    "q_to_ar": ("Q→AR", 100),
}
PRETRAIN = "scenes-pretrain"
FINETUNE = os.path.relpath(Path(__file__).with_name("fusion-finetune.yaml"))
BATCH = 32
"""Images a step of both recipes."""


@dataclass(frozen=True)
class Row:
    """A way to train: ``objectives`` of pretraining (none: the recipe's), ``pretraining`` and ``finetuning`` budgets.

    Budgets are in shares of the row's minutes; without pretraining a new model learns by the fine-tuning recipe.
    """

    title: str
    fusion: str = "interactive"
    objectives: str | None = None
    pretraining: float = 0.5
    finetuning: float = 0.5

    @property
    def tasks(self) -> str:
        """What the model is fine-tuned for and measured on."""
        return ",".join(LATE_TASKS if self.fusion == "late" else TASKS)


FUSIONS = {name: Row(name, name) for name in ("early", "late", "interactive")}
ABLATION = {
    "itc": Row("itc", objectives="itc:1"),
    "itm": Row("itc, itm", objectives="itc:1,itm:0.5"),
    "mlm": Row("itc, itm, mlm", objectives="itc:1,itm:0.5,mlm:0.5"),
    "caption": Row("itc, itm, mlm, caption", objectives="itc:1,itm:0.5,mlm:0.5,caption:1"),
    "interactive": Row("itc, itm, mlm, caption, tag (the recipe)"),
    "scratch": Row("none: fine-tuning alone, the same steps", pretraining=0),
    "scratch-whole": Row("none: fine-tuning alone, all of the time", pretraining=0, finetuning=1),
}
ROWS = {**FUSIONS, **ABLATION}


class Ledger:
    """The lines of ``--out``; each has a ``key`` that is measured once."""

    def __init__(self, path: Path) -> None:
        """Read what is there."""
        self._path, self._lock = path, threading.Lock()
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        self._lines: dict[str, dict[str, Any]] = {line["key"]: line for line in map(json.loads, filter(None, lines))}

    def get(self, key: str) -> dict[str, Any] | None:
        """Return a line, or None."""
        return self._lines.get(key)

    def add(self, key: str, **values: Any) -> dict[str, Any]:
        """Append a line and return it."""
        line = {"key": key, **values}
        with self._lock, self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        self._lines[key] = line
        return line


class Bench:
    """Trains and measures rows, each part of the work once."""

    def __init__(self, options: argparse.Namespace) -> None:
        """Keep the options and read what has been measured already."""
        self.options = options
        self.ledger = Ledger(options.out)

    def training(self, row: Row, stage: str, steps: int, seed: int, folder: Path) -> list[str]:
        """Return the command of a stage, which writes ``folder/<stage>``."""
        if stage == "finetune" and row.pretraining:
            start = ["finetune", "--model", str(folder / "pretrain"), "--task", row.tasks, "--recipe", FINETUNE]
        else:
            recipe = PRETRAIN if stage == "pretrain" else FINETUNE
            start = ["pretrain", "--recipe", recipe, "--fusion", row.fusion]
            start += ["--objectives", row.objectives] if stage == "pretrain" and row.objectives else []
        return [*start, "--steps", str(steps), "--seed", str(seed), "--output", str(folder / stage)]

    def speed(self, name: str, stage: str) -> float:
        """Return the examples per second of a stage, measured once by a short run.

        All rows of a fusion strategy share the speed of its fine-tuning, so that they have equal steps.
        """
        name = name if stage == "pretrain" else ROWS[name].fusion
        key = f"speed {name} {stage}"
        found = self.ledger.get(key)
        if found is None:
            folder = self.options.work / "speed" / name
            for part in ("pretrain", "finetune")[: 1 if stage == "pretrain" else 2]:
                command = self.training(ROWS[name], part, self.options.probe_steps, 0, folder)
                train(command, folder / part)
            found = self.ledger.add(key, examples_per_second=speed_of(folder / stage), command=command)
        return float(found["examples_per_second"])

    def plan(self, name: str, seed: int) -> dict[str, list[str]]:
        """Return the training commands of a row by stage; their steps stay what they were found to be."""
        key, row = f"plan {name}", ROWS[name]
        found = self.ledger.get(key)
        if found is None:
            shares = {"pretrain": row.pretraining, "finetune": row.finetuning}
            seconds = {stage: 60 * self.options.minutes * share for stage, share in shares.items() if share}
            steps = {stage: max(1, round(n * self.speed(name, stage) / BATCH)) for stage, n in seconds.items()}
            found = self.ledger.add(key, minutes=self.options.minutes, threads=threads(), steps=steps)
        if (found["minutes"], found.get("threads")) != (self.options.minutes, threads()):
            there = f"{found['minutes']:g} minutes on {found.get('threads', 'all')} threads"
            sys.exit(f"{self.options.out} has rows of {there}; give the same --minutes and --jobs, or another --out")
        folder = self.options.work / f"{name}-{seed}"
        return {stage: self.training(row, stage, count, seed, folder) for stage, count in found["steps"].items()}

    def measure_all(self, names: list[str], seeds: list[int]) -> None:
        """Measure speeds one after another, then the rows, seed by seed: a call that breaks off has whole seeds."""
        for name in names:
            self.plan(name, seeds[0])
        with ThreadPoolExecutor(self.options.jobs) as pool:
            try:
                for done in [pool.submit(self.measure, name, seed) for seed in seeds for name in names]:
                    done.result()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise

    def measure(self, name: str, seed: int) -> None:
        """Train a row by a seed and evaluate it, unless the ledger has it."""
        folder = self.options.work / f"{name}-{seed}"
        for split in self.options.splits.split(","):
            key = f"score {name} {seed} {split}"
            if self.ledger.get(key):
                continue
            plan = self.plan(name, seed)
            for stage, command in plan.items():
                train(command, folder / stage)
            command = self.evaluation(name, seed, split)
            results = json.loads(run([*command, "--json"], capture=True))
            metrics = {k: v["value"] for result in results for k, v in result["metrics"].items() if k in METRICS}
            speeds = {stage: speed_of(folder / stage) for stage in plan}
            commands = [["vlbench", *part] for part in (*plan.values(), command)]
            self.ledger.add(key, row=name, seed=seed, split=split, metrics=metrics, speeds=speeds, commands=commands)

    def evaluation(self, name: str, seed: int, split: str) -> list[str]:
        """Return the command that measures a trained row; of the val scenes there are captions alone."""
        folder = self.options.work / f"{name}-{seed}"
        tasks = ROWS[name].tasks.split(",")
        if split == "val":
            tasks = [task for task in tasks if task.startswith("coco_")]
        command = ["run", "--model", str(folder / "finetune"), "--tasks", ",".join(tasks), "--bootstrap", "0"]
        command += ["--task-arg", "coco_retrieval:rerank=0"]
        command += ["--split", "karpathy-val"] if split == "val" else []
        command += ["--limit", str(self.options.limit)] if self.options.limit else []
        return [*command, "--output", str(folder / f"results-{split}")]


def threads() -> int:
    """Return the number of threads that a row is trained with."""
    return int(os.environ["OMP_NUM_THREADS"])


def train(command: list[str], folder: Path) -> None:
    """Run a training command, unless its checkpoint is finished; one that was killed goes on by itself."""
    if not (folder / "model.safetensors").exists():
        run(command)


def run(command: list[str], *, capture: bool = False) -> str:
    """Run vlbench, its messages shown; return its standard output."""
    print(f"$ {shlex.join(['vlbench', *command])}", file=sys.stderr, flush=True)
    done = subprocess.run(
        [sys.executable, "-m", "vlbench", *command], check=True, text=True, stdout=subprocess.PIPE if capture else None
    )
    return done.stdout or ""


def speed_of(folder: Path) -> float:
    """Return the examples per second of a training, its first step left out."""
    with (folder / "training_log.csv").open(newline="", encoding="utf-8") as file:
        return float(list(csv.DictReader(file))[-1]["examples_per_second"])


def shown(values: list[float], factor: float) -> str:
    """Return the mean over seeds and, of several, their standard deviation."""
    if not values:
        return "–"
    digits = 1 if factor == 100 else 2
    mean = f"{factor * statistics.mean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ± {factor * statistics.stdev(values):.{digits}f}"


def table(ledger: Ledger, rows: dict[str, Row], seeds: list[int], split: str, first: str) -> str:
    """Return a table as Markdown of the rows that have been measured by any of the seeds."""
    names = [title for title, _ in METRICS.values()]
    lines = [
        f"| {first} | seeds | steps | {' | '.join(names)} | samples/s: pretraining, fine-tuning |",
        f"| --- |{' --- |' * (len(names) + 3)}",
    ]
    for name, row in rows.items():
        scores = [line for seed in seeds if (line := ledger.get(f"score {name} {seed} {split}"))]
        if not scores:
            continue
        steps = (ledger.get(f"plan {name}") or {})["steps"]
        values = [
            shown([line["metrics"][key] for line in scores if line["metrics"].get(key) is not None], factor)
            for key, (_, factor) in METRICS.items()
        ]
        speeds = ", ".join(f"{statistics.mean(line['speeds'][stage] for line in scores):.0f}" for stage in steps)
        counts = " + ".join(map(str, steps.values()))
        lines.append(f"| {row.title} | {len(scores)} | {counts} | {' | '.join(values)} | {speeds} |")
    return "\n".join(lines)


def report(ledger: Ledger, seeds: list[int], splits: list[str]) -> None:
    """Print the tables, and each row's commands by its first seed."""
    for split in splits:
        print(f"\nFusion, {split} scenes\n\n{table(ledger, FUSIONS, seeds, split, 'fusion')}")
        print(f"\nObjectives of pretraining, {split} scenes\n\n{table(ledger, ABLATION, seeds, split, 'objectives')}")
    print("\nCommands by row (other seeds differ in --seed and in the folder)")
    for name, row in ROWS.items():
        plan = ledger.get(f"plan {name}") or {}
        keys = [f"score {name} {seeds[0]} {split}" for split in splits]
        commands = [shlex.join(part) for line in map(ledger.get, keys) if line for part in line["commands"]]
        if commands:
            print(f"\n{row.title}, with OMP_NUM_THREADS={plan.get('threads')}:\n")
            print("\n".join(f"    {command}" for command in dict.fromkeys(commands)))


def main() -> None:
    """Measure what is missing and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=5.0, help="training time of a row and seed")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--jobs", type=int, default=1, help="rows that are trained beside each other")
    parser.add_argument("--rows", default=",".join(ROWS), help=f"of {', '.join(ROWS)}; none: print the tables only")
    parser.add_argument("--splits", default="test", help="test, or val,test: what the trained models are measured on")
    parser.add_argument("--out", type=Path, default=Path("fusion.jsonl"), help="measurements, a line each")
    parser.add_argument("--work", type=Path, help="checkpoints; default: a folder beside --out")
    parser.add_argument("--probe-steps", type=int, default=60, help="steps of the run that measures the speed")
    parser.add_argument("--limit", type=int, help="samples a task of the evaluation, for a trial")
    options = parser.parse_args()
    options.work = options.work or options.out.with_suffix(".work")
    seeds, names = [int(seed) for seed in options.seeds.split(",")], [n for n in options.rows.split(",") if n]
    unknown = [name for name in names if name not in (*ROWS, "none")]
    if unknown:
        parser.error(f"unknown row {unknown[0]!r}; there are {', '.join(ROWS)}")
    bench = Bench(options)
    if options.jobs < 1:
        parser.error("--jobs is a whole number from 1")
    os.environ["OMP_NUM_THREADS"] = str(max(1, len(os.sched_getaffinity(0)) // options.jobs))
    try:
        bench.measure_all([name for name in ROWS if name in names], seeds)
    except subprocess.CalledProcessError as error:
        sys.exit(f"the command above ended with {error.returncode}; the same call goes on from there")
    report(bench.ledger, seeds, options.splits.split(","))


if __name__ == "__main__":
    main()
