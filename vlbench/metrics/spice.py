"""SPICE 1.0 through the Java program that pycocoevalcap ships, where its parser's models are installed.

Source: Anderson et al. 2016; command line and input of coco-caption. The models (Stanford CoreNLP 3.6.0) are not on the
Python package index. Nothing is downloaded here: a metric that fetches programs in the middle of a run is a surprise.
"""

from __future__ import annotations

import json
import math
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from vlbench.metrics.java import JavaBrokeOff, JavaUnavailable, find_java, first_line

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["run_spice"]

JARS = ("spice-1.0.jar", "lib/stanford-corenlp-3.6.0.jar", "lib/stanford-corenlp-3.6.0-models.jar")


def run_spice(
    candidates: Sequence[str], references: Sequence[Sequence[str]], timeout: float | None = None
) -> list[float]:
    """Return the F-score of n tokenised candidates against their tokenised references.

    A caption in which no tuple is found scores 0. ``timeout`` in seconds bounds the run and grows with n by default.
    Raises ``JavaUnavailable`` where Java or the models are missing, ``JavaBrokeOff`` where Java breaks off or takes
    longer.
    """
    java = find_java()
    from pycocoevalcap.spice import spice as official

    folder = Path(official.__file__).parent
    missing = [name for name in JARS if not (folder / name).is_file()]
    if missing:
        raise JavaUnavailable(
            f"needs {missing[0]} in pycocoevalcap's folder spice/; on a machine with network "
            "pycocoevalcap.spice.get_stanford_models.get_stanford_models() fetches it"
        )
    limit = 600.0 + 1.0 * len(candidates) if timeout is None else timeout
    pairs = zip(candidates, references, strict=True)
    items = [{"image_id": i, "test": text, "refs": list(texts)} for i, (text, texts) in enumerate(pairs)]
    with tempfile.TemporaryDirectory() as place, tempfile.TemporaryFile() as errors:
        given, made = Path(place) / "captions.json", Path(place) / "scores.json"
        given.write_text(json.dumps(items), encoding="utf-8")
        command = [java, "-Xmx8G", "-jar", JARS[0], str(given), "-out", str(made), "-subset", "-silent"]
        try:
            subprocess.run(command, cwd=folder, stdout=errors, stderr=errors, timeout=limit, check=True)
            scores = json.loads(made.read_text(encoding="utf-8"))
            by_image = {item["image_id"]: item["scores"]["All"]["f"] for item in scores}
            return [_finite(by_image[i]) for i in range(len(items))]
        except subprocess.TimeoutExpired as error:
            raise JavaBrokeOff(f"Java was stopped after {limit:g} s without an answer") from error
        except (OSError, subprocess.CalledProcessError, LookupError, TypeError, ValueError) as error:
            raise JavaBrokeOff(f"Java broke off: {first_line(errors) or error}") from error


def _finite(value: object) -> float:
    """Return a score; what is undefined (no tuple on either side) counts as 0."""
    number = float(value) if isinstance(value, (int, float)) else math.nan
    return number if math.isfinite(number) else 0.0
