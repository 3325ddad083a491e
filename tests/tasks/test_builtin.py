"""What is registered is what the classes say."""

from __future__ import annotations

from vlbench.tasks.builtin import vlbench_register_tasks


def test_specs_agree_with_the_classes() -> None:
    specs = list(vlbench_register_tasks())
    names = ["coco_retrieval", "flickr30k_retrieval", "coco_caption", "nocaps", "vqa", "vcr"]
    assert [spec.name for spec in specs] == names
    assert [spec.name for spec in specs if not spec.default] == ["nocaps"], "scenes hold the data of all others"
    for spec in specs:
        task = spec.load()
        assert (task.name, task.dataset, task.primary_metric) == (spec.name, spec.dataset, spec.primary_metric)
        assert spec.needs and spec.description and task.argument_help
