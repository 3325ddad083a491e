"""METEOR 1.5 through the Java program that pycocoevalcap ships, and its formula for resampled corpora.

Source: Denkowski and Lavie 2014; command line and protocol of coco-caption (``-stdio -l en -norm``).
"""

from __future__ import annotations

import subprocess
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from vlbench.metrics.java import JavaBrokeOff, JavaUnavailable, find_java, first_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["MeteorResult", "meteor_from_statistics", "run_meteor"]

STATISTICS = 23


@dataclass(frozen=True)
class MeteorResult:
    """METEOR of a corpus, of each of its n images, and the (n, 23) float statistics that it is computed from."""

    corpus: float
    per_image: list[float]
    statistics: NDArray[np.float64]


def run_meteor(
    candidates: Sequence[str], references: Sequence[Sequence[str]], timeout: float | None = None
) -> MeteorResult:
    """Score n tokenised candidates against their tokenised references.

    ``timeout`` in seconds bounds the whole run and grows with n by default. Raises ``JavaUnavailable`` where Java is
    missing, and ``JavaBrokeOff`` where it breaks off or takes longer. The Java process has ended when this returns or
    raises.
    """
    java = find_java()
    from pycocoevalcap.meteor import meteor as official

    folder = Path(official.__file__).parent
    if not (folder / official.METEOR_JAR).is_file():
        raise JavaUnavailable(f"needs {official.METEOR_JAR}, which this installation of pycocoevalcap lacks")
    command = [java, "-Xmx2G", "-jar", official.METEOR_JAR, "-", "-", "-stdio", "-l", "en", "-norm"]
    limit = 180.0 + 0.1 * len(candidates) if timeout is None else timeout
    with tempfile.TemporaryFile() as errors:
        # Standard error goes to a file: a pipe that nobody reads fills up and stops the program.
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            encoding="utf-8",
        )
        with _Conversation(process, limit) as conversation:
            try:
                return _score(conversation, candidates, references)
            except (OSError, ValueError) as error:
                if conversation.timed_out:
                    raise JavaBrokeOff(f"Java was stopped after {limit:g} s without an answer") from error
                raise JavaBrokeOff(f"Java broke off: {first_line(errors) or error}") from error


class _Conversation:
    """Lines to and from a process that is killed when its time is up and has always ended on exit."""

    def __init__(self, process: subprocess.Popen[str], limit: float) -> None:
        self._process = process
        self._timer = threading.Timer(limit, self._stop)
        self._timer.daemon = True
        self.timed_out = False

    def __enter__(self) -> _Conversation:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            try:
                pipe.close()
            except BrokenPipeError:  # what was not flushed before the process died
                continue
        self._process.wait()

    def _stop(self) -> None:
        self.timed_out = True
        self._process.kill()

    def say(self, line: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise ValueError("it ended without an answer") from error

    def hear(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise ValueError("it ended without an answer")
        return line.strip()


def _score(conversation: _Conversation, candidates: Sequence[str], references: Sequence[Sequence[str]]) -> MeteorResult:
    answers = []
    for candidate, texts in zip(candidates, references, strict=True):
        conversation.say(" ||| ".join(("SCORE", *texts, candidate)))
        answers.append(conversation.hear())
    rows = [[float(value) for value in answer.split()] for answer in answers]
    if any(len(row) != STATISTICS for row in rows):
        raise ValueError(f"unexpected statistics: {answers[0]!r}")
    statistics = np.array(rows, dtype=np.float64).reshape(-1, STATISTICS)
    conversation.say(" ||| ".join(("EVAL", *answers)))
    per_image = [float(conversation.hear()) for _ in answers]
    corpus = float(conversation.hear())
    return MeteorResult(corpus, per_image, _without_perfect_chunks(statistics))


def _without_perfect_chunks(statistics: NDArray[np.float64]) -> NDArray[np.float64]:
    """Set the chunk count to 0 where candidate and reference match as one whole, which METEOR does not penalise."""
    test_length, reference_length = statistics[:, 0], statistics[:, 1]
    chunks, test_matches, reference_matches = statistics[:, 20], statistics[:, 21], statistics[:, 22]
    perfect = (chunks == 1) & (test_matches == test_length) & (reference_matches == reference_length)
    out = statistics.copy()
    out[perfect, 20] = 0.0
    return out


class _Parameters(NamedTuple):
    """METEOR 1.5's defaults for English, task ``rank``."""

    alpha: float = 0.85
    beta: float = 0.2
    gamma: float = 0.6
    delta: float = 0.75
    weights: tuple[float, float, float, float] = (1.0, 0.6, 0.8, 0.6)  # exact, stem, synonym, paraphrase


def meteor_from_statistics(total: NDArray[np.float64]) -> float:
    """Return METEOR from 23 summed statistics; equals the Java program's corpus value.

    Order: lengths of candidate and reference, their function words; for each of the four matchers the content words
    matched in candidate and reference and the function words matched in both; chunks, matches in both.
    """
    alpha, beta, gamma, delta, weights = _Parameters()
    matched = total[4:20].reshape(4, 2, 2)  # matcher; content, function; candidate, reference
    content_and_function = delta * matched[:, 0] + (1 - delta) * matched[:, 1]
    weighted = np.asarray(weights) @ content_and_function
    lengths = delta * (total[0:2] - total[2:4]) + (1 - delta) * total[2:4]
    if not weighted.all() or not lengths.all():
        return 0.0
    precision, recall = weighted / lengths
    mean = precision * recall / (alpha * precision + (1 - alpha) * recall)
    fragmentation = total[20] / ((total[21] + total[22]) / 2)
    return float(mean * (1 - gamma * fragmentation**beta))
