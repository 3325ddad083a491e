"""Adapter for checkpoints of ``vlbench pretrain`` and ``vlbench finetune``, and the bundled ``vlbench-tiny``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from vlbench import hub
from vlbench.adapter import Adapter
from vlbench.adapters.compiling import compile_parts
from vlbench.adapters.pretrained import stopped, yes
from vlbench.adapters.written import GREY
from vlbench.errors import ModelError
from vlbench.hookspecs import hookimpl
from vlbench.specs import AdapterSpec, ModelSpec
from vlbench.transfer import to_device
from vlbench.types import Choose, Generate, LogLikelihood, Request

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np
    import torch
    from PIL import Image

    from vlbench.adapter import LoadOptions
    from vlbench.models.batch import Padded
    from vlbench.models.tokenizer import Tokens
    from vlbench.types import Decoding

CAPABILITIES_OF = {
    "itc": ("embed_images", "embed_texts"),
    "itm": ("match",),
    "distill": ("embed_images", "embed_texts"),
    "vcr": ("choose",),
    "caption": ("generate", "loglikelihood"),
    "vqa": ("generate", "loglikelihood"),
    "answer": ("generate",),
}
"""What an objective teaches a model to answer."""
RANKED_TOGETHER = 64
"""Pairs that are padded to one length while candidates are ranked."""


def _claims(path: Path) -> bool:
    from vlbench.models.config import is_checkpoint

    return is_checkpoint(path)


@hookimpl
def vlbench_register_adapters() -> Iterable[AdapterSpec]:
    """Return the adapter."""
    description = "built-in models, as a checkpoint folder of vlbench pretrain or finetune"
    return [AdapterSpec("builtin", description, "vlbench.adapters.builtin:Builtin", _claims)]


@hookimpl
def vlbench_register_models() -> Iterable[ModelSpec]:
    """Return the bundled model."""
    description = "bundled model, trained on scenes; answers all five tasks"
    return [ModelSpec("vlbench-tiny", description, "builtin", "vlbench-tiny", trained_on=("scenes",))]


class Picture(NamedTuple):
    """``pixels``: uint8 (side, side, 3); ``size``: width and height before resizing, to which boxes refer."""

    pixels: np.ndarray
    size: tuple[int, int]


class Item(NamedTuple):
    """A prepared request: the texts that the model reads, about one picture or none."""

    picture: Picture | None
    texts: tuple[Tokens, ...]
    prefix: int = 0
    request: Request | None = None


class Builtin(Adapter):
    """Answers with what its checkpoint was trained for: embeddings, matching, choosing, writing.

    ``--model-arg compile=yes`` compiles encoders and fusion.
    """

    argument_names = ("compile",)
    batch_sizes = {"embed_texts": 256, "match": 256, "choose": 16, "generate": 64}

    @classmethod
    def folder(cls, options: LoadOptions) -> Path:
        """Return the checkpoint folder; raises ``ModelError`` where it is none."""
        from vlbench.models import CHECKPOINTS
        from vlbench.models.config import is_checkpoint

        for path in (CHECKPOINTS / options.checkpoint, Path(options.checkpoint)):
            if options.checkpoint and is_checkpoint(path):
                return path
        raise ModelError(
            f"{options.checkpoint or 'builtin:'} is not a checkpoint folder of a built-in model; "
            "vlbench pretrain makes one"
        )

    @classmethod
    def capabilities(cls, options: LoadOptions) -> frozenset[str]:
        """Return what the checkpoint's objectives taught it."""
        from vlbench.models.config import ModelConfig

        objectives = ModelConfig.read(cls.folder(options)).objectives
        return frozenset(name for objective in objectives for name in CAPABILITIES_OF.get(objective, ()))

    @classmethod
    def checkpoint_files(cls, options: LoadOptions) -> Sequence[Path]:
        """Return the files of the checkpoint folder."""
        return hub.stored_files(str(cls.folder(options)), None)

    def load(self) -> None:
        """Load weights, config and tokenizer."""
        import torch

        from vlbench.models.checkpoint import load_checkpoint

        checkpoint = load_checkpoint(self.folder(self.options))
        self.model = checkpoint.model.to(self.device, getattr(torch, self.dtype)).eval()
        if yes(self.options.arguments, "compile"):
            compile_parts(self.model.children(), self.device)
        self.trained_on = checkpoint.model.config.trained_on
        self._able = self.capabilities(self.options)
        self._tokenizer = checkpoint.tokenizer
        self._limit = checkpoint.model.config.max_length
        self._side = checkpoint.model.config.image_size
        self.logit_scale = float(checkpoint.model.scale().detach())

    def preprocessing(self) -> str:
        """Return the image transform and the tokenizer, as text."""
        from vlbench.models.pixels import DESCRIPTION

        return json.dumps([DESCRIPTION, self._side, self._limit, self._tokenizer.description])

    def prepare_image(self, image: Image.Image) -> Picture:
        """Squash to the model's square."""
        from vlbench.models.pixels import resize

        return Picture(resize(image, self._side), image.size)

    def prepare_text(self, text: str) -> Tokens:
        """Return ``[CLS] text [SEP]``."""
        from vlbench.models.tokenizer import single

        return single(self._tokenizer.encode(text), self._limit)

    def prepare(self, request: Request, images: tuple[Any, ...]) -> Any:
        """Tokenise, with tags that point to regions grounded in the picture."""
        if not isinstance(request, Choose | Generate | LogLikelihood):
            return super().prepare(request, images)
        if len(images) > 1:
            raise ValueError(f"built-in models look at one image a request, not at {len(images)}")
        picture = images[0] if images else None
        return self._item(request, picture)

    def _item(self, request: Choose | Generate | LogLikelihood, picture: Picture | None) -> Item:
        from vlbench.models.tokenizer import EOS, mark, pair, prompted, single

        regions = request.images[0].regions if request.images else ()
        size = picture.size if picture is not None else (1, 1)

        def encode(text: str) -> Tokens:
            return self._tokenizer.encode(text, regions, size)

        prompt = encode(request.prompt)
        if isinstance(request, Choose):
            return Item(picture, tuple(pair(prompt, encode(choice), self._limit) for choice in request.choices))
        head = prompted(prompt, self._limit // 2)
        if self._classifies(request):
            return Item(picture, (single(prompt, self._limit),), 0, request)
        if isinstance(request, Generate):
            return Item(picture, (head,), len(head.ids), request)
        tail = encode(request.continuation) + mark(EOS)
        return Item(picture, (head + tail.cut(self._limit - len(head.ids)),), len(head.ids), request)

    def _classifies(self, request: Request | None) -> bool:
        """Tell whether the answering head answers: a question, or whatever is asked of a model that cannot write."""
        if not isinstance(request, Generate) or not self.model.config.answers:
            return False
        return bool(request.prompt) or "loglikelihood" not in self._able

    def truncates(self, request: Request) -> bool:
        """Tell whether a text is longer than what the model reads."""
        if isinstance(request, Choose | Generate | LogLikelihood):
            return any(text.truncated for text in self._item(request, None).texts)
        return self.prepare_text(getattr(request, "text", "")).truncated

    def embed_images(self, images: Sequence[Picture]) -> torch.Tensor:
        """Return (n, embedding)."""
        embedded: torch.Tensor = self.model.embed_image(self._look(images, "embed_images")[0])
        return embedded

    def embed_texts(self, texts: Sequence[Tokens]) -> torch.Tensor:
        """Return (n, embedding)."""
        padded = self._pad(texts)
        embedded: torch.Tensor = self.model.embed_text(padded.ids, padded.lengths)
        return embedded

    def match(self, pairs: Sequence[tuple[Picture, Tokens]]) -> Sequence[float]:
        """Return n scores to rank by: the matching logit, and the scaled cosine with it."""
        image, owners = self._look([picture for picture, _ in pairs], "match")
        scores = [0.0] * len(pairs)
        # A batch holds the texts of a few images, short and long: in parts of like length little of it is padding.
        by_length = sorted(range(len(pairs)), key=lambda n: len(pairs[n][1].ids))
        for start in range(0, len(pairs), RANKED_TOGETHER):
            part = by_length[start : start + RANKED_TOGETHER]
            padded = self._pad([pairs[n][1] for n in part])
            ranked = self.model.rank(padded.ids, padded.lengths, image, owners[part])
            for n, score in zip(part, ranked.float().tolist(), strict=True):
                scores[n] = score
        return scores

    def choose(self, items: Sequence[Item]) -> Sequence[Sequence[float]]:
        """Return one logit a choice."""
        image, owners = self._look([item.picture for item in items], "choose")
        counts = [len(item.texts) for item in items]
        rows = owners.repeat_interleave(owners.new_tensor(counts))
        padded = self._pad([text for item in items for text in item.texts])
        boxes = padded.boxes.to(image.dtype)
        logits = self.model.choose(padded.ids, padded.lengths, image[rows], boxes).float()
        return [part.tolist() for part in logits.split(counts)]

    def generate(self, items: Sequence[Item]) -> Sequence[str]:
        """Write one text an item, or take the best of the model's answers; items that are decoded alike go together.

        A model with an answering head answers with it what has a prompt; without one it is a caption that is wanted.
        """
        from vlbench.models.generation import generate

        image, owners = self._look([item.picture for item in items], "generate")
        written: list[str] = [""] * len(items)
        classified = [n for n, item in enumerate(items) if self._classifies(item.request)]
        if classified:
            padded = self._pad([items[n].texts[0] for n in classified])
            logits = self.model.answer(padded.ids, padded.lengths, image[owners[classified]])
            for n, best in zip(classified, logits.argmax(dim=1).tolist(), strict=True):
                written[n] = self.model.config.answers[best]
        decodings: dict[Decoding, list[int]] = {}
        for n, item in enumerate(items):
            if isinstance(item.request, Generate) and not self._classifies(item.request):
                decodings.setdefault(item.request.decoding, []).append(n)
        for decoding, rows in decodings.items():
            padded = self._pad([items[n].texts[0] for n in rows])
            texts = generate(self.model, padded.ids, padded.lengths, image[owners[rows]], decoding)
            for n, tokens in zip(rows, texts, strict=True):
                written[n] = stopped(self._tokenizer.decode(tokens), decoding.stop)
        return written

    def loglikelihood(self, items: Sequence[Item]) -> Sequence[tuple[float, int]]:
        """Return the log-probability of each continuation with its end mark, and its number of tokens."""
        from vlbench.models.generation import loglikelihood

        image, owners = self._look([item.picture for item in items], "loglikelihood")
        padded = self._pad([item.texts[0] for item in items])
        prefixes = padded.lengths.new_tensor([item.prefix for item in items])
        totals = loglikelihood(self.model, padded.ids, padded.lengths, prefixes, image[owners])
        tokens = (padded.lengths - prefixes).tolist()
        return list(zip(totals.tolist(), tokens, strict=True))

    def _look(self, pictures: Sequence[Picture | None], capability: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the tokens of the distinct pictures, and for each picture which of them are its own.

        No picture at all (a likelihood without the image) is a grey one. Raises ``NotImplementedError`` where the
        model never learned ``capability``.
        """
        import numpy as np
        import torch

        from vlbench.models.pixels import normalise

        if capability not in self._able:
            raise NotImplementedError(f"{self.options.checkpoint} was not trained for {capability}")

        distinct = {id(picture): picture for picture in pictures}
        places = {key: n for n, key in enumerate(distinct)}
        grey = np.full((self._side, self._side, 3), GREY, dtype=np.uint8)
        stacked = np.stack([grey if picture is None else picture.pixels for picture in distinct.values()])
        pixels = to_device(normalise(torch.from_numpy(stacked)), self.device, self.dtype)
        image: torch.Tensor = self.model.encode_image(pixels)
        owners = torch.tensor([places[id(picture)] for picture in pictures], device=self.device)
        return image, owners

    def _pad(self, texts: Sequence[Tokens]) -> Padded:
        from vlbench.models.batch import Padded, pad

        padded = pad(texts)
        return Padded(*(tensor.to(self.device) for tensor in padded))
