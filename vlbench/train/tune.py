"""Which weights of an external model are trained: all, low-rank additions (LoRA), or its heads only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from vlbench.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

TUNES = ("full", "lora", "head")
RANK = 8


class Learner(NamedTuple):
    """What a class of models learns, and the parts of the names of its ``head``'s weights."""

    objectives: tuple[str, ...]
    head: tuple[str, ...]


LEARNERS: Mapping[str, Learner] = {
    "VisionEncoderDecoderModel": Learner(("caption", "vqa"), ("crossattention", "ln_cross_attn", "enc_to_dec_proj")),
    "CLIPModel": Learner(("itc",), ("visual_projection", "text_projection", "logit_scale")),
    "BlipForImageTextRetrieval": Learner(("itc", "itm"), ("vision_proj", "text_proj", "itm_head")),
    "BlipForConditionalGeneration": Learner(("caption", "vqa"), ("text_decoder.cls",)),
}


def choose_weights(model: Any, tune: str) -> Callable[[], None]:
    """Let only the weights of ``tune`` (one of ``TUNES``) learn; return what is to be called before saving.

    LoRA (Hu et al. 2022) adds matrices of rank 8, scaled by 2, to all linear layers outside the heads. It is merged
    into them at the end, so that the saved model is an ordinary one. Raises ``ModelError`` where peft is missing.
    """
    head = LEARNERS[type(model).__name__].head
    if tune == "full":
        model.requires_grad_(True)
    elif tune == "head":
        for name, weight in model.named_parameters():
            weight.requires_grad_(any(part in name for part in head))
    else:
        return _low_rank(model, head)
    return lambda: None


def _low_rank(model: Any, head: tuple[str, ...]) -> Callable[[], None]:
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise ModelError("--tune lora needs the package peft (pip install 'vlbench[lora]')") from error
    outer = (*head, "lm_head") if type(model).__name__ != "VisionEncoderDecoderModel" else ("lm_head",)
    layers = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | Conv1D) and not any(part in name for part in outer)
    ]
    added = get_peft_model(model, LoraConfig(r=RANK, lora_alpha=2 * RANK, lora_dropout=0.0, target_modules=layers))

    def merge() -> None:
        added.merge_and_unload()

    return merge
