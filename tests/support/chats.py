"""Small checkpoints of chat models besides LLaVA: seeded weights, with a processor and a chat template of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.checkpoints import CHAT_TEMPLATE, SMALL, bpe_tokenizer

if TYPE_CHECKING:
    from pathlib import Path


def qwen2_5_vl(folder: Path) -> Path:
    """Write a Qwen2.5-VL checkpoint, whose pictures keep their shape and whose positions have three axes."""
    import torch
    from transformers import (
        Qwen2_5_VLConfig,
        Qwen2_5_VLForConditionalGeneration,
        Qwen2_5_VLProcessor,
        Qwen2VLImageProcessor,
        Qwen2VLVideoProcessor,
    )

    tokenizer = bpe_tokenizer(folder, "<|im_end|>", "<|im_end|>", 512)
    marks = ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
    tokenizer.add_special_tokens({"additional_special_tokens": marks})
    start, stop, image, video = tokenizer.convert_tokens_to_ids(marks)
    end = tokenizer.eos_token_id
    text = {
        **{"vocab_size": len(tokenizer), **SMALL, "num_key_value_heads": 2, "max_position_embeddings": 512},
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]},
        **{"bos_token_id": end, "eos_token_id": end, "pad_token_id": end, "initializer_range": 0.2},
    }
    vision = {
        **{"depth": 2, "hidden_size": 32, "intermediate_size": 48, "num_heads": 2, "patch_size": 8},
        **{"out_hidden_size": 32, "window_size": 32, "fullatt_block_indexes": [1], "initializer_range": 0.2},
    }
    config = Qwen2_5_VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=image,
        video_token_id=video,
        vision_start_token_id=start,
        vision_end_token_id=stop,
    )
    torch.manual_seed(0)
    Qwen2_5_VLForConditionalGeneration(config).save_pretrained(folder)
    pixels = {"patch_size": 8, "min_pixels": 16 * 16, "max_pixels": 32 * 32}
    Qwen2_5_VLProcessor(
        Qwen2VLImageProcessor(**pixels),
        tokenizer,
        Qwen2VLVideoProcessor(**pixels),
        chat_template=CHAT_TEMPLATE.replace("<image>", "<|vision_start|><|image_pad|><|vision_end|>"),
    ).save_pretrained(folder)
    return folder


def idefics3(folder: Path) -> Path:
    """Write an Idefics3 checkpoint, the class of the first SmolVLM; pictures are seen whole, not split."""
    import torch
    from transformers import (
        Idefics3Config,
        Idefics3ForConditionalGeneration,
        Idefics3ImageProcessor,
        Idefics3Processor,
    )

    tokenizer = bpe_tokenizer(folder, "<|im_end|>", "<|im_end|>", 512)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<global-img>"]})
    processor = Idefics3Processor(
        Idefics3ImageProcessor(
            size={"longest_edge": 32}, max_image_size={"longest_edge": 32}, do_image_splitting=False
        ),
        tokenizer,
        image_seq_len=4,
        chat_template=CHAT_TEMPLATE,
    )
    end = tokenizer.eos_token_id
    text = {
        **{"model_type": "llama", "vocab_size": len(tokenizer), **SMALL, "num_key_value_heads": 2},
        **{"bos_token_id": end, "eos_token_id": end, "pad_token_id": end, "initializer_range": 0.2},
    }
    config = Idefics3Config(
        text_config=text,
        vision_config={"image_size": 32, "patch_size": 8, **SMALL, "initializer_range": 0.2},
        scale_factor=2,
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        pad_token_id=end,
    )
    torch.manual_seed(0)
    Idefics3ForConditionalGeneration(config).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
