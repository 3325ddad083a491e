"""What the adapters over Hugging Face transformers share: finding, loading, preprocessing, decoding arguments."""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from vlbench import hub
from vlbench.adapter import CAPABILITIES, Adapter
from vlbench.adapters.compiling import compile_parts
from vlbench.errors import ModelError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import torch

    from vlbench.adapter import LoadOptions
    from vlbench.types import Decoding


PLACES = (
    *("name_or_path", "is_local", "vocab_file", "merges_file", "tokenizer_file", "special_tokens_map_file"),
    "tokenizer_object",
)
"""Settings of a tokenizer that are places or objects: the same tokenizer lies elsewhere on another machine."""


def config_of(path: Path) -> Mapping[str, Any]:
    """Return the ``config.json`` of a checkpoint folder, empty where there is none."""
    try:
        document = json.loads((path / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def architectures(path: Path) -> frozenset[str]:
    """Return the class names that a checkpoint folder's ``config.json`` was saved from."""
    named = config_of(path).get("architectures")
    return frozenset(str(name) for name in named) if isinstance(named, list) else frozenset()


def yes(arguments: Mapping[str, str], name: str) -> bool:
    """Tell whether ``--model-arg NAME=yes`` was given; raises ``UsageError`` for what is neither yes nor no."""
    value = arguments.get(name, "no")
    if value not in ("yes", "no"):
        raise UsageError(f"--model-arg {name}={value} is neither yes nor no")
    return value == "yes"


class Pretrained(Adapter):
    """Base of adapters whose checkpoints are folders or repositories of transformers.

    ``--model-arg attn=eager|sdpa|flash_attention_2`` chooses the attention, ``trust_remote_code=yes`` runs code that a
    repository brings, ``compile=yes`` compiles the model, ``pretrained=none`` makes a random one from the run's seed,
    ``device_map=auto`` spreads the weights over the devices of the machine.
    """

    unused: ClassVar[tuple[str, ...]] = ()
    """Beginnings of the names of weights that the adapter does not read, which a checkpoint may lack."""

    unread: tuple[str, ...] = ()
    """Names of the weights of the checkpoint that the class of the model has no place for."""

    argument_names: ClassVar[tuple[str, ...]] = ("attn", "compile", "device_map", "pretrained", "trust_remote_code")

    @classmethod
    def config_folder(cls, checkpoint: str, revision: str | None) -> Path:
        """Return the folder with the checkpoint's ``config.json``; raises ``ModelError``."""
        if Path(checkpoint).is_dir():
            return Path(checkpoint)
        if not hub.is_repository(checkpoint):
            raise ModelError(
                f"{checkpoint or '(nothing)'} is neither a checkpoint folder nor a hub repository ORG/NAME"
            )
        return hub.config_folder(checkpoint, revision)

    @classmethod
    def checkpoint_files(cls, options: LoadOptions) -> Sequence[Path]:
        """Return the files of the folder, or of the repository as far as they are in the cache.

        None where they do not decide alone: beside code of others, and for adapters on weights that lie elsewhere.
        """
        stored = hub.stored_files(options.checkpoint, options.revision)
        alone = options.arguments.get("trust_remote_code", "no") == "no"
        return stored if alone and not any(file.name == "adapter_config.json" for file in stored) else ()

    @property
    def switches(self) -> dict[str, Any]:
        """Return the keyword arguments that every ``from_pretrained`` takes."""
        return {
            "revision": self.options.revision,
            "trust_remote_code": yes(self.options.arguments, "trust_remote_code"),
        }

    def pretrained(self, kind: Any, **arguments: Any) -> Any:
        """Load a model of class ``kind`` in eval mode; raises ``ModelError`` with the reason.

        Weights come as safetensors, or as pickles through ``weights_only``: transformers refuses code in them.
        """
        import torch

        attention = self.options.arguments.get("attn")
        chosen = {"attn_implementation": attention} if attention else {}
        spread = self.options.arguments.get("device_map")
        placed = {"device_map": spread} if spread else {}
        dtype = getattr(torch, self.dtype)
        if self.options.arguments.get("pretrained") not in (None, "none"):
            raise UsageError("--model-arg pretrained takes none (a random model); weights are named by --model")
        self.random_weights = self.options.arguments.get("pretrained") == "none"
        if spread and self.random_weights:
            raise UsageError("--model-arg device_map spreads weights as they are loaded; a random model has none")
        with self.loading():
            if self.random_weights:
                from transformers import AutoConfig

                config = AutoConfig.from_pretrained(self.options.checkpoint, **self.switches)
                with torch.random.fork_rng():
                    torch.manual_seed(self.options.seed)
                    # Auto classes have the public method, model classes only the other.
                    build = getattr(kind, "_from_config", None) or kind.from_config
                    model = build(config, dtype=dtype, **chosen)
            else:
                model, report = kind.from_pretrained(
                    self.options.checkpoint,
                    dtype=dtype,
                    output_loading_info=True,
                    **chosen,
                    **placed,
                    **self.switches,
                    **arguments,
                )
                missing = sorted(name for name in report["missing_keys"] if not name.startswith(self.unused))
                if missing:
                    raise ModelError(
                        f"{self.options.checkpoint} lacks {len(missing)} weights of {kind.__name__}, "
                        f"first {missing[0]}; is it a checkpoint of another class?"
                    )
                self.unread = tuple(sorted(report["unexpected_keys"]))
        # What vlbench finetune saves says so in its configuration.
        self.trained_on = tuple(getattr(model.config, "vlbench_trained_on", ()))
        if spread:
            if any(weight.device.type == "meta" for weight in model.parameters()):
                raise ModelError(
                    f"{self.options.checkpoint} does not fit into the memory of the devices (--device-map {spread} "
                    "would leave weights outside it); choose a smaller --dtype or more devices"
                )
            self.device = str(model.device)
        else:
            model = model.to(self.device)
        model.eval()
        if yes(self.options.arguments, "compile"):
            compile_parts(model.children(), self.device)
        return model

    def processor(self, kind: Any, **arguments: Any) -> Any:
        """Load the checkpoint's own processor, tokenizer or image processor; raises ``ModelError``."""
        with self.loading():
            made = kind.from_pretrained(self.options.checkpoint, **self.switches, **arguments)
            if hasattr(made, "get_vocab"):
                # A saved tokenizer may pad or cut by itself until it is first used, which resets an object that all
                # threads share: now, before there are any.
                made("a")
            return made

    @contextlib.contextmanager
    def loading(self) -> Iterator[None]:
        """Turn what can go wrong in transformers' loading code into one line, and show no bars of its own."""
        from transformers.utils import logging

        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        try:
            with hub.no_long_wait():
                yield
        except ImportError as error:
            raise ModelError(f"{self.options.checkpoint} needs a package: {hub.first_line(error)}") from error
        except (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError) as error:
            repository = hub.Repository(self.options.checkpoint, self.options.revision)
            raise ModelError(f"cannot load {hub.reason(error, repository)}") from error


class ByClass(Pretrained):
    """Base of adapters whose checkpoints answer with what the class can do that their ``config.json`` names."""

    capabilities_of: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    @classmethod
    def kind(cls, options: LoadOptions) -> str:
        """Return the class name of the checkpoint; raises ``ModelError`` where it is none of the adapter's."""
        found = architectures(cls.config_folder(options.checkpoint, options.revision))
        for name in cls.capabilities_of:
            if name in found:
                return name
        saved = ", ".join(sorted(found)) or "no known class"
        known = ", ".join(cls.capabilities_of)
        raise ModelError(f"{options.checkpoint} was saved from {saved}; the adapter takes {known}")

    @classmethod
    def capabilities(cls, options: LoadOptions) -> frozenset[str]:
        """Return what the checkpoint's class can do."""
        return frozenset(cls.capabilities_of[cls.kind(options)])


def activation_notes(name: str, activations: Iterable[str]) -> list[str]:
    """Return what must be said of the towers' ``activations`` in a CLIP checkpoint of this name.

    OpenAI trained with QuickGELU; with another activation their weights load and lose points in silence.
    """
    found = set(activations)
    if "quick_gelu" in found and len(found) > 1:
        others = ", ".join(sorted(found - {"quick_gelu"}))
        return [f"{name}: one tower computes QuickGELU, the other {others}; was the configuration changed?"]
    if found and "quick_gelu" not in found and "openai" in name.lower():
        return [
            f"{name} is named after OpenAI, whose weights need QuickGELU, and its configuration says "
            f"{', '.join(sorted(found))}; if they are OpenAI's, its scores are too low"
        ]
    return []


def keep_only(adapter: Adapter, capabilities: frozenset[str]) -> None:
    """Make what this checkpoint cannot do raise as in an adapter that lacks the method."""
    for name in set(CAPABILITIES) - capabilities:
        setattr(adapter, name, getattr(Adapter, name).__get__(adapter))


def described(*parts: Any) -> str:
    """Return processors and tokenizers as a text: all their settings, and hashes of words, merges and rules."""
    return json.dumps([_settings(part) for part in parts], sort_keys=True, default=str)


def _settings(part: Any) -> Any:
    if hasattr(part, "get_vocab"):
        rules = getattr(part, "backend_tokenizer", None)
        document = json.loads(rules.to_str()) if rules is not None else {}
        # What a call sets for itself, on an object that it shares with others.
        document.pop("padding", None)
        document.pop("truncation", None)
        words = json.dumps([sorted(part.get_vocab().items()), document], sort_keys=True).encode()
        # Where it was loaded from says nothing about what it does.
        settings = {name: value for name, value in part.init_kwargs.items() if name not in PLACES}
        marks = [part.special_tokens_map, part.padding_side, part.truncation_side, part.model_max_length]
        return [type(part).__name__, hashlib.sha256(words).hexdigest(), marks, settings]
    return part.to_dict() if hasattr(part, "to_dict") else part


def padded(
    rows: Sequence[Sequence[int]], value: int, *, left: bool = False, least: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return int64 ids (n, longest or ``least``) padded with ``value``, and the int64 attention mask of that shape."""
    import torch

    length = max(least, *(len(row) for row in rows))
    ids = torch.full((len(rows), length), value, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for n, row in enumerate(rows):
        places = slice(length - len(row), None) if left else slice(len(row))
        ids[n, places] = torch.tensor(row, dtype=torch.long)
        mask[n, places] = 1
    return ids, mask


def marked(tokenizer: Any, text: str, limit: int) -> tuple[list[int], bool]:
    """Return the ids of a text with its marks, at most ``limit``, and whether it was longer; the end mark stays.

    The tokenizer's own truncation is a setting of an object that all threads share: two limits at once would mix.
    """
    ids: list[int] = tokenizer(text, verbose=False)["input_ids"]
    return (ids, False) if len(ids) <= limit else ([*ids[: limit - 1], ids[-1]], True)


def generation_arguments(decoding: Decoding) -> dict[str, Any]:
    """Return a ``Decoding`` in the words of transformers' ``generate``; nothing is left to a checkpoint's defaults."""
    arguments: dict[str, Any] = {
        "max_new_tokens": decoding.max_new_tokens,
        "min_length": 0,
        "num_beams": decoding.num_beams,
        "length_penalty": decoding.length_penalty,
        "repetition_penalty": decoding.repetition_penalty,
        "no_repeat_ngram_size": 0,
        "encoder_no_repeat_ngram_size": 0,
        "early_stopping": False,
        "num_return_sequences": 1,
        "do_sample": decoding.temperature > 0,
    }
    if decoding.temperature > 0:
        arguments |= {"temperature": decoding.temperature, "top_p": decoding.top_p, "top_k": 0}
    return arguments


def stopped(text: str, stops: Sequence[str]) -> str:
    """Return ``text`` up to the first of the stop strings."""
    for stop in stops:
        text = text.split(stop, 1)[0]
    return text.strip()
