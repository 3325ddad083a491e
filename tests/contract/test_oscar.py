"""Oscar's layout of weights and features is read as published, and its attention is that of the authors."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from tests.support.oscar import ANSWERS, HEADS, LAYERS, NAMES, SEEN, TAGS, WIDTH, checkpoint, features
from vlbench.adapter import LoadOptions
from vlbench.adapters.oscar import Oscar
from vlbench.adapters.oscar_features import RegionFolder, read_answers
from vlbench.errors import DataError, ModelError, UsageError
from vlbench.models.search import Texts, search
from vlbench.testing import AdapterContract
from vlbench.testing.adapters import answer, numbers
from vlbench.testing.samples import TEXTS, pictures
from vlbench.types import Decoding, Generate, Match

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("oscar")
    features(root / "features")
    made = {head: checkpoint(root / head, head) for head in ("linear", "mlp", "questions", "caption")}
    return {**made, "features": root / "features"}


def _adapter(folders: Mapping[str, Path], head: str, **arguments: str) -> Oscar:
    if head == "questions":
        arguments = {"answers": str(folders[head] / "trainval_ans2label.pkl"), **arguments}
    return Oscar(LoadOptions(str(folders[head]), arguments={"features": str(folders["features"]), **arguments}))


class _Contract(AdapterContract):
    head: str

    @pytest.fixture(autouse=True)
    def _made(self, folders: dict[str, Path]) -> None:
        type(self).folders = folders  # type: ignore[attr-defined]

    def make_adapter(self) -> Oscar:
        return _adapter(type(self).folders, self.head)  # type: ignore[attr-defined]


class TestRetrieval(_Contract):
    head = "mlp"


class TestQuestions(_Contract):
    head = "questions"


class TestCaptions(_Contract):
    head = "caption"


class _Reference:
    """BERT over text, tags and regions of one image, written out in plain torch by the keys of the checkpoint."""

    def __init__(self, folder: Path) -> None:
        self.state = torch.load(folder / "pytorch_model.bin", weights_only=True)

    def linear(self, x: torch.Tensor, name: str) -> torch.Tensor:
        return functional.linear(x, self.state[f"{name}.weight"], self.state[f"{name}.bias"])

    def norm(self, x: torch.Tensor, name: str) -> torch.Tensor:
        return functional.layer_norm(x, (WIDTH,), self.state[f"{name}.weight"], self.state[f"{name}.bias"], 1e-12)

    def hidden(self, text: list[int], tags: list[int], start: int, features: Any, caption: bool) -> torch.Tensor:
        places = [*range(len(text)), *range(start, start + len(tags))]
        embedded = self.state["bert.embeddings.word_embeddings.weight"][[*text, *tags]]
        embedded = embedded + self.state["bert.embeddings.position_embeddings.weight"][places]
        kinds = [0] * len(text) + [1] * len(tags)
        embedded = embedded + self.state["bert.embeddings.token_type_embeddings.weight"][kinds]
        embedded = self.norm(embedded, "bert.embeddings.LayerNorm")
        regions = self.norm(self.linear(torch.from_numpy(features), "bert.img_embedding"), "bert.LayerNorm")
        x = torch.cat((embedded, regions))
        hides = torch.zeros(len(x), len(x))
        for i in range(len(x)):
            for j in range(len(text)):
                if caption and (i >= len(text) or j > i):
                    hides[i, j] = -torch.inf
        for n in range(LAYERS):
            layer = f"bert.encoder.layer.{n}"
            query, key, value = (
                self.linear(x, f"{layer}.attention.self.{part}").view(len(x), HEADS, -1).transpose(0, 1)
                for part in ("query", "key", "value")
            )
            weights = (query @ key.transpose(1, 2) / (WIDTH // HEADS) ** 0.5 + hides).softmax(dim=-1)
            mixed = (weights @ value).transpose(0, 1).reshape(len(x), WIDTH)
            x = self.norm(
                x + self.linear(mixed, f"{layer}.attention.output.dense"), f"{layer}.attention.output.LayerNorm"
            )
            inner = functional.gelu(self.linear(x, f"{layer}.intermediate.dense"))
            x = self.norm(x + self.linear(inner, f"{layer}.output.dense"), f"{layer}.output.LayerNorm")
        return x

    def pooled(self, text: list[int], tags: list[int], features: Any) -> torch.Tensor:
        hidden = self.hidden(text, tags, len(text), features, False)
        return self.linear(hidden[0], "bert.pooler.dense").tanh()

    def next_word(self, written: list[int], tags: list[int], features: Any, tokenizer: Any) -> torch.Tensor:
        """Return the log-probabilities of the word behind those written."""
        text = [tokenizer.cls_token_id, *written, tokenizer.mask_token_id]
        last = self.hidden(text, tags, 40, features, True)[len(text) - 1]
        x = functional.gelu(self.linear(last, "cls.predictions.transform.dense"))
        x = self.norm(x, "cls.predictions.transform.LayerNorm")
        scores = self.state["bert.embeddings.word_embeddings.weight"] @ x + self.state["cls.predictions.bias"]
        return scores.log_softmax(dim=-1)


def _read(folders: Mapping[str, Path], name: str) -> tuple[list[int], Any, Any]:
    from transformers import BertTokenizer

    tokenizer = BertTokenizer.from_pretrained(folders["linear"])
    tags = tokenizer(TAGS[name])["input_ids"][1:] if TAGS[name] else []
    return tags, RegionFolder(folders["features"], SEEN).of(f"{name}.png").features, tokenizer


@pytest.mark.parametrize("head", ["linear", "mlp"])
def test_the_score_is_that_of_the_formula(folders: dict[str, Path], tmp_path: Path, head: str) -> None:
    requests = [Match(image, text) for image, text in zip(pictures(tmp_path), TEXTS, strict=True)]
    reference = _Reference(folders[head])
    for name, request, response in zip(NAMES, requests, answer(_adapter(folders, head), requests), strict=True):
        tags, features, tokenizer = _read(folders, name)
        pooled = reference.pooled(tokenizer(request.text)["input_ids"], tags, features)
        if head == "mlp":
            pooled = reference.linear(pooled, "classifier.0").relu()
        no, yes = reference.linear(pooled, "classifier" if head == "linear" else "classifier.2").tolist()
        assert float(numbers(response)[0]) == pytest.approx(yes - no, abs=1e-5)


def test_a_caption_is_written_word_by_word_behind_a_mask(folders: dict[str, Path], tmp_path: Path) -> None:
    requests = [Generate((image,), "", Decoding(max_new_tokens=6)) for image in pictures(tmp_path)]
    reference = _Reference(folders["caption"])
    captions = []
    for name, response in zip(NAMES, answer(_adapter(folders, "caption"), requests), strict=True):
        tags, features, tokenizer = _read(folders, name)
        written: list[int] = []
        while len(written) < 6 and tokenizer.sep_token_id not in written:
            written.append(int(reference.next_word(written, tags, features, tokenizer).argmax()))
        captions.append(numbers(response))
        assert captions[-1] == tokenizer.decode(written, skip_special_tokens=True)
    assert len(set(map(str, captions))) > 1


def test_beams_weigh_captions_by_the_formula(folders: dict[str, Path], tmp_path: Path) -> None:
    decoding, reference, captions = Decoding(5, num_beams=3), _Reference(folders["caption"]), set()
    requests = [Generate((image,), "", decoding) for image in pictures(tmp_path)]
    for name, response in zip(NAMES, answer(_adapter(folders, "caption"), requests), strict=True):
        tags, features, tokenizer = _read(folders, name)

        def next_logits(texts: Texts, about: Any = (tags, features, tokenizer)) -> torch.Tensor:
            rows = zip(texts.ids.tolist(), texts.lengths.tolist(), strict=True)
            return torch.stack([reference.next_word(row[1:length], *about) for row, length in rows])

        start = torch.tensor([[tokenizer.cls_token_id]])
        (written,) = search(next_logits, start, torch.tensor([1]), tokenizer.sep_token_id, decoding, 5)
        assert numbers(response) == tokenizer.decode(written, skip_special_tokens=True)
        captions.add(numbers(response))
    assert len(captions) > 1


def test_beams_and_sampling_do_not_depend_on_the_batch(folders: dict[str, Path], tmp_path: Path) -> None:
    adapter, images = _adapter(folders, "caption"), pictures(tmp_path)
    decodings = (Decoding(5, num_beams=3, length_penalty=0.0), Decoding(5, temperature=0.8, top_p=0.9, seed=5))
    requests = [Generate((image,), text, made) for image in images for text in ("", "a red") for made in decodings]
    together = [numbers(response) for response in answer(adapter, requests)]
    assert together == [numbers(answer(adapter, [request])[0]) for request in requests]


def test_the_best_answer_is_that_of_the_formula(folders: dict[str, Path], tmp_path: Path) -> None:
    requests = [Generate((image,), text, Decoding()) for text in TEXTS for image in pictures(tmp_path)]
    reference, seen = _Reference(folders["questions"]), set()
    for name, request, response in zip(
        NAMES * 4, requests, answer(_adapter(folders, "questions"), requests), strict=True
    ):
        tags, features, tokenizer = _read(folders, name)
        pooled = reference.pooled(tokenizer(request.prompt)["input_ids"], tags, features)
        assert numbers(response) == ANSWERS[int(reference.linear(pooled, "classifier").argmax())]
        seen.add(numbers(response))
    assert len(seen) > 1


def test_a_long_question_is_cut_and_counted(folders: dict[str, Path], tmp_path: Path) -> None:
    image = pictures(tmp_path)[0]
    requests = [Generate((image,), "red star " * count, Decoding()) for count in (63, 64)]
    assert [response.truncated for response in answer(_adapter(folders, "questions"), requests)] == [False, True]


def test_answers_are_named_by_the_order_of_the_file(tmp_path: Path) -> None:
    """The authors number the outputs by the order of the entries, whatever their labels are."""
    path = tmp_path / "answers.pkl"
    path.write_bytes(pickle.dumps({"net": 7, "pitcher": 2}, protocol=2))
    assert read_answers(path) == ["net", "pitcher"]
    (tmp_path / "answers.json").write_text('["a", "b"]')
    assert read_answers(tmp_path / "answers.json") == ["a", "b"]


@pytest.mark.parametrize("form", ["caption", "retrieval"])
def test_features_are_found_by_the_number_of_the_file(tmp_path: Path, form: str) -> None:
    made = features(tmp_path, form, ("42", "7", "flickr_a"))
    folder = RegionFolder(tmp_path, SEEN)
    assert np.array_equal(folder.of("val2014/COCO_val2014_000000000042.jpg").features, made["42"])
    assert np.array_equal(folder.of("flickr_a.jpg").features, made["flickr_a"])
    for name in ("features.lineidx", "imageid2idx.json"):
        (tmp_path / name).unlink()
    assert np.array_equal(RegionFolder(tmp_path, SEEN).of("7.jpg").features, made["7"])


def test_what_is_wrong_with_features_is_one_line(tmp_path: Path) -> None:
    features(tmp_path)
    with pytest.raises(DataError, match=r"has no features of image a/b_12.jpg \(keys tried: b_12, 12\)"):
        RegionFolder(tmp_path, SEEN).of("a/b_12.jpg")
    with pytest.raises(DataError, match="the features of red are not n x 11"):
        RegionFolder(tmp_path, 11).of("red.png")
    (tmp_path / "imageid2idx.json").write_text('{"red": 1}')
    with pytest.raises(DataError, match="the line of red is of 'green'; its index belongs to another file"):
        RegionFolder(tmp_path, SEEN).of("red.png")
    (tmp_path / "imageid2idx.json").write_text('{"red": 9}')
    with pytest.raises(ModelError, match="cannot read the index of .*features.tsv"):
        RegionFolder(tmp_path, SEEN)
    (tmp_path / "features.tsv").unlink()
    with pytest.raises(ModelError, match=r"has 0 files \*feature\*.tsv; there must be one"):
        RegionFolder(tmp_path, SEEN)


class _Code:
    def __reduce__(self) -> Any:
        return print, ("code ran",)


def test_what_is_wrong_with_a_checkpoint_is_one_line(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UsageError, match="--model-arg features=FOLDER"):
        Oscar(LoadOptions(checkpoint=str(folders["linear"])))
    folder = checkpoint(tmp_path / "model", "linear")
    weights = folder / "pytorch_model.bin"
    state = torch.load(weights, weights_only=True)
    options = LoadOptions(checkpoint=str(folder), arguments={"features": str(folders["features"])})
    for change, message in (
        ({"classifier.weight": torch.ones(1, WIDTH), "classifier.bias": torch.ones(1)}, "has neither a retrieval head"),
        ({"bert.pooler.dense.bias": torch.ones(3)}, "does not make an Oscar model"),
        ({"bert.img_embedding.weight": _Code()}, "is not a file of weights alone"),
    ):
        torch.save({**state, **change}, weights)
        with pytest.raises(ModelError, match=message):
            Oscar(options)
    assert "code ran" not in capsys.readouterr().out


def test_what_is_wrong_with_answers_is_one_line(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "answers.pkl"
    with pytest.raises(UsageError, match="answers questions by number, 5 of them; name the file of their answers"):
        Oscar(LoadOptions(str(folders["questions"]), arguments={"features": str(folders["features"])}))
    with pytest.raises(UsageError, match="answers is for a question head"):
        _adapter(folders, "mlp", answers=str(path))
    with pytest.raises(ModelError, match="cannot read --model-arg answers=.*: No such file"):
        _adapter(folders, "questions", answers=str(path))
    for content, message in (
        (pickle.dumps({"yes": 0}), "has 1 answers, and .* tells 5 apart"),
        (pickle.dumps([_Code()]), "is not a file of answers .it asks for builtins.print"),
        (pickle.dumps({0: "yes"}), "is neither answers with their numbers nor a list"),
        (b"yes no", "is not a file of answers"),
    ):
        path.write_bytes(content)
        with pytest.raises(ModelError, match=message):
            _adapter(folders, "questions", answers=str(path))
    assert "code ran" not in capsys.readouterr().out
