"""How families of models are asked: prompts as data, by family and task.

An adapter declares its family (``prompt_family``). The family's line for a task holds default values of ``--task-arg``,
which a user overrides there; what was asked is in the signature, so that numbers of different prompts are never
compared. A task that derives from one of those below is asked in the same words unless it has a line of its own.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from vlbench import letters
from vlbench.capabilities import INSTRUCTIONS
from vlbench.errors import UsageError
from vlbench.task import Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vlbench.task import Task

CHAT = "chat"
# Li et al. 2023, section 4; of its two wordings of questions the one for FlanT5, which asks for as few words as count.
_SHORT = "Question: {question} Short answer:"

ARGUMENTS: Mapping[str, Mapping[str, Mapping[str, str]]] = {
    CHAT: {
        "coco_caption": {"prompt": "Describe this image in one short sentence."},
        "nocaps": {"prompt": "Describe this image in one short sentence."},
        "vg_region_caption": {"prompt": "Describe this image in one short phrase."},
        "vqa": {"prompt": "{question}\nAnswer the question with a single word or phrase."},
        "vg_qa": {"prompt": "{question}\nAnswer the question with a single word or phrase."},
        "gqa": {"prompt": "{question}\nAnswer the question with a single word or phrase."},
        "vizwiz": {
            "prompt": "{question}\nAnswer with a word or phrase, or with unanswerable if the image does not tell."
        },
    },
    "blip2": {
        **{task: {"prompt": "a photo of"} for task in ("coco_caption", "nocaps", "vg_region_caption")},
        **{task: {"prompt": _SHORT} for task in ("vqa", "vg_qa", "gqa", "vizwiz")},
    },
}
"""Default task arguments: by family, by task."""

FOLLOWS_INSTRUCTIONS = frozenset({CHAT})
"""Families that can be asked for the letter of an option."""


def arguments(family: str, task: type[Task[Any]]) -> Mapping[str, str]:
    """Return the default arguments by which ``family`` is asked in ``task``; empty for a family without a line."""
    lines = ARGUMENTS.get(family, {})
    names = [str(vars(kind).get("name")) for kind in task.__mro__]
    return next((lines[name] for name in names if name in lines), {})


def offered(capabilities: frozenset[str], family: str) -> frozenset[str]:
    """Return native capabilities as a task sees them: a family that follows instructions can do that too."""
    return capabilities | {INSTRUCTIONS} if family in FOLLOWS_INSTRUCTIONS else capabilities


def lettered(protocol: Protocol) -> Protocol:
    """Give a protocol that asks for letters its template, unless the user set one.

    Raises ``UsageError`` where the user's template is for the other way of choosing.
    """
    asks = letters.ROUTE in protocol.routes.values()
    lists = "{choices}" in protocol.template
    if asks and not lists and protocol.template == Protocol.template:
        return dataclasses.replace(protocol, template=letters.TEMPLATE)
    if asks != lists:
        fields = "{prompt} and {choices}" if asks else "{prompt} and {choice}"
        raise UsageError(f"in the protocol {protocol.name} the template must contain {fields}")
    return protocol
