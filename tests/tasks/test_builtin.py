"""What is registered is what the classes say."""

from __future__ import annotations

from vlbench.adapter import CAPABILITIES
from vlbench.plugins import load_plugins
from vlbench.runner.driver import choose_tasks
from vlbench.runner.options import RunOptions
from vlbench.tasks.builtin import vlbench_register_tasks


def test_all_stands_for_the_default_tasks_only() -> None:
    """Others run by name: their data may be absent, or take long."""
    plugins = load_plugins()
    chosen, unsupported = choose_tasks(("all",), frozenset(CAPABILITIES), plugins, RunOptions())
    assert [task.name for task, _ in chosen] == [name for name, spec in plugins.tasks.items() if spec.default]
    assert not unsupported and "vg_qa" not in {task.name for task, _ in chosen}
    by_name, _ = choose_tasks(("vg_qa",), frozenset(CAPABILITIES), plugins, RunOptions())
    assert by_name[0][0].name == "vg_qa"


def test_specs_agree_with_the_classes() -> None:
    specs = list(vlbench_register_tasks())
    default = ["coco_retrieval", "flickr30k_retrieval", "coco_caption", "vqa", "vcr"]
    assert [spec.name for spec in specs if spec.default] == default, "what the bundled benchmark has"
    assert {"okvqa", "gqa", "vizwiz", "nocaps"} <= {spec.name for spec in specs}
    for spec in specs:
        task = spec.load()
        assert (task.name, task.dataset, task.primary_metric) == (spec.name, spec.dataset, spec.primary_metric)
        assert spec.needs and spec.description
        assert spec.default == (spec.dataset in ("coco", "flickr30k", "vqa", "vcr")), "the bundled scenes have these"
