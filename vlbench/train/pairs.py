"""New ``VisionEncoderDecoderModel`` checkpoints: two pretrained halves joined, or a tiny one from configurations."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

from vlbench.errors import ModelError, UsageError
from vlbench.models.checkpoint import written_whole
from vlbench.train.run import sampled_texts

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from vlbench.train.examples import Source

PREFIX = "vision_encoder_decoder:"
TINY = "tiny"
END = "<|endoftext|>"
RECORD = "pair.json"
"""What a new pair was made from, beside its weights."""
LENGTH = 96
"""Tokens that the decoder of a tiny model reads."""


def names_pair(model: str) -> bool:
    """Tell whether ``--model`` names a model that has yet to be made.

    >>> names_pair("vision_encoder_decoder:vit+gpt2"), names_pair("vision_encoder_decoder:folder")
    (True, False)
    """
    rest = model.removeprefix(PREFIX)
    return rest != model and (rest == TINY or "+" in rest)


def begin_pair(model: str, source: Source, seed: int, folder: Path) -> Path:
    """Write the checkpoint that training begins with to ``folder``, unless it is there, and return the folder.

    Raises ``UsageError`` where something else lies there: another pair, or one of another seed or source.
    """
    import torch

    made_from = {"model": model, "seed": seed, "data": source.name}
    if any(folder.glob("model*.safetensors")):
        _refuse_another(folder, made_from)
        return folder
    torch.manual_seed(seed)
    rest = model.removeprefix(PREFIX)
    joined, images, tokenizer = _tiny(source) if rest == TINY else _joined(*rest.split("+", 1))
    start = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.cls_token_id
    end = tokenizer.eos_token_id if tokenizer.eos_token_id is not None else tokenizer.sep_token_id
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else end
    # Generation reads its own configuration, everything else the model's.
    for config in (joined.config, joined.generation_config):
        config.decoder_start_token_id, config.eos_token_id, config.pad_token_id = start, end, pad
    with written_whole(folder) as whole:
        for part in (images, tokenizer, joined):
            part.save_pretrained(whole)
        (whole / RECORD).write_text(json.dumps(made_from), encoding="utf-8")
    return folder


def _refuse_another(folder: Path, made_from: Mapping[str, Any]) -> None:
    there: dict[str, Any] = {}
    with contextlib.suppress(OSError, ValueError):
        there = dict(json.loads((folder / RECORD).read_text(encoding="utf-8")))
    for name, value in made_from.items():
        if there.get(name) != value:
            raise UsageError(
                f"{folder} holds a checkpoint of {name} {there.get(name, 'unknown')}, not {value}; choose another "
                "--output, or go on with the same command"
            )


def _joined(encoder: str, decoder: str) -> tuple[Any, Any, Any]:
    """Join two checkpoints; the cross-attention between them is new. Raises ``ModelError``."""
    from transformers import AutoImageProcessor, AutoTokenizer, VisionEncoderDecoderModel

    from vlbench import hub

    part = encoder
    try:
        with hub.no_long_wait():
            images = AutoImageProcessor.from_pretrained(encoder)  # type: ignore[no-untyped-call]
            part = decoder
            tokenizer = AutoTokenizer.from_pretrained(decoder)
            model = VisionEncoderDecoderModel.from_encoder_decoder_pretrained(encoder, decoder)
            return model, images, tokenizer
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        raise ModelError(f"cannot join {encoder} and {decoder}: {hub.reason(error, hub.Repository(part))}") from error


def _tiny(source: Source) -> tuple[Any, Any, Any]:
    """Make a ViT and a GPT-2 of 1.5 M weights together, with a tokenizer learned from the texts of ``source``."""
    from transformers import (
        GPT2Config,
        VisionEncoderDecoderConfig,
        VisionEncoderDecoderModel,
        ViTConfig,
        ViTImageProcessor,
    )

    tokenizer = _tokenizer(source)
    encoder = ViTConfig(
        image_size=64,
        patch_size=8,
        hidden_size=128,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=384,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    decoder = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=LENGTH,
        n_embd=128,
        n_layer=3,
        n_head=4,
        bos_token_id=tokenizer.eos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
    )
    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    return VisionEncoderDecoderModel(config), ViTImageProcessor(size={"height": 64, "width": 64}), tokenizer


def _tokenizer(source: Source) -> Any:
    """Learn a byte-level BPE as GPT-2's (Radford et al. 2019, section 2.2), one mark for start, end and padding."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=1024, special_tokens=[END], initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(sampled_texts(source), trainer)
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, bos_token=END, eos_token=END, pad_token=END, model_max_length=LENGTH
    )
