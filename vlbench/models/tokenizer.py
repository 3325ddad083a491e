"""The tokenizer of built-in models: lower-case byte-level BPE, so that no text has an unknown token."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from vlbench.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from tokenizers import Tokenizer

    from vlbench.types import Region

FILE = "tokenizer.json"
SPECIAL = ("[PAD]", "[CLS]", "[BOS]", "[SEP]", "[EOS]", "[MASK]", "[REGION]")
PAD, CLS, BOS, SEP, EOS, MASK, REGION = range(len(SPECIAL))

_TAG = re.compile(r"\[(\w+)\]")
Box = tuple[float, float, float, float]
NOWHERE: Box = (0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Tokens:
    """``ids`` of a text, and for each the box that it points to as fractions of the image (zeros: none)."""

    ids: tuple[int, ...]
    boxes: tuple[Box, ...]
    truncated: bool = False

    def __add__(self, other: Tokens) -> Tokens:
        """Join two texts."""
        return Tokens(self.ids + other.ids, self.boxes + other.boxes, self.truncated or other.truncated)

    def cut(self, limit: int) -> Tokens:
        """Return at most ``limit`` tokens from the beginning; what was cut is remembered."""
        limit = max(0, limit)
        return self if len(self.ids) <= limit else Tokens(self.ids[:limit], self.boxes[:limit], truncated=True)


def mark(token: int) -> Tokens:
    """Return a special token as a text."""
    return Tokens((token,), (NOWHERE,))


class TextTokenizer:
    """Turns texts into ids and back. Equal texts always give equal ids; safe to use from several threads."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        """Wrap a ``tokenizers.Tokenizer`` whose first tokens are ``SPECIAL``; raises ``ModelError`` for any other."""
        if [tokenizer.token_to_id(name) for name in SPECIAL] != list(range(len(SPECIAL))):
            raise ModelError(f"{FILE} does not begin with the special tokens {', '.join(SPECIAL)}")
        self._tokenizer = tokenizer
        # A user's text that holds "[SEP]" is text.
        self._tokenizer.encode_special_tokens = True

    @classmethod
    def train(cls, texts: Iterable[str], vocabulary: int) -> TextTokenizer:
        """Learn at most ``vocabulary`` tokens (Sennrich et al. 2016) from ``texts``."""
        from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

        tokenizer = Tokenizer(models.BPE())
        tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
        tokenizer.decoder = decoders.ByteLevel()
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        trainer = trainers.BpeTrainer(
            vocab_size=vocabulary, special_tokens=list(SPECIAL), initial_alphabet=alphabet, show_progress=False
        )
        tokenizer.train_from_iterator(texts, trainer)
        return cls(tokenizer)

    @classmethod
    def read(cls, folder: Path) -> TextTokenizer:
        """Read ``tokenizer.json``; raises ``ModelError`` where that fails."""
        from tokenizers import Tokenizer

        path = folder / FILE
        if not path.is_file():
            raise ModelError(f"{path} is missing; a checkpoint is config.json, model.safetensors and {FILE}")
        try:
            return cls(Tokenizer.from_file(str(path)))
        except Exception as error:  # the library raises bare Exception for a malformed file
            raise ModelError(f"{path} cannot be read ({error})") from error

    def save(self, folder: Path) -> None:
        """Write ``tokenizer.json``."""
        self._tokenizer.save(str(folder / FILE))

    @cached_property
    def description(self) -> str:
        """The whole tokenizer as text, for fingerprints."""
        return str(self._tokenizer.to_str())

    def __len__(self) -> int:
        """Return the number of tokens."""
        return int(self._tokenizer.get_vocab_size())

    def encode(self, text: str, regions: Sequence[Region] = (), size: tuple[int, int] = (1, 1)) -> Tokens:
        """Return the tokens of ``text``, without special ones around it.

        A ``[label]`` of one of ``regions`` becomes one token that points to the box, which is given in pixels of an
        image of ``size`` (width, height); any other text in brackets stays as it is.
        """
        boxes = {region.label: _fractions(region, size) for region in regions}
        tokens = Tokens((), ())
        start = 0
        for found in _TAG.finditer(text):
            if found[1] in boxes:
                tokens += self._plain(text[start : found.start()])
                tokens += Tokens((REGION,), (boxes[found[1]],))
                start = found.end()
        return tokens + self._plain(text[start:])

    def _plain(self, text: str) -> Tokens:
        stripped = text.strip()
        ids = tuple(self._tokenizer.encode(stripped, add_special_tokens=False).ids) if stripped else ()
        return Tokens(ids, (NOWHERE,) * len(ids))

    def token(self, number: int) -> str:
        """Return token ``number`` as the tokenizer writes it, in byte letters."""
        return str(self._tokenizer.id_to_token(number))

    def pieces(self, token: str) -> list[int]:
        """Return the ids by which this tokenizer writes a ``token`` of another one."""
        from tokenizers import decoders, models

        own = self._tokenizer.token_to_id(token)
        if own is not None:
            return [int(own)]
        if isinstance(self._tokenizer.model, models.BPE):
            return [piece.id for piece in self._tokenizer.model.tokenize(token)]
        # Words of a text tower are not in byte letters. A blank, which it does not have, parts texts as its mark does.
        return list(self._plain(decoders.ByteLevel().decode([token])).ids) or [SEP]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ``ids``, special tokens left out."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=True)).strip()


def _fractions(region: Region, size: tuple[int, int]) -> Box:
    width, height = size
    x1, y1, x2, y2 = region.box
    box = (x1 / width, y1 / height, x2 / width, y2 / height)
    left, top, right, bottom = (min(1.0, max(0.0, value)) for value in box)
    # A box without extent would point to nothing.
    return left, top, max(right, left + 1e-3), max(bottom, top + 1e-3)


def single(text: Tokens, limit: int) -> Tokens:
    """Return ``[CLS] text [SEP]`` of at most ``limit`` tokens; what is cut is the text's end."""
    return mark(CLS) + text.cut(limit - 2) + mark(SEP)


def pair(first: Tokens, second: Tokens, limit: int) -> Tokens:
    """Return ``[CLS] first [SEP] second [SEP]`` of at most ``limit`` tokens; ``first`` gives way to ``second``."""
    second = second.cut(limit - 3)
    return mark(CLS) + first.cut(limit - 3 - len(second.ids)) + mark(SEP) + second + mark(SEP)


def prompted(prompt: Tokens, limit: int) -> Tokens:
    """Return ``[BOS] prompt [SEP]``: what the decoder continues; at most ``limit`` tokens."""
    return mark(BOS) + prompt.cut(limit - 2) + mark(SEP)
