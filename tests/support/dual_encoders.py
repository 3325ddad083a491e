"""Small checkpoints of dual encoders besides CLIP and SigLIP: seeded weights, with a processor of their own."""

from __future__ import annotations

import json
import warnings
from typing import TYPE_CHECKING, Any

from tests.support.checkpoints import SMALL, bert_tokenizer, bpe_tokenizer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import torch

_WIDE = {"initializer_range": 0.4}
"""Weights of texts wide enough for embeddings to differ."""
_VISION = {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8}
_TEXT = {"context_length": 32, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
CLIP_CONFIG: Mapping[str, Any] = {"embed_dim": 32, "vision_cfg": _VISION, "text_cfg": _TEXT}
COCA_CONFIG: Mapping[str, Any] = {
    "embed_dim": 32,
    "vision_cfg": {**_VISION, "attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True},
    "text_cfg": {**_TEXT, "embed_cls": True, "output_tokens": True},
    "multimodal_cfg": {**_TEXT, "attn_pooler_heads": 2},
}


def siglip2(folder: Path) -> Path:
    """Write a SigLIP 2 checkpoint at fixed resolution: SigLIP's model with a tokenizer that puts small letters."""
    import torch
    from transformers import SiglipConfig, SiglipImageProcessor, SiglipModel

    tokenizer = _gemma_tokenizer(folder, "right")
    text = {"vocab_size": len(tokenizer), "max_position_embeddings": 64, **SMALL, "projection_size": 32}
    config = SiglipConfig(text_config=text, vision_config={"image_size": 32, "patch_size": 8, **SMALL})
    torch.manual_seed(0)
    SiglipModel(config).save_pretrained(folder)
    SiglipImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def _gemma_tokenizer(folder: Path, side: str) -> Any:
    """Write and return SigLIP 2's tokenizer over single letters, which pads on ``side``."""
    from tokenizers.processors import TemplateProcessing
    from transformers import Siglip2Tokenizer

    marks = {"<pad>": 0, "<eos>": 1, "<bos>": 2, "<unk>": 3, "<mask>": 4}
    letters = {letter: len(marks) + n for n, letter in enumerate("▁abcdefghijklmnopqrstuvwxyz?.,0123456789")}
    tokenizer = Siglip2Tokenizer(vocab={**marks, **letters}, model_max_length=64, padding_side=side)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing("$A <eos>", special_tokens=[("<eos>", 1)])
    tokenizer.save_pretrained(folder)
    return tokenizer


def siglip2_naflex(folder: Path) -> Path:
    """Write a SigLIP 2 checkpoint that sees pictures in their own shape, as patches with a mask."""
    import torch
    from transformers import Siglip2Config, Siglip2ImageProcessor, Siglip2Model

    tokenizer = _gemma_tokenizer(folder, "left")
    text = {"vocab_size": len(tokenizer), "max_position_embeddings": 64, **SMALL, "projection_size": 32}
    config = Siglip2Config(text_config=text, vision_config={"num_patches": 16, "patch_size": 8, **SMALL})
    torch.manual_seed(0)
    Siglip2Model(config).save_pretrained(folder)
    Siglip2ImageProcessor(patch_size=8, max_num_patches=16).save_pretrained(folder)
    return folder


def align(folder: Path) -> Path:
    """Write an ALIGN checkpoint: an EfficientNet, whose statistics are those of evaluation, and a BERT."""
    import torch
    from transformers import AlignConfig, AlignModel, EfficientNetImageProcessor

    tokenizer = bert_tokenizer(folder)
    vision = {
        **{"image_size": 32, "width_coefficient": 1.0, "depth_coefficient": 1.0, "hidden_dim": 32},
        **{"in_channels": [32, 16], "out_channels": [16, 24], "kernel_sizes": [3, 3], "strides": [1, 2]},
        **{"num_block_repeats": [1, 1], "expand_ratios": [1, 2]},
    }
    text = {"vocab_size": len(tokenizer), "max_position_embeddings": 64, **SMALL, **_WIDE}
    torch.manual_seed(0)
    # Texts are projected to the width of the picture's last block, which is not projected.
    model = AlignModel(AlignConfig(text_config=text, vision_config=vision, projection_dim=24))
    _learn_statistics(model.vision_model)
    model.save_pretrained(folder)
    EfficientNetImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def _learn_statistics(module: torch.nn.Module) -> None:
    """Let batch norms see noise, as in training: without statistics activations vanish layer by layer."""
    import torch

    module.train()
    with torch.no_grad():
        for _ in range(30):
            module(torch.randn(8, 3, 32, 32))
    module.eval()


def chinese_clip(folder: Path) -> Path:
    """Write a Chinese-CLIP checkpoint."""
    import torch
    from transformers import ChineseCLIPConfig, ChineseCLIPImageProcessor, ChineseCLIPModel

    tokenizer = bert_tokenizer(folder)
    text = {"vocab_size": len(tokenizer), "max_position_embeddings": 64, **SMALL, **_WIDE}
    vision = {"image_size": 32, "patch_size": 8, **SMALL}
    torch.manual_seed(0)
    ChineseCLIPModel(ChineseCLIPConfig(text_config=text, vision_config=vision, projection_dim=24)).save_pretrained(
        folder
    )
    ChineseCLIPImageProcessor(size={"height": 32, "width": 32}, do_center_crop=False).save_pretrained(folder)
    return folder


def altclip(folder: Path) -> Path:
    """Write an AltCLIP checkpoint, whose text tower counts positions from behind its padding id."""
    import torch
    from transformers import AltCLIPConfig, AltCLIPModel, CLIPImageProcessor

    tokenizer = bpe_tokenizer(folder, "<s>", "</s>", 512)
    text = {
        **{"vocab_size": len(tokenizer), "max_position_embeddings": 66, **SMALL, **_WIDE, "project_dim": 24},
        **{"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id},
        "pad_token_id": tokenizer.pad_token_id,
    }
    vision = {"image_size": 32, "patch_size": 8, **SMALL}
    torch.manual_seed(0)
    AltCLIPModel(AltCLIPConfig(text_config=text, vision_config=vision, projection_dim=24)).save_pretrained(folder)
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=32).save_pretrained(folder)
    return folder


def open_clip(folder: Path) -> Path:
    """Write a CLIP checkpoint in open_clip's layout."""
    import torch
    from open_clip import CLIP

    torch.manual_seed(0)
    return _in_layout(folder, {"model_cfg": CLIP_CONFIG, "preprocess_cfg": {}}, CLIP(**CLIP_CONFIG))


def coca(folder: Path) -> Path:
    """Write a CoCa in open_clip's layout; the decoder's own weights are enlarged, so that its texts differ."""
    import torch
    from open_clip import CoCa

    torch.manual_seed(0)
    model = CoCa(**COCA_CONFIG)
    torch.nn.init.normal_(model.text_decoder.text_projection)
    for name, weight in model.named_parameters():
        if name.endswith("embedding.weight") or name.endswith("positional_embedding"):
            torch.nn.init.normal_(weight)
    return _in_layout(folder, {"model_cfg": {**COCA_CONFIG, "custom_text": True}, "preprocess_cfg": {}}, model)


def _in_layout(folder: Path, config: Mapping[str, Any], model: torch.nn.Module) -> Path:
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / "open_clip_model.safetensors")
    return folder


def openai_model() -> torch.nn.Module:
    """Return a small CLIP of open_clip with OpenAI's architecture (QuickGELU, ViT)."""
    import torch
    from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg

    torch.manual_seed(0)
    vision = CLIPVisionCfg(layers=2, width=64, head_width=64, patch_size=16, image_size=32)
    text = CLIPTextCfg(context_length=77, vocab_size=49408, width=64, heads=1, layers=2)
    made: torch.nn.Module = CLIP(embed_dim=32, vision_cfg=vision, text_cfg=text, quick_gelu=True).eval()
    return made


def openai_archive(path: Path, *, scripted: bool = False) -> Path:
    """Write that CLIP as OpenAI published theirs: TorchScript in half precision, or a plain state dict."""
    import torch

    state = {k: v.clone() for k, v in openai_model().state_dict().items() if v.is_floating_point() and k != "attn_mask"}
    if scripted:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch would rather not make such files any more
            torch.jit.script(_scripted(state).half()).save(str(path))
    else:
        torch.save(state, path)
    return path


def _scripted(state: Mapping[str, torch.Tensor]) -> torch.nn.Module:
    """Return a module tree with the parameters of a model, which scripting keeps as OpenAI's archives do."""
    import torch

    class Scripted(torch.nn.Module):
        def __init__(self, state: Mapping[str, torch.Tensor]) -> None:
            super().__init__()
            children: dict[str, dict[str, torch.Tensor]] = {}
            for name, tensor in state.items():
                head, _, rest = name.partition(".")
                if rest:
                    children.setdefault(head, {})[rest] = tensor
                else:
                    self.register_parameter(head, torch.nn.Parameter(tensor, requires_grad=False))
            for name, part in children.items():
                self.add_module(name, Scripted(part))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    return Scripted(state)
