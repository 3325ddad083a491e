"""Prompts by family: every task that takes one has its line, users override it, and the signature shows it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.cli import Done, here
from vlbench import prompts
from vlbench.errors import UnsupportedTask
from vlbench.plugins import load_plugins
from vlbench.runner.driver import choose_tasks
from vlbench.runner.options import RunOptions
from vlbench.tasks.vqa import Vqa

GENERATES = frozenset({"generate"})


@pytest.mark.parametrize("family", sorted(prompts.ARGUMENTS))
def test_every_task_with_a_prompt_has_a_line_for_the_family(family: str) -> None:
    """A model that follows instructions and gets none answers in whole paragraphs."""
    for spec in load_plugins().tasks.values():
        kind = spec.load()
        arguments = prompts.arguments(family, kind)
        writes = {"prompt", "max_new_tokens"} <= set(kind.argument_help)
        assert not writes or arguments.get("prompt"), spec.name
        kind(arguments)


def test_the_documentation_shows_the_table() -> None:
    page = (Path(__file__).resolve().parents[1] / "docs" / "models.md").read_text(encoding="utf-8")
    for family, tasks in prompts.ARGUMENTS.items():
        for task, arguments in tasks.items():
            (row,) = [line for line in page.splitlines() if line.startswith(f"| `{family}` | `{task}` |")]
            for name, text in arguments.items():
                first, *others = text.split("\n")
                assert f"`{name}={first}`" in row and all(f"`{line}`" in row for line in others)


def test_a_derived_task_is_asked_like_its_base() -> None:
    class Derived(Vqa):
        name = "derived"

    assert prompts.arguments("chat", Derived) == prompts.arguments("chat", Vqa) != {}
    assert prompts.arguments("", Derived) == prompts.arguments("unknown", Vqa) == {}


def test_a_family_is_asked_in_its_words_unless_the_user_says_others() -> None:
    plugins = load_plugins()

    def prompt(family: str, **given: str) -> str:
        options = RunOptions(task_arguments={"vqa": given})
        ((_, protocol),), _ = choose_tasks(["vqa"], GENERATES, plugins, options, family)
        return protocol.prompt

    assert prompt("").startswith("{question}[")
    assert prompt("chat").startswith("{question}\nAnswer the question with a single word or phrase.[")
    assert prompt("chat", prompt="Q: {question} A:").startswith("Q: {question} A:[")


def test_a_prompt_on_the_command_line_is_in_the_signature(tmp_path: Path) -> None:
    def run(tasks: str, *prompts: str) -> Done:
        given = [part for prompt in prompts for part in ("--prompt", prompt)]
        return here("run", "--tasks", tasks, *given, "--limit", 1, "--bootstrap", 0, "--output", tmp_path, "--json")

    done = run("vqa,coco_caption", "Well: {question}", "coco_caption:a photo of")
    assert done.code == 0, done.err
    asked = {result["task"]["name"]: result["signature"] for result in json.loads(done.out)}
    assert "|prompt:Well: {question}[" in asked["vqa"] and "|prompt:a photo of[" in asked["coco_caption"]
    for tasks, prompt, message in (
        ("vcr", "a photo of", "--prompt 'a photo of': no task of this run takes one"),
        (
            "vqa",
            "coco_caption:a photo of",
            "--prompt 'coco_caption:a photo of': coco_caption is no task of this run that takes one",
        ),
        ("vqa", "a photo of", "vqa:prompt=a photo of must contain {question}"),
    ):
        done = run(tasks, prompt)
        assert done.code == 2 and [
            message in line for line in done.err.splitlines() if line.startswith("vlbench:")
        ] == [True]


def test_only_families_that_follow_instructions_choose_by_letter() -> None:
    plugins = load_plugins()
    ((_, protocol),), _ = choose_tasks(["vcr"], GENERATES, plugins, RunOptions(), "chat")
    assert protocol.name == "choose/letters-v1" and "{choices}" in protocol.template
    with pytest.raises(UnsupportedTask, match="the model can only generate"):
        choose_tasks(["vcr"], GENERATES, plugins, RunOptions())
    likely = GENERATES | {"loglikelihood"}
    ((_, protocol),), _ = choose_tasks(["vcr"], likely, plugins, RunOptions(), "chat")
    assert protocol.name == "choose/likelihood-per-token"


def test_a_ranking_keeps_its_vocabulary_when_it_is_asked_by_letter() -> None:
    """The hash of the shortlists is filled in by `load`, after the protocol was made."""
    options = RunOptions(task_arguments={"vqa": {"answer": "rank"}})
    ((task, protocol),), _ = choose_tasks(["vqa"], GENERATES, load_plugins(), options, "chat")
    assert isinstance(task, Vqa) and protocol.extra is task._extra
