"""Captioning, from requests and from result files to the official metrics."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import pytest

from tests.support import layouts
from vlbench.data.source import DataRoot
from vlbench.errors import DataError, UnsupportedTask, UsageError
from vlbench.metrics.captions import METRICS
from vlbench.metrics.document_frequencies import DocumentFrequencies
from vlbench.metrics.ptb import tokenize
from vlbench.runner.manifest import signature
from vlbench.tasks.captioning import CocoCaption, NoCaps
from vlbench.testing import TaskContract
from vlbench.testing.tasks import EVERYTHING, drive
from vlbench.types import Decoding, Failure, Generate, Generated, Request, Response

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class TestCocoCaptionContract(TaskContract):
    @pytest.fixture
    def task(self) -> CocoCaption:
        return CocoCaption({"meteor": "off"})

    @pytest.fixture
    def root(self, tmp_path: Path) -> DataRoot:
        layouts.coco(tmp_path / "coco")
        return DataRoot(tmp_path)


class TestCoco2017CaptionContract(TestCocoCaptionContract):
    @pytest.fixture
    def root(self, tmp_path: Path) -> DataRoot:
        layouts.coco2017(tmp_path / "coco")
        return DataRoot(tmp_path)

    def test_the_images_are_found(self, task: CocoCaption, root: DataRoot) -> None:
        dataset = task.load(root, None, None)
        assert dataset.split == "val2017" and all(s.image.source.exists(s.image.name) for s in dataset.samples)


class TestNoCapsContract(TaskContract):
    @pytest.fixture
    def task(self) -> NoCaps:
        return NoCaps({"meteor": "off"})

    @pytest.fixture
    def root(self, tmp_path: Path) -> DataRoot:
        layouts.nocaps(tmp_path / "nocaps")
        return DataRoot(tmp_path)


@pytest.fixture
def root(tmp_path: Path) -> DataRoot:
    layouts.coco(tmp_path)
    return DataRoot(tmp_path)


def first_captions() -> dict[str, str]:
    return {str(image_id): texts[0] for image_id, texts in layouts.CAPTIONS.items()}


def test_a_model_that_writes_a_reference_is_right(root: DataRoot) -> None:
    task = CocoCaption({"meteor": "off"})
    dataset = task.load(root, None, None)
    by_image = {s.image.name: s.captions[0].text for s in dataset.samples}

    def answer(request: Request) -> Response:
        assert isinstance(request, Generate) and request.prompt == "" and request.decoding == Decoding()
        return Generated(" " + by_image[request.images[0].name])

    rows = drive(task, dataset, task.protocol(EVERYTHING), answer)
    assert [row.response for row in rows] == [text.strip() for text in by_image.values()]
    metrics = task.aggregate(rows, dataset)
    assert metrics["Bleu_4"].value == pytest.approx(1.0, abs=1e-6)
    assert metrics["ROUGE_L"].value == pytest.approx(1.0)
    assert metrics["SPICE"].value is None and metrics["SPICE"].reason
    assert metrics["METEOR"].value is None and metrics["METEOR"].reason == "was switched off"
    assert tuple(metrics) == METRICS
    scored = task.aggregate(task.score_predictions(first_captions(), dataset), dataset)
    assert {name: m.value for name, m in scored.items()} == {name: m.value for name, m in metrics.items()}


def test_a_failed_sample_is_the_empty_caption(root: DataRoot) -> None:
    task = CocoCaption({"meteor": "off"})
    dataset = task.load(root, None, None)
    texts = first_captions()
    rows = task.score_predictions(texts, dataset)
    empty = task.score_predictions(texts | {"522418": ""}, dataset)

    def answer(request: Request) -> Response:
        assert isinstance(request, Generate)
        name = request.images[0].name
        if "522418" in name:
            return Failure("cannot be decoded")
        return Generated(next(text for image_id, text in texts.items() if image_id in name))

    failed = drive(task, dataset, task.protocol(EVERYTHING), answer)
    assert [row.status for row in failed] == ["ok", "failed", "ok"] and failed[1].reason == "cannot be decoded"
    assert task.aggregate(failed, dataset) == task.aggregate(empty, dataset)
    assert task.aggregate(failed, dataset)["CIDEr"].value < task.aggregate(rows, dataset)["CIDEr"].value  # type: ignore[operator]
    assert failed[1].scores["CIDEr"] == 0.0


def test_decoding_and_prompt_are_in_the_signature(root: DataRoot) -> None:
    lines = set()
    for arguments in ({}, {"num_beams": "3"}, {"prompt": "a photo of"}, {"length_penalty": "0.6"}):
        task = CocoCaption(arguments)
        protocol = task.protocol(frozenset({"generate"}))
        dataset = task.load(root, None, None)
        lines.add(signature(task, dataset, protocol, None))
        request = task.requests(dataset.samples[0], protocol)[0]
        assert str(request.decoding) in protocol.prompt and request.prompt == arguments.get("prompt", "")
    assert len(lines) == 4
    assert any("prompt:none[max_new_tokens=30,num_beams=3]" in line for line in lines)
    for bad in ({"num_beams": "0"}, {"length_penalty": "nan"}, {"max_new_tokens": "many"}):
        with pytest.raises(UsageError, match="coco_caption:"):
            CocoCaption(bad)


def test_models_that_only_embed_are_told_so_before_anything_is_loaded() -> None:
    with pytest.raises(UnsupportedTask, match="coco_caption needs generate; the model can only embed_images, embed"):
        CocoCaption().protocol(frozenset({"embed_images", "embed_texts"}))


def results(path: Path, rows: object) -> Path:
    layouts.write(path, rows)
    return path


def test_predictions_must_be_of_exactly_the_images_of_the_split(root: DataRoot, tmp_path: Path) -> None:
    task = CocoCaption()
    dataset = task.load(root, None, None)
    rows = [{"image_id": int(i), "caption": text} for i, text in first_captions().items()]
    path = tmp_path / "results.json"
    assert task.predictions(results(path, rows), dataset) == first_captions()
    for bad, message in (
        (rows[1:], "1 of 3 image_ids of the split are not answered: 391895"),
        ([*rows, {"image_id": 5, "caption": "x"}], "1 image_ids are not in the split: 5"),
        ([*rows[1:], {"image_id": 5, "caption": "x"}], "not answered: 391895; 1 image_ids are not in the split: 5"),
        ([*rows, rows[0]], "duplicate image_ids 391895"),
        ([{"image_id": 5}], "not answered"),
        ([*rows[1:], {"image_id": 391895}], "record [2] has no 'caption'"),
        ([*rows[1:], {"image_id": 391895, "caption": ["x"]}], "record [2].caption is a list, not a string"),
        ([*rows[1:], {"caption": "x"}], "record [2] has no 'image_id'"),
        ({}, "the document is an object, not a list"),
        ([], "has no records"),
        ("", "is empty"),
    ):
        with pytest.raises(DataError) as error:
            task.predictions(results(path, bad), dataset)
        assert message in str(error.value) and str(path) in str(error.value) and "\n" not in str(error.value)


def test_a_subset_is_noted(root: DataRoot) -> None:
    task = CocoCaption()
    (note,) = task.notes(task.load(root, None, None), None)
    assert "3 images" in note and "CIDEr" in note


def test_captions_are_tokenised_once_for_all_metrics(root: DataRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def counting(texts: Sequence[str]) -> list[str]:
        calls.append(len(texts))
        return tokenize(texts)

    monkeypatch.setattr("vlbench.metrics.captions.tokenize", counting)
    task = CocoCaption({"meteor": "off"})
    dataset = task.load(root, None, None)
    task.aggregate(task.score_predictions(first_captions(), dataset), dataset)
    assert calls == [3 + 7]


def test_the_test_split_of_nocaps_makes_a_submission(tmp_path: Path) -> None:
    layouts.nocaps_test(tmp_path)
    task = NoCaps()
    dataset = task.load(DataRoot(tmp_path), "test", None)
    assert dataset.counts == {"images": 4, "captions": 0} and dataset.partial
    assert all(image.load().size == (8, 6) for image in task.images(dataset))
    rows = drive(task, dataset, task.protocol(frozenset({"generate"})), lambda _: Generated(" a red thing "))
    metrics = task.aggregate(rows, dataset)
    assert {metric.value for metric in metrics.values()} == {None}
    assert "split test has no public captions; the evaluation server" in (metrics["CIDEr"].reason or "")
    made = task.submission(rows, dataset)
    assert made is not None and made[0] == "nocaps_test.json"
    assert json.loads(made[1]) == [{"image_id": i, "caption": "a red thing"} for i in range(4)]
    assert "takes only a file with all images" in task.notes(dataset, None)[0]
    with pytest.raises(DataError, match="nocaps: split test has no captions to score against"):
        task.predictions(tmp_path / "none.json", dataset)
    layouts.nocaps(tmp_path)
    assert task.submission(rows, task.load(DataRoot(tmp_path), None, None)) is None


def test_nocaps_by_domain(tmp_path: Path) -> None:
    """Domains share the document frequencies of the split, so the value of all images is the mean over images."""
    layouts.nocaps(tmp_path)
    task = NoCaps({"meteor": "off"})
    dataset = task.load(DataRoot(tmp_path), None, None)
    answers = {"0": "a brown dog sleeps", "1": "a red bus", "2": "a cat", "3": "Two green parrots share a branch"}
    rows = task.score_predictions(answers, dataset)
    assert [row.slices["domain"] for row in rows] == ["in-domain", "near-domain", "out-domain", "near-domain"]
    metrics = task.aggregate(rows, dataset)
    cider = [row.scores["CIDEr"] for row in rows]
    assert metrics["CIDEr"].value == pytest.approx(sum(cider) / 4)
    assert metrics["CIDEr/domain/near-domain"].value == pytest.approx((cider[1] + cider[3]) / 2)
    assert metrics["CIDEr_original/domain/in-domain"].value == rows[0].scores["CIDEr_original"]
    near = [rows[1], rows[3]]
    correct, guess = (sum(row.statistics[key][0] for row in near) for key in ("bleu_correct", "bleu_guess"))
    assert (correct, guess) == (9, 9)
    assert metrics["Bleu_1/domain/near-domain"].value == pytest.approx(math.exp(1 - 19 / 9), rel=1e-6)
    assert metrics["METEOR/domain/out-domain"].value is None and metrics["METEOR/domain/out-domain"].reason
    assert {name.rpartition("/domain/")[2] for name in metrics if "/" in name} == set(layouts.NOCAPS)
    path = results(tmp_path / "answers.json", [{"image_id": int(i), "caption": text} for i, text in answers.items()])
    assert task.predictions(path, dataset) == answers


def test_given_document_frequencies_are_in_the_signature_by_content(root: DataRoot, tmp_path: Path) -> None:
    lines = set()
    for name, counts in (("a", {"a": 2}), ("b", {"a": 2}), ("c", {"a": 3})):
        (tmp_path / name).write_bytes(DocumentFrequencies(50, counts).to_bytes())
        task = CocoCaption({"meteor": "off", "df": str(tmp_path / name)})
        dataset = task.load(root, None, None)
        lines.add(signature(task, dataset, task.protocol(EVERYTHING), None))
        (note,) = task.notes(dataset, None)
        assert "are those of 50 images" in note
        assert task.score_predictions(first_captions(), dataset)[0].scores["CIDEr"] > 0
    plain = CocoCaption()
    lines.add(signature(plain, dataset, plain.protocol(EVERYTHING), None))
    assert len(lines) == 3 and sum("|df:" in line for line in lines) == 2
    with pytest.raises(DataError, match="is missing"):
        CocoCaption({"df": str(tmp_path / "none")}).scoring()


def test_spice_is_off_unless_asked_for(root: DataRoot) -> None:
    for arguments, reason in (({}, "was not asked for"), ({"spice": "auto"}, "needs ")):
        task = CocoCaption({"meteor": "off", **arguments})
        dataset = task.load(root, None, None)
        metric = task.aggregate(task.score_predictions(first_captions(), dataset), dataset)["SPICE"]
        assert metric.value is not None or (metric.reason or "").startswith(reason)
    with pytest.raises(UsageError, match="coco_caption:spice=on is none of: off, auto"):
        CocoCaption({"spice": "on"})


@pytest.mark.slow
def test_the_recorded_scores_of_the_official_scorer(oracles: Path) -> None:
    task = CocoCaption()
    dataset = task.load_references(oracles / "captions_references.json")
    expected = json.loads((oracles / "captions_scores.json").read_text())["corpus"]
    rows = task.score_predictions(task.predictions(oracles / "captions_results.json", dataset), dataset)
    metrics = task.aggregate(rows, dataset)
    for name, value in expected.items():
        if name == "METEOR" and metrics[name].value is None:
            assert "Java" in (metrics[name].reason or "")
            continue
        assert metrics[name].value == pytest.approx(value, abs=1e-9), name
