"""Every small checkpoint of an external library: how it is made, whose it is, and what it can be asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tests.support import chats, checkpoints, dual_encoders

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RETRIEVES = ("coco_retrieval", "flickr30k_retrieval", "vqa", "vcr")
WRITES = ("coco_caption", "vqa", "vcr")


class Made(NamedTuple):
    """``make`` writes into a folder that is not there, and returns it, or the file that is the checkpoint."""

    make: Callable[[Path], Path]
    adapter: str
    tasks: tuple[str, ...]
    """All of ``--tasks all`` that it can do."""


def _archive(*, scripted: bool) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        folder.mkdir(parents=True)
        return dual_encoders.openai_archive(folder / "model.pt", scripted=scripted)

    return make


EVERY: dict[str, Made] = {
    "open-clip": Made(dual_encoders.open_clip, "open_clip", RETRIEVES),
    "coca": Made(dual_encoders.coca, "open_clip", (*RETRIEVES, "coco_caption")),
    "clip": Made(checkpoints.clip, "clip", RETRIEVES),
    "siglip": Made(checkpoints.siglip, "clip", RETRIEVES),
    "siglip2": Made(dual_encoders.siglip2, "clip", RETRIEVES),
    "siglip2-naflex": Made(dual_encoders.siglip2_naflex, "clip", RETRIEVES),
    "align": Made(dual_encoders.align, "clip", RETRIEVES),
    "chinese-clip": Made(dual_encoders.chinese_clip, "clip", RETRIEVES),
    "altclip": Made(dual_encoders.altclip, "clip", RETRIEVES),
    "openai-state-dict": Made(_archive(scripted=False), "clip", RETRIEVES),
    "openai-scripted": Made(_archive(scripted=True), "clip", RETRIEVES),
    "blip-retrieval": Made(lambda f: checkpoints.blip(f, "BlipForImageTextRetrieval"), "blip", RETRIEVES),
    "blip-caption": Made(lambda f: checkpoints.blip(f, "BlipForConditionalGeneration"), "blip", WRITES),
    "blip-questions": Made(lambda f: checkpoints.blip(f, "BlipForQuestionAnswering"), "blip", WRITES),
    "blip2-retrieval": Made(lambda f: checkpoints.blip2(f, "Blip2ForImageTextRetrieval"), "blip2", RETRIEVES),
    "blip2-opt": Made(lambda f: checkpoints.blip2(f, "Blip2ForConditionalGeneration"), "blip2", WRITES),
    "blip2-t5": Made(lambda f: checkpoints.blip2(f, "Blip2ForConditionalGeneration", "t5"), "blip2", WRITES),
    "vilt-retrieval": Made(lambda f: checkpoints.vilt(f, "ViltForImageAndTextRetrieval"), "vilt", RETRIEVES),
    "vilt-questions": Made(lambda f: checkpoints.vilt(f, "ViltForQuestionAnswering"), "vilt", ("coco_caption", "vqa")),
    "vit-gpt2": Made(checkpoints.vit_gpt2, "vision_encoder_decoder", WRITES),
    "llava": Made(checkpoints.llava, "chat", WRITES),
    "qwen2.5-vl": Made(chats.qwen2_5_vl, "chat", WRITES),
    "idefics3": Made(chats.idefics3, "chat", WRITES),
}
FILES = ("openai-state-dict", "openai-scripted")
"""Those that are one file, which has no repository on a hub."""
