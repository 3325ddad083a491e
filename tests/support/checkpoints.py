"""Small checkpoints of real transformers classes: seeded weights, saved by the library with a processor of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

WORDS = (
    *"abcdefghijklmnopqrstuvwxyz0123456789?.,->",
    *[
        "a",
        "the",
        "is",
        "there",
        "in",
        "of",
        "and",
        "on",
        "no",
        "yes",
        "picture",
        "red",
        "blue",
        "green",
        "circle",
        "square",
        "star",
        "triangle",
        "large",
        "small",
    ],
    *("##" + letter for letter in "abcdefghijklmnopqrstuvwxyz"),
)


def bert_tokenizer(folder: Path) -> Any:
    """Write and return a WordPiece tokenizer of a few words and all letters."""
    from transformers import BertTokenizerFast

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *dict.fromkeys(WORDS)]))
    tokenizer = BertTokenizerFast(str(folder / "vocab.txt"))
    tokenizer.save_pretrained(folder)
    return tokenizer


def bpe_tokenizer(folder: Path, start: str, end: str, length: int) -> Any:
    """Write and return a byte-level BPE tokenizer that marks start and end, as CLIP's does."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    marks = list(dict.fromkeys((start, end)))
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=marks, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator([" ".join(WORDS)], trainer)
    places = [(mark, tokenizer.token_to_id(mark)) for mark in marks]
    if start != end:
        tokenizer.post_processor = processors.TemplateProcessing(f"{start} $A {end}", special_tokens=places)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=start, eos_token=end, pad_token=end, model_max_length=length
    )
    wrapped.save_pretrained(folder)
    return wrapped


def clip(folder: Path) -> Path:
    """Write a CLIP checkpoint."""
    import torch
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    tokenizer = bpe_tokenizer(folder, "<|startoftext|>", "<|endoftext|>", 32)
    marks = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    text = {"vocab_size": len(tokenizer), "max_position_embeddings": 32, **SMALL, **marks, "pad_token_id": 1}
    config = CLIPConfig(text_config=text, vision_config={"image_size": 32, "patch_size": 8, **SMALL}, projection_dim=24)
    torch.manual_seed(0)
    CLIPModel(config).save_pretrained(folder)
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=32).save_pretrained(folder)
    return folder


def siglip(folder: Path) -> Path:
    """Write a SigLIP checkpoint, whose texts are padded to 64 without a mask."""
    import torch
    from transformers import SiglipConfig, SiglipImageProcessor, SiglipModel

    tokenizer = bpe_tokenizer(folder, "<s>", "</s>", 64)
    text = {"vocab_size": len(tokenizer), "max_position_embeddings": 64, **SMALL, "projection_size": 32}
    config = SiglipConfig(text_config=text, vision_config={"image_size": 32, "patch_size": 8, **SMALL})
    torch.manual_seed(0)
    SiglipModel(config).save_pretrained(folder)
    SiglipImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def blip(folder: Path, kind: str) -> Path:
    """Write a BLIP checkpoint of class ``kind``, in which the image counts: by default its tower begins at 1e-10."""
    import torch
    import transformers

    tokenizer = bert_tokenizer(folder)
    text = {
        "vocab_size": len(tokenizer),
        **SMALL,
        "max_position_embeddings": 64,
        "bos_token_id": tokenizer.cls_token_id,
        "sep_token_id": tokenizer.sep_token_id,
        "eos_token_id": tokenizer.sep_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "encoder_hidden_size": 32,
        "initializer_range": 0.2,
    }
    vision = {"image_size": 32, "patch_size": 8, **SMALL, "initializer_range": 0.2}
    config = transformers.BlipConfig(
        text_config=text, vision_config=vision, projection_dim=24, image_text_hidden_size=24
    )
    torch.manual_seed(0)
    getattr(transformers, kind)(config).save_pretrained(folder)
    transformers.BlipImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def blip2(folder: Path, kind: str, language: str = "opt") -> Path:
    """Write a BLIP-2 checkpoint of class ``kind``; ``language`` is ``opt`` (a decoder) or ``t5`` (an encoder too).

    The queries are drawn: the library starts them at zero, with which all of them would answer alike. What the language
    model sees of an image is enlarged, so that its texts differ.
    """
    import torch
    import transformers

    if kind == "Blip2ForImageTextRetrieval":
        tokenizer, text = bert_tokenizer(folder), {}
    else:
        from tokenizers.processors import TemplateProcessing

        tokenizer = bpe_tokenizer(folder, "</s>", "</s>", 512)
        order = "</s> $A" if language == "opt" else "$A </s>"
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(order, special_tokens=[("</s>", 0)])
        text = {"model_type": language, **_LANGUAGE[language]}
    processor = transformers.Blip2Processor(
        transformers.BlipImageProcessor(size={"height": 32, "width": 32}), tokenizer, num_query_tokens=4
    )
    processor.save_pretrained(folder)
    words = len(tokenizer)
    queries = {"vocab_size": words, **SMALL, "max_position_embeddings": 64, "initializer_range": 0.2}
    config = transformers.Blip2Config(
        vision_config={"image_size": 32, "patch_size": 8, **SMALL, "initializer_range": 0.2},
        qformer_config={**queries, "use_qformer_text_input": not text},
        text_config={**text, "vocab_size": words} if text else None,
        num_query_tokens=4,
        image_text_hidden_size=24,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>") if text else None,
    )
    torch.manual_seed(0)
    model = getattr(transformers, kind)(config)
    with torch.no_grad():
        model.query_tokens.normal_()
        if text:
            model.language_projection.weight.normal_()
        if text and language == "t5":
            model.language_model.lm_head.weight.mul_(0.05)  # of logits in the hundreds few digits would be left
    model.save_pretrained(folder)
    return folder


def vilt(folder: Path, kind: str, **overrides: Any) -> Path:
    """Write a ViLT checkpoint of class ``kind`` with four answers, its weights wide enough for scores to differ."""
    import torch
    import transformers

    tokenizer = bert_tokenizer(folder)
    settings = {
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 40,
        "image_size": 32,
        "patch_size": 8,
        **SMALL,
    }
    answers = {"id2label": {0: "yes", 1: "no", 2: "red", 3: "2"}, "label2id": {"yes": 0, "no": 1, "red": 2, "2": 3}}
    torch.manual_seed(0)
    config = transformers.ViltConfig(**settings, initializer_range=0.4, **{**answers, **overrides})
    model = getattr(transformers, kind)(config)
    with torch.no_grad():
        # The library starts positions at 0, with which no test would see one misplaced.
        model.vilt.embeddings.position_embeddings.normal_()
    model.save_pretrained(folder)
    transformers.ViltImageProcessor(size={"shortest_edge": 32}, size_divisor=8).save_pretrained(folder)
    return folder


def vit_gpt2(folder: Path) -> Path:
    """Write a ViT + GPT-2 checkpoint."""
    import torch
    from transformers import (
        GPT2Config,
        VisionEncoderDecoderConfig,
        VisionEncoderDecoderModel,
        ViTConfig,
        ViTImageProcessor,
    )

    tokenizer = bpe_tokenizer(folder, "<|endoftext|>", "<|endoftext|>", 64)
    end = tokenizer.eos_token_id
    encoder = ViTConfig(image_size=32, patch_size=8, **SMALL)
    decoder = GPT2Config(
        vocab_size=len(tokenizer), n_positions=64, n_embd=32, n_layer=2, n_head=2, bos_token_id=end, eos_token_id=end
    )
    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    config.decoder_start_token_id, config.pad_token_id, config.eos_token_id = end, end, end
    torch.manual_seed(0)
    VisionEncoderDecoderModel(config).save_pretrained(folder)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


CHAT_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] }}: {% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %} {{ part['text'] }}{% endif %}{% endfor %}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:\n{% endif %}"
)


def llava(folder: Path) -> Path:
    """Write a LLaVA checkpoint: a CLIP vision tower and a Llama."""
    import torch
    from transformers import (
        CLIPImageProcessor,
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
    )

    tokenizer = bpe_tokenizer(folder, "</s>", "</s>", 512)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    end = tokenizer.eos_token_id
    text = LlamaConfig(
        vocab_size=len(tokenizer), **SMALL, num_key_value_heads=2, bos_token_id=end, eos_token_id=end, pad_token_id=end
    )
    vision = CLIPVisionConfig(image_size=32, patch_size=8, **SMALL)
    place = tokenizer.convert_tokens_to_ids("<image>")
    torch.manual_seed(0)
    LlavaForConditionalGeneration(
        LlavaConfig(vision_config=vision, text_config=text, image_token_index=place)
    ).save_pretrained(folder)
    LlavaProcessor(
        CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=32),
        tokenizer,
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT_TEMPLATE,
    ).save_pretrained(folder)
    return folder


SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
_LANGUAGE = {
    "opt": {
        **{"hidden_size": 32, "word_embed_proj_dim": 32, "num_hidden_layers": 2, "num_attention_heads": 2},
        **{"ffn_dim": 48, "max_position_embeddings": 128, "init_std": 0.3},
        **{"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0},
    },
    "t5": {
        **{"d_model": 32, "d_kv": 16, "d_ff": 48, "num_layers": 2, "num_heads": 2, "initializer_factor": 3.0},
        **{"decoder_start_token_id": 0, "eos_token_id": 0, "pad_token_id": 0, "tie_word_embeddings": False},
    },
}
