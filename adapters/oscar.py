"""Adapter for Oscar and VinVL: BERT over a text, object tags and precomputed features of image regions."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from vlbench import hub
from vlbench.adapter import Adapter
from vlbench.adapters.compiling import compile_parts
from vlbench.adapters.oscar_features import RegionFolder, Regions, read_answers
from vlbench.adapters.pretrained import config_of, described, keep_only, marked, padded, stopped, yes
from vlbench.adapters.written import by_decoding
from vlbench.errors import ModelError, UsageError
from vlbench.hookspecs import hookimpl
from vlbench.specs import AdapterSpec
from vlbench.types import Generate, Match, Request

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy as np
    import torch
    from PIL import Image

    from vlbench.adapter import LoadOptions
    from vlbench.models.search import Texts

WEIGHTS = "pytorch_model.bin"
TEXT_LENGTH = 70
"""Word pieces of text and tags together in the authors' retrieval (``max_seq_length``)."""
QUESTION_LENGTH = 128
"""The same of a question."""
CAPTION_LENGTH = 40
"""Position at which the tags of a caption start in the authors' training (``max_seq_a_length``)."""
CAPTION_TAGS = 50
"""Word pieces of tags beside a caption: 70 less the 20 that the authors generate (``max_gen_length``)."""
# Of the pretraining checkpoints; no task here has a use for it.
UNUSED = ("cls.seq_relationship.", "bert.embeddings.position_ids")


@hookimpl
def vlbench_register_adapters() -> Iterable[AdapterSpec]:
    """Return the adapter."""
    description = "Oscar and VinVL over region features: retrieval, captions, questions; needs features=FOLDER"
    return [
        AdapterSpec("oscar", description, "vlbench.adapters.oscar:Oscar", lambda p: "img_feature_dim" in config_of(p))
    ]


class Seen(NamedTuple):
    """A prepared request: ids of ``[CLS] text [SEP]`` and ``tags [SEP]``, features (n, d).

    The text of a caption is ``[CLS] prompt``.
    """

    ids: list[int]
    tags: list[int]
    features: np.ndarray
    request: Request


class Oscar(Adapter):
    """A retrieval checkpoint matches, a captioning one writes, one for questions answers from a list.

    Which it is, its weights tell. Arguments: ``features``, the folder of ``RegionFolder``; ``regions``, how many of an
    image are looked at; ``answers``, the file of ``read_answers`` that names the outputs of a question head;
    ``compile=yes``.
    """

    argument_names = ("features", "regions", "answers", "compile")
    cacheable = False  # regions are found by an image's name, which is no part of a request's content

    @classmethod
    def capabilities(cls, options: LoadOptions) -> frozenset[str]:
        """Return what the checkpoint's head can do; raises ``ModelError`` for another head."""
        return _head(_state(_folder(options, WEIGHTS)), options.checkpoint)

    @classmethod
    def checkpoint_files(cls, options: LoadOptions) -> Sequence[Path]:
        """Return the files of the folder, or of the repository as far as they are in the cache."""
        return hub.stored_files(options.checkpoint, options.revision)

    def load(self) -> None:
        """Load weights, vocabulary and the index of the features; raises ``ModelError`` and ``UsageError``."""
        import torch

        given = self.options.arguments.get("features")
        if not given:
            raise UsageError(
                "Oscar sees precomputed features of regions; name their folder: --model-arg features=FOLDER"
            )
        limit = self.options.arguments.get("regions", "50")
        if not limit.isdecimal() or int(limit) < 1:
            raise UsageError(f"--model-arg regions={limit} is not a number of regions")
        self._most = int(limit)
        state = _state(_folder(self.options, WEIGHTS))
        can = _head(state, self.options.checkpoint)
        self._answers = self._named(state)
        self._regions = RegionFolder(Path(given), state["bert.img_embedding.weight"].shape[1])
        self.known_images = self._regions.some(4)
        config = config_of(_folder(self.options, "config.json"))
        self.model = _network(config, state, self.options.checkpoint).to(self.device, getattr(torch, self.dtype)).eval()
        if yes(self.options.arguments, "compile"):
            heads = [part for name, part in self.model.named_children() if name != "bert"]
            compile_parts([*self.model.bert.children(), *heads], self.device)
        self._tokenizer = self._vocabulary()
        keep_only(self, can)

    def _named(self, state: Mapping[str, torch.Tensor]) -> list[str]:
        """Return the answers that the outputs of a question head mean, none for another head."""
        given, outputs = self.options.arguments.get("answers"), _outputs(state)
        if outputs in (0, 2):
            if given:
                raise UsageError(f"--model-arg answers is for a question head; {self.options.checkpoint} has another")
            return []
        if not given:
            raise UsageError(
                f"{self.options.checkpoint} answers questions by number, {outputs} of them; name the file of their "
                "answers: --model-arg answers=trainval_ans2label.pkl"
            )
        answers = read_answers(Path(given))
        if len(answers) != outputs:
            raise ModelError(f"{given} has {len(answers)} answers, and {self.options.checkpoint} tells {outputs} apart")
        return answers

    def _vocabulary(self) -> Any:
        from transformers import BertTokenizer

        try:
            with hub.no_long_wait():
                kind: Any = BertTokenizer  # its annotations refuse the None that stands for the newest revision
                return kind.from_pretrained(self.options.checkpoint, revision=self.options.revision)
        except (OSError, ValueError, TypeError) as error:
            raise ModelError(
                f"cannot read the vocabulary of {self.options.checkpoint}: {hub.first_line(error)}"
            ) from error

    def preprocessing(self) -> str:
        """Return the vocabulary, the files of features, the names of answers and the lengths, as text."""
        lengths = [self._most, TEXT_LENGTH, QUESTION_LENGTH, CAPTION_LENGTH]
        return described(self._tokenizer, self._regions.describe(), self._answers, lengths)

    def prepare_image(self, image: Image.Image) -> None:
        """Return nothing: the model sees regions, which are found by the image's name."""

    def prepare(self, request: Request, images: tuple[Any, ...]) -> Any:
        """Read the regions and tokenise text and tags."""
        if len(request.image_refs) != 1:
            raise ValueError(f"Oscar looks at one image a request, not at {len(request.image_refs)}")
        (image,) = request.image_refs
        if image.edits:
            raise ValueError("the features are those of the image as it was, and this one was edited")
        seen: Regions = self._regions.of(image.name)
        features = seen.features[: self._most]
        if isinstance(request, Match):
            return self._pair(request.text, TEXT_LENGTH, seen.tags, features, request)
        assert isinstance(request, Generate)
        if self._answers:
            return self._pair(request.prompt, QUESTION_LENGTH, seen.tags, features, request)
        text = marked(self._tokenizer, request.prompt, CAPTION_LENGTH // 2)[0][:-1]
        return Seen(text, self._tags(seen.tags, CAPTION_TAGS), features, request)

    def _pair(self, text: str, length: int, tags: str, features: np.ndarray, request: Request) -> Seen:
        """Return a text with as many of the tags as ``length`` leaves room for."""
        ids = marked(self._tokenizer, text, length)[0]
        return Seen(ids, self._tags(tags, length - len(ids)), features, request)

    def _tags(self, tags: str, room: int) -> list[int]:
        return marked(self._tokenizer, tags, room + 1)[0][1:] if tags and room > 0 else []

    def truncates(self, request: Request) -> bool:
        """Tell whether the text is longer than what the model reads."""
        if isinstance(request, Generate):
            length = QUESTION_LENGTH if self._answers else CAPTION_LENGTH // 2
            return marked(self._tokenizer, request.prompt, length)[1]
        return isinstance(request, Match) and marked(self._tokenizer, request.text, TEXT_LENGTH)[1]

    def match(self, pairs: Sequence[Any]) -> Sequence[float]:
        """Return n logits that text and image belong together: "match" less "no match" of the retrieval head."""
        logits = self._classified(pairs)
        scores: list[float] = (logits[:, 1] - logits[:, 0]).tolist()
        return scores

    def generate(self, items: Sequence[Seen]) -> Sequence[str]:
        """Write captions, or return the likeliest answer to each question, for which a ``Decoding`` decides nothing."""
        if self._answers:
            return [self._answers[n] for n in self._classified(items).argmax(dim=1).tolist()]
        return by_decoding(items, self._write)

    def _classified(self, items: Sequence[Seen]) -> torch.Tensor:
        """Return float32 (n, outputs of the head)."""
        hidden = self._encode([item.ids for item in items], items, caption=False)
        logits: torch.Tensor = self.model.classifier(self.model.bert.pooler(hidden)).float()
        return logits

    def _write(self, items: Sequence[Seen]) -> list[str]:
        """Write word by word: the one at a ``[MASK]`` behind those before it, until ``[SEP]``."""
        import torch

        from vlbench.models.search import search

        words, request = self._tokenizer, items[0].request
        assert isinstance(request, Generate)

        def next_logits(texts: Texts) -> torch.Tensor:
            rows = zip(texts.ids.tolist(), texts.lengths.tolist(), strict=True)
            masked = [[*row[:length], words.mask_token_id] for row, length in rows]
            hidden = self._encode(masked, [items[n] for n in texts.owners.tolist()], caption=True)
            logits: torch.Tensor = self.model.cls(hidden[torch.arange(len(masked)), texts.lengths])
            return logits

        prompts = torch.tensor([item.ids for item in items], device=self.device)
        lengths = torch.full_like(prompts[:, 0], prompts.shape[1])
        steps = min(request.decoding.max_new_tokens, CAPTION_LENGTH - prompts.shape[1] - 1)
        written = search(next_logits, prompts, lengths, words.sep_token_id, request.decoding, steps)
        texts = words.batch_decode(written, skip_special_tokens=True)
        return [stopped(text, request.decoding.stop) for text in texts]

    def _encode(self, texts: Sequence[list[int]], items: Sequence[Seen], *, caption: bool) -> torch.Tensor:
        """Return hidden states (n, places, width): of the padded texts, then the padded tags, then the regions."""
        import torch

        bert, dtype = self.model.bert, getattr(torch, self.dtype)
        ids, read = padded(texts, self._tokenizer.pad_token_id)
        tags, named = padded([item.tags for item in items], self._tokenizer.pad_token_id)
        longest = max(len(item.features) for item in items)
        features = torch.zeros(len(items), longest, items[0].features.shape[1])
        seen = torch.zeros(len(items), longest, dtype=torch.long)
        for n, item in enumerate(items):
            features[n, : len(item.features)] = torch.from_numpy(item.features)
            seen[n, : len(item.features)] = 1
        starts = torch.tensor([CAPTION_LENGTH if caption else len(text) for text in texts])
        places = torch.cat(
            (torch.arange(ids.shape[1]).expand(ids.shape), starts[:, None] + torch.arange(tags.shape[1])), dim=1
        )
        kinds = torch.cat((torch.zeros_like(ids), torch.ones_like(tags)), dim=1)
        # A tag's padding may count past the last position; nothing looks at it.
        places = places.clamp(max=int(bert.embeddings.position_embeddings.num_embeddings) - 1)
        text = bert.embeddings(
            input_ids=torch.cat((ids, tags), dim=1).to(self.device),
            token_type_ids=kinds.to(self.device),
            position_ids=places.to(self.device),
        )
        image = bert.img_embedding(features.to(self.device, dtype))
        if hasattr(bert, "LayerNorm"):
            image = bert.LayerNorm(image)
        allowed = _attention(torch.cat((read, named, seen), dim=1), ids.shape[1], caption=caption).to(self.device)
        mask = torch.zeros(allowed.shape, dtype=dtype, device=self.device).masked_fill(~allowed, torch.finfo(dtype).min)
        hidden: torch.Tensor = bert.encoder(torch.cat((text, image), dim=1), mask[:, None]).last_hidden_state
        return hidden


def _attention(valid: torch.Tensor, words: int, *, caption: bool) -> torch.Tensor:
    """Return bool (n, from, to): all but padding; a caption's words see none after them, tags and regions see none."""
    import torch

    allowed = valid.bool()[:, None, :].repeat(1, valid.shape[1], 1)
    if caption:
        allowed[:, :words, :words] &= torch.ones(words, words).tril().bool()
        allowed[:, words:, :words] = False
    return allowed


def _folder(options: LoadOptions, name: str) -> Path:
    """Return the folder that holds the file ``name`` of the checkpoint, of a repository fetched or from the cache."""
    if hub.is_repository(options.checkpoint) and not Path(options.checkpoint).exists():
        return hub.config_folder(options.checkpoint, options.revision, name)
    return Path(options.checkpoint)


def _state(folder: Path) -> Mapping[str, torch.Tensor]:
    """Return the weights of a checkpoint without running code in them; raises ``ModelError``."""
    import torch

    path = folder / WEIGHTS
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror or error}") from error
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise ModelError(f"{path} is not a file of weights alone: {str(error).splitlines()[0][:200]}") from error
    if not isinstance(state, dict) or "bert.img_embedding.weight" not in state:
        raise ModelError(f"{path} is not a checkpoint of Oscar (it lacks bert.img_embedding.weight)")
    return state


def _classifier(state: Mapping[str, torch.Tensor]) -> list[str]:
    return sorted(name for name in state if name.startswith("classifier."))


def _outputs(state: Mapping[str, torch.Tensor]) -> int:
    """Return into how many classes the head puts what it sees; 0 where there is no classifier."""
    return ([0] + [len(state[name]) for name in _classifier(state) if name.endswith("bias")])[-1]


def _head(state: Mapping[str, torch.Tensor], checkpoint: str) -> frozenset[str]:
    """Return what the head among the weights can do; raises ``ModelError`` where there is none.

    Two outputs are "no match" and "match"; more are answers, which a question head writes whole and cannot judge.
    """
    if _outputs(state) == 2:
        return frozenset({"match"})
    if _outputs(state) > 2 or any(name.startswith("cls.predictions.") for name in state):
        return frozenset({"generate"})
    raise ModelError(f"{checkpoint} has neither a retrieval head nor one for captions or questions")


def _network(config: Mapping[str, Any], state: Mapping[str, torch.Tensor], checkpoint: str) -> torch.nn.Module:
    """Build the model whose parameters bear the checkpoint's names, and fill it; raises ``ModelError``."""
    from torch import nn
    from transformers import BertConfig
    from transformers.models.bert import modeling_bert

    parts: Any = modeling_bert
    settings = {name: value for name, value in config.items() if name in BertConfig().to_dict()}
    bert_config = BertConfig(**settings)
    bert_config._attn_implementation = "sdpa"
    width = bert_config.hidden_size
    model, bert = nn.Module(), nn.Module()
    model.bert = bert
    bert.embeddings = parts.BertEmbeddings(bert_config)
    bert.encoder = parts.BertEncoder(bert_config)
    bert.pooler = parts.BertPooler(bert_config)
    bert.img_embedding = nn.Linear(state["bert.img_embedding.weight"].shape[1], width)
    if "bert.LayerNorm.weight" in state:
        bert.LayerNorm = nn.LayerNorm(width, eps=float(config.get("img_layer_norm_eps", 1e-12)))
    filled = {name: tensor for name, tensor in state.items() if not name.startswith(UNUSED)}
    if "classifier.weight" in state:
        model.classifier = nn.Linear(width, len(state["classifier.bias"]))
    elif _classifier(state):
        inner = len(state["classifier.0.bias"])
        model.classifier = nn.Sequential(
            nn.Linear(width, inner), nn.ReLU(), nn.Linear(inner, len(state["classifier.2.bias"]))
        )
    else:
        model.cls = parts.BertOnlyMLMHead(bert_config)
        # The authors tie the decoder to the words and keep its bias beside it; the library has it in the decoder.
        filled["cls.predictions.decoder.weight"] = state["bert.embeddings.word_embeddings.weight"]
        filled["cls.predictions.decoder.bias"] = state["cls.predictions.bias"]
    try:
        model.load_state_dict(filled)
    except RuntimeError as error:
        raise ModelError(f"{checkpoint} does not make an Oscar model: {' '.join(str(error).split())[:200]}") from error
    return model
