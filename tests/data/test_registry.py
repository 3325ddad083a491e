"""What the registry says about datasets is what their loaders know."""

from __future__ import annotations

import subprocess
import sys

from vlbench.data import (
    coco,
    flickr8k,
    flickr30k,
    gqa,
    image_folder,
    nocaps,
    okvqa,
    sugarcrepe,
    vcr,
    visual_genome,
    vizwiz,
    vqa,
    winoground,
)
from vlbench.data.registry import vlbench_register_datasets


def test_registered_splits_are_those_of_the_loaders() -> None:
    captions = (coco, flickr30k, flickr8k, nocaps)
    modules = (*captions, vqa, vcr, visual_genome, winoground, sugarcrepe, okvqa, gqa, vizwiz)
    known = {module.NAME: set(module.FILES) for module in modules}
    known[image_folder.NAME] = set(image_folder.SPLITS)
    specs = list(vlbench_register_datasets())
    assert {spec.name: set(spec.splits) for spec in specs} == known
    assert all(spec.licence and spec.source and spec.citation and spec.description for spec in specs)


def test_the_official_counts_of_coco_add_up() -> None:
    """Train and val of a year hold the same images as the three Karpathy splits together."""
    counts = coco.OFFICIAL_COUNTS
    for kind in ("images", "captions"):
        totals = {
            sum(counts[split][kind] for split in splits)
            for splits in (
                ("train2014", "val2014"),
                ("train2017", "val2017"),
                ("karpathy-train", "karpathy-val", "karpathy-test"),
            )
        }
        assert len(totals) == 1


def test_registering_imports_nothing_heavy() -> None:
    heavy = "numpy", "torch", "PIL"
    code = f"import sys, vlbench.data.registry, vlbench.tasks.builtin; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
