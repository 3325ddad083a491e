"""What the samples of a site show besides the answers: question, references and pictures.

Rows hold ids and answers only, so that a leaderboard folder has nothing of a dataset in it. Here the dataset is read
again, and used only where its fingerprint is that of the result. A built site shows it only where its terms allow
publishing, which is known of the bundled scenes alone; ``vlbench leaderboard serve --data ROOT`` shows it on this
machine whatever the terms.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vlbench.errors import VlbenchError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vlbench.plugins import Plugins
    from vlbench.result import Result
    from vlbench.views import SampleView

SCENES = "scenes/"


@dataclass(frozen=True)
class Truths:
    """The views of a dataset's samples by sample id."""

    by_id: Mapping[str, SampleView]

    def answer(self, sample_id: str, response: str) -> str:
        """Return a response as people read it: of a retrieved caption its text, of a choice the text chosen."""
        found = self.by_id.get(response) if response.startswith("t:") else None
        if found is not None:
            return found.question
        truth = self.by_id.get(sample_id)
        places = response.split()
        if truth is None or not truth.choices or len(places) != len(truth.choices):
            return response
        texts = [
            choices[int(place)] if place.isdecimal() and int(place) < len(choices) else place
            for place, choices in zip(places, truth.choices, strict=True)
        ]
        return " / ".join(texts)


NO_TRUTHS = Truths({})


def load_truths(result: Result, data: str | None, plugins: Plugins) -> Truths:
    """Return what the samples of ``result`` are; none where that may not be shown or is not at hand.

    Results on the bundled scenes always have theirs; those on other data only where ``data``, a folder on this
    machine, holds the very annotations that the result names.
    """
    scenes = result.task.dataset.startswith(SCENES)
    if (not scenes and data is None) or result.task.name not in plugins.tasks:
        return NO_TRUTHS
    from vlbench.runner.driver import load_dataset

    try:
        task = plugins.task(result.task.name).load()(result.settings.get("task_arguments", {}))
        dataset = load_dataset(task, None if scenes else data, result.task.split, result.task.limit)
        same = dataset.fingerprint == result.task.fingerprint
        return Truths(dict(task.views(dataset))) if same else NO_TRUTHS
    except VlbenchError:
        # Data of one task is no reason to show nothing of the others.
        return NO_TRUTHS
