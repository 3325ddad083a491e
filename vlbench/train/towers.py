"""``--init-image`` and ``--init-text``: a new model whose towers begin as pretrained ones."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlbench.errors import ModelError, UsageError
from vlbench.models.config import ACTIVATIONS, SIZES, ModelConfig
from vlbench.models.tokenizer import SPECIAL, TextTokenizer
from vlbench.models.towers import Tower, image_weights, interpolated, renamed, side, text_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from vlbench.adapters.pretrained import Pretrained
    from vlbench.models.model import VisionLanguageModel
    from vlbench.train.recipe import Recipe

IMAGE_KINDS = "ViT and CLIP of transformers, ViT of open_clip"


@dataclass(frozen=True)
class Towers:
    """What a new model begins with: None is a tower of random weights."""

    image: Tower | None = None
    text: Tower | None = None

    @classmethod
    def of(cls, recipe: Recipe) -> Towers:
        """Load the towers that ``recipe`` names; raises ``ModelError`` or ``UsageError`` with the reason."""
        if (recipe.init_image or recipe.init_text) and recipe.fusion == "early":
            raise UsageError("early fusion has no towers of its own to begin with; choose --fusion late or interactive")
        return cls(
            image_tower(recipe.init_image) if recipe.init_image else None,
            text_tower(recipe.init_text) if recipe.init_text else None,
        )

    @property
    def trained_on(self) -> tuple[str, ...]:
        """What the towers say they have seen."""
        return tuple(dict.fromkeys(name for tower in (self.image, self.text) if tower for name in tower.trained_on))

    @property
    def tokenizer(self) -> TextTokenizer | None:
        """The tokenizer of the text tower."""
        return self.text.tokenizer if self.text else None

    def fitted(self, sizes: Mapping[str, Any]) -> dict[str, Any]:
        """Return the ``sizes`` of a configuration with the towers' styles; raises ``UsageError`` where one is too big.

        ``sizes`` name the layers of the three parts as an interactive model has them.
        """
        full: dict[str, Any] = {f.name: f.default for f in dataclasses.fields(ModelConfig)} | dict(sizes)
        styles: dict[str, Any] = {}
        if self.image is not None:
            styles |= self.image.style
            if not full["patch_size"]:
                full["patch_size"] = styles["patch_size"] = self.image.sizes["patch_size"]
            _check("--init-image", self.image, full, ("vision_layers",))
        if self.text is not None:
            styles |= self.text.style
            _check("--init-text", self.text, full, ("text_layers", "fusion_layers"))
            places = len(self.text.weights["embedding.positions.weight"])
            if full["max_length"] > places:
                raise UsageError(
                    f"--init-text {self.text.name} has {places} positions, fewer than max_length {full['max_length']}; "
                    f"give the recipe's model max_length: {places} or less"
                )
        return {**sizes, **styles}

    def install(self, model: VisionLanguageModel, say: Callable[[str], None]) -> None:
        """Write the towers' weights into ``model``, and say in one line for each what was taken and what was not."""
        if self.image is not None:
            weights = dict(self.image.weights)
            before, cells = side(weights["positions.weight"]), model.config.grid
            weights["positions.weight"] = interpolated(weights["positions.weight"], cells)
            model.image_encoder.load_state_dict(weights)
            moved = "" if before == cells else f", positions interpolated from {before}x{before} to {cells}x{cells}"
            say(f"image tower: {model.config.vision_layers} layers of {self.image.name}{moved}{_left(self.image)}")
        if self.text is not None:
            own, fusing = _text_parts(self.text.weights, model.config)
            # What is new there points to regions, and looks at the image.
            for part, weights in ((model.text_encoder, own), (model.fusion, fusing)):
                unknown = part.load_state_dict(weights, strict=False).unexpected_keys
                assert not unknown, unknown
            words = model.config.vocabulary
            say(
                f"text tower: {model.config.text_layers} layers of {self.text.name} and its {words} tokens, "
                f"{model.config.fusion_layers} more begin the fusion{_left(self.text)}"
            )


def _text_parts(weights: Mapping[str, Any], config: ModelConfig) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the weights of the text encoder and, of the layers above it, those of the fusion."""
    own: dict[str, Any] = {}
    fusing: dict[str, Any] = {}
    for key, value in weights.items():
        kind, _, rest = key.partition(".")
        number, _, part = rest.partition(".")
        if kind == "layers" and int(number) >= config.text_layers:
            fusing[f"{int(number) - config.text_layers}.{part}"] = value
        else:
            own[key] = value
    own["embedding.positions.weight"] = own["embedding.positions.weight"][: config.max_length]
    return own, fusing


def _left(tower: Tower) -> str:
    parts = dict.fromkeys(key.split(".")[0] for key in tower.left)
    return f"; not taken: {', '.join(parts)}" if parts else ""


def _check(option: str, tower: Tower, full: Mapping[str, Any], layers: tuple[str, ...]) -> None:
    """Raise ``UsageError`` where the tower's sizes are not the model's; it says what would fit."""

    def differing(sizes: Mapping[str, Any]) -> list[str]:
        own = {**sizes, "layers": sum(int(sizes[name]) for name in layers)}
        return [
            f"{name} {value:g} where the model has {own[name]}"
            for name, value in tower.sizes.items()
            # A convolutional stem, which has no patches, gives way to any.
            if value != own[name] and (own[name] or name != "patch_size")
        ]

    wrong = differing(full)
    if not wrong:
        return
    default = {field.name: field.default for field in dataclasses.fields(ModelConfig)}
    fitting = [name for name, sizes in SIZES.items() if not differing({**default, **sizes})]
    depth = f"{' + '.join(layers)} {tower.sizes['layers']:g}"
    rest = ", ".join(f"{name} {value:g}" for name, value in tower.sizes.items() if name != "layers")
    remedy = f"--size {fitting[0]}" if fitting else f"a recipe whose model has {rest}, {depth}"
    raise UsageError(f"{option} {tower.name} does not fit: {'; '.join(wrong)}; what fits it: {remedy}")


def image_tower(name: str) -> Tower:
    """Load an image tower; raises ``ModelError`` for what is none or computes otherwise than a built-in model can."""
    from vlbench.plugins import load_plugins

    plugins = load_plugins()
    if name.startswith("open_clip:") or name in plugins.models or (Path(name) / "open_clip_config.json").is_file():
        return _open_clip_tower(name)
    source, kind = _source(name)
    import transformers

    if kind not in ("vit", "clip", "clip_vision_model"):
        raise ModelError(f"--init-image {name} is of model_type {kind!r}; image towers are {IMAGE_KINDS}")
    if kind == "vit":
        model = source.pretrained(transformers.ViTModel, add_pooling_layer=False)
    else:
        model = source.pretrained(transformers.CLIPVisionModel)
    images = source.processor(transformers.AutoImageProcessor)
    mean, std = (images.image_mean, images.image_std) if images.do_normalize else ([0.0] * 3, [1.0] * 3)
    config = model.config
    heads, epsilon, activation = config.num_attention_heads, config.layer_norm_eps, config.hidden_act
    return _image(name, model.state_dict(), (mean, std), heads, epsilon, activation, source.unread, source.trained_on)


def _open_clip_tower(name: str) -> Tower:
    import open_clip

    from vlbench.adapter import LoadOptions
    from vlbench.plugins import load_plugins
    from vlbench.resolve import resolve_model

    plugins = load_plugins()
    resolved = resolve_model(name, plugins, {})
    if resolved.adapter_name != "open_clip":
        raise ModelError(f"--init-image {name} is a model of {resolved.adapter_name}; image towers are {IMAGE_KINDS}")
    options = LoadOptions(resolved.checkpoint, "cpu", "float32", arguments=resolved.arguments)
    model: Any = resolved.load(options)
    visual = model.model.visual
    if type(visual).__name__ != "VisionTransformer" or not hasattr(visual.ln_post, "weight") or visual.attn_pool:
        raise ModelError(f"--init-image {name} has another image tower than a plain ViT; there are {IMAGE_KINDS}")
    activations = {_activation(block.mlp.gelu) for block in visual.transformer.resblocks}
    activation = ", ".join(sorted(activations))
    known = [
        data
        for spec in plugins.models.values()
        if spec.adapter == "open_clip" and spec.checkpoint == resolved.checkpoint
        for data in spec.trained_on
    ]
    pixels = open_clip.get_model_preprocess_cfg(model.model)
    heads = visual.transformer.resblocks[0].attn.num_heads
    statistics = (pixels["mean"], pixels["std"])
    return _image(name, visual.state_dict(), statistics, heads, visual.ln_post.eps, activation, (), tuple(known))


def _activation(module: Any) -> str:
    """Return the name of an activation of open_clip's, in the words of transformers where a built-in model has it."""
    from torch import nn

    if isinstance(module, nn.GELU) and module.approximate == "none":
        return "gelu"
    return "quick_gelu" if type(module).__name__ == "QuickGELU" else repr(module)


def _image(
    name: str,
    state: Mapping[str, Any],
    statistics: tuple[list[float], list[float]],
    heads: int,
    epsilon: float,
    activation: str,
    unread: tuple[str, ...],
    trained_on: tuple[str, ...],
) -> Tower:
    if activation not in ACTIVATIONS:
        raise ModelError(
            f"--init-image {name} computes {activation}; built-in image layers know {', '.join(ACTIVATIONS)}"
        )
    weights, left = renamed(state, name)
    missing = {"class_token", "positions.weight", "stem.project.weight", "norm.weight"} - set(weights)
    if missing:
        raise ModelError(f"--init-image {name} has no {sorted(missing)[0]}; image towers are {IMAGE_KINDS}")
    weights = image_weights(weights, *statistics)
    kernel = weights["stem.project.weight"]
    if not side(weights["positions.weight"]) or kernel.shape[2] != kernel.shape[3]:
        raise ModelError(f"--init-image {name} does not see a square of square patches")
    style = {
        "class_token": True,
        "embedding_norm": "embedding_norm.weight" in weights,
        "image_activation": activation,
        "image_epsilon": epsilon,
    }
    sizes = {**_sizes(weights, heads), "patch_size": kernel.shape[2]}
    return Tower(name, sizes, style, weights, (*left, *unread), trained_on)


def _sizes(weights: Mapping[str, Any], heads: int) -> dict[str, int]:
    wide, width = weights["layers.0.feed_forward.widen.weight"].shape
    layers = 1 + max(int(key.split(".")[1]) for key in weights if key.startswith("layers."))
    if wide % width:
        raise ModelError(f"layers of width {width} with {wide} inside are none of a built-in model; take another tower")
    return {"width": width, "heads": heads, "layers": layers, "mlp_ratio": wide // width}


def text_tower(name: str) -> Tower:
    """Load a text tower with its tokenizer; raises ``ModelError`` for what is no BERT that reads both ways."""
    if name.startswith("open_clip:"):
        raise ModelError(f"--init-text {name}: a text there sees only what stands before it; text towers are BERT")
    source, kind = _source(name)
    import transformers

    if kind != "bert":
        raise ModelError(f"--init-text {name} is of model_type {kind!r}; text towers are BERT of transformers")
    model = source.pretrained(transformers.BertModel, add_pooling_layer=False)
    config = model.config
    places = getattr(config, "position_embedding_type", "absolute")
    if config.hidden_act != "gelu" or config.is_decoder or places != "absolute":
        raise ModelError(
            f"--init-text {name} computes {config.hidden_act} with {places} positions, or is a decoder; text towers "
            "are BERT encoders with gelu and absolute positions"
        )
    weights, left = renamed(model.state_dict(), name)
    tokenizer, rows = _own_tokens(name, source.processor(transformers.AutoTokenizer))
    if max(rows) >= len(weights["words.weight"]):
        raise ModelError(f"--init-text {name}: its tokenizer has tokens that the model has no vectors for")
    style = {"text_norm": "after", "text_epsilon": config.layer_norm_eps}
    sizes = _sizes(weights, config.num_attention_heads)
    return Tower(name, sizes, style, text_weights(weights, rows), (*left, *source.unread), source.trained_on, tokenizer)


def _own_tokens(name: str, theirs: Any) -> tuple[TextTokenizer, list[int]]:
    """Return the tower's tokenizer with the special tokens of built-in models in front, and each token's old id.

    What BERT does not have begins as what is nearest: [BOS] as its [CLS], [EOS] as [SEP], [REGION] as [MASK].
    """
    from tokenizers import AddedToken, Tokenizer

    rules = getattr(theirs, "backend_tokenizer", None)
    document = json.loads(rules.to_str()) if rules is not None else {}
    if document.get("model", {}).get("type") != "WordPiece":
        raise ModelError(f"--init-text {name} has no WordPiece tokenizer; text towers are BERT of transformers")
    named = (theirs.pad_token, theirs.cls_token, theirs.cls_token, theirs.sep_token, theirs.sep_token)
    old = theirs.get_vocab()
    first = [old.get(token) for token in (*named, theirs.mask_token, theirs.mask_token)]
    if None in first:
        raise ModelError(f"--init-text {name}: its tokenizer lacks a token for padding, [CLS], [SEP] or [MASK]")
    dropped = {*named, theirs.mask_token, *SPECIAL}
    kept = [token for token in sorted(old, key=lambda token: int(old[token])) if token not in dropped]
    document["model"]["vocab"] = {token: number for number, token in enumerate((*SPECIAL, *kept))}
    document |= {"added_tokens": [], "post_processor": None, "padding": None, "truncation": None}
    tokenizer = Tokenizer.from_str(json.dumps(document))
    unknown = document["model"]["unk_token"]
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in (*SPECIAL, unknown)])
    return TextTokenizer(tokenizer), [*first, *(old[token] for token in kept)]


def _source(name: str) -> tuple[Pretrained, str]:
    """Return what loads the parts of a checkpoint of transformers, and the checkpoint's ``model_type``."""
    from vlbench.adapter import LoadOptions
    from vlbench.adapters.pretrained import Pretrained, config_of

    kind = str(config_of(Pretrained.config_folder(name, None)).get("model_type", ""))
    return Pretrained(LoadOptions(name, "cpu", "float32")), kind
