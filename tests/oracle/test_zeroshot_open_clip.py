"""Zero-shot classification equals open_clip's own classifier and accuracy loop on a seeded random model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.support import dual_encoders
from vlbench.adapter import LoadOptions
from vlbench.adapters.open_clip import OpenCLIP
from vlbench.data.source import DataRoot
from vlbench.tasks.zeroshot_classification import ZeroshotClassification
from vlbench.testing.adapters import answer
from vlbench.testing.tasks import drive

if TYPE_CHECKING:
    from pathlib import Path

    from vlbench.types import Request, Response

CLASSES = ("ant", "bird", "cat", "dog", "eel", "fox", "great_white_shark", "hen")
IMAGES = 3


def write_noise(root: Path) -> None:
    """Write pictures of seeded noise of many scales, on which even a random model differs."""
    from PIL import Image

    random = np.random.default_rng(0)
    for name in CLASSES:
        (root / name).mkdir(parents=True)
        for k in range(IMAGES):
            size = int(random.integers(2, 40))
            pixels = random.integers(0, 256, (size, size, 3), dtype=np.uint8)
            Image.fromarray(pixels).resize((64, 64)).save(root / name / f"{k}.png")


@pytest.mark.parametrize("templates", ["simple", "openai"])
def test_equal_to_open_clip(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, templates: str) -> None:
    import open_clip
    import torch
    from open_clip import zero_shot_metadata

    write_noise(tmp_path)
    checkpoint = dual_encoders.open_clip(tmp_path_factory.mktemp("towers"))
    adapter = OpenCLIP(LoadOptions(checkpoint=str(checkpoint)))
    task = ZeroshotClassification({"templates": templates})
    dataset = task.load(DataRoot(tmp_path), None, None)
    kept: dict[str, Response] = {}

    def embed(request: Request) -> Response:
        return kept[request.key]

    protocol = task.protocol(adapter.capabilities(adapter.options))
    requests = list(next(task.rounds(dataset, protocol)))
    for kind in ("embed_images", "embed_texts"):
        own = [request for request in requests if request.capability == kind]
        for start in range(0, len(own), 64):
            part = own[start : start + 64]
            kept |= {r.key: response for r, response in zip(part, answer(adapter, part), strict=True)}
    rows = drive(task, dataset, protocol, embed)
    metrics = task.aggregate(rows, dataset)

    names = [name.replace("_", " ") for name in CLASSES]
    tokenizer = open_clip.get_tokenizer(f"local-dir:{checkpoint}")
    functions = getattr(zero_shot_metadata, f"{templates.upper()}_IMAGENET_TEMPLATES")
    classifier = open_clip.build_zero_shot_classifier(adapter.model, tokenizer, names, functions)
    with torch.inference_mode():
        pixels = torch.stack([adapter.prepare_image(sample.image.load()) for sample in dataset.samples])
        logits = 100.0 * adapter.model.encode_image(pixels, normalize=True) @ classifier
    labels = torch.tensor([sample.label for sample in dataset.samples])
    order = logits.argsort(dim=1, descending=True)
    for k in (1, 5):
        hits = (order[:, :k] == labels[:, None]).any(dim=1)
        assert [row.scores[f"accuracy@{k}"] for row in rows] == hits.float().tolist()
        assert metrics[f"accuracy@{k}"].value == pytest.approx(hits.double().mean().item(), abs=1e-12)
    assert 0.0 < (metrics["accuracy@1"].value or 0.0) < (metrics["accuracy@5"].value or 0.0) < 1.0
    assert [row.response for row in rows] == [names[i] for i in order[:, 0].tolist()]
    top1 = (order[:, 0] == labels).double()
    recall = np.mean([top1[labels == label].mean().item() for label in range(len(CLASSES))])
    assert metrics["mean_per_class_recall"].value == pytest.approx(recall, abs=1e-12)
