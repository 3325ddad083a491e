"""A folder in VQA v2's layout that the model has never seen: other words, other pictures, nothing beside it."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import pytest
import torch
from PIL import Image

from tests.support.layouts import annotation, write
from tests.support.nano import nano, write_nano
from vlbench.data.scenes.write import write_official
from vlbench.models.checkpoint import load_checkpoint, save_checkpoint
from vlbench.train import run
from vlbench.train.collate import Collator, Draws
from vlbench.train.recipe import Recipe
from vlbench.train.run import finetune, new_checkpoint, open_source
from vlbench.train.words import adapt_words

if TYPE_CHECKING:
    from pathlib import Path

TEXTS = ["Welches Gemüse liegt neben dem Schneidebrett?", "Petersilienwurzel", "Wieviele Zwiebeln?", "drei"] * 5


def test_words_in_common_keep_their_vectors_and_new_ones_begin_as_the_mean_of_their_pieces() -> None:
    checkpoint = copy.deepcopy(nano())
    old, table = checkpoint.tokenizer, checkpoint.model.text_encoder.embedding.words.weight.detach().clone()
    said: list[str] = []
    adapted = adapt_words(checkpoint, TEXTS, said.append)
    fresh, words = adapted.tokenizer, adapted.model.text_encoder.embedding.words.weight
    assert "tokenizer: learned anew" in said[0]
    assert len(words) == len(fresh) == adapted.model.config.vocabulary == len(adapted.model.word_bias)
    assert len(fresh.encode(TEXTS[1]).ids) == 1
    assert torch.equal(words[: 7 + 1], table[: 7 + 1])
    number = fresh.encode(TEXTS[1]).ids[0]
    assert torch.allclose(words[number], table[old.pieces(fresh.token(number))].mean(dim=0))
    assert adapt_words(adapted, TEXTS, said.append) is adapted and len(said) == 1


def test_two_towers_alone_have_words_but_write_none() -> None:
    checkpoint = copy.deepcopy(nano(("itc",), "late"))
    adapted = adapt_words(checkpoint, TEXTS, lambda _: None)
    assert len(adapted.model.text_encoder.embedding.words.weight) == len(adapted.tokenizer)


def _write_questions(root: Path, question: str, answer: str) -> None:
    folder = root / "vqa"
    asked = [{"image_id": n, "question": question, "question_id": n} for n in (1, 2, 3)]
    answered = [annotation(n, n, "any", "other", [answer] * 10) for n in (1, 2, 3)]
    write(folder / "v2_OpenEnded_mscoco_train2014_questions.json", {"questions": asked})
    write(folder / "v2_mscoco_train2014_annotations.json", {"annotations": answered})
    (folder / "train2014").mkdir()
    for n in (1, 2, 3):
        Image.new("RGB", (50, 30), (n * 60, 90, 20)).save(folder / "train2014" / f"COCO_train2014_{n:012d}.jpg")


@pytest.mark.filterwarnings("ignore")
def test_finetuning_on_questions_of_another_kind_needs_that_folder_alone(tmp_path: Path) -> None:
    """The recipe's tags once asked for COCO's captions, which are not there."""
    _write_questions(tmp_path / "data", TEXTS[0], TEXTS[1])
    save_checkpoint(tmp_path / "start", nano())
    recipe = Recipe(objectives={"vqa": 1.0, "tag": 0.1, "itc": 0.5}, batch_size=2, steps=2)
    said: list[str] = []
    finetune(tmp_path / "start", ["vqa"], tmp_path / "data", recipe, tmp_path / "tuned", device="cpu", say=said.append)
    assert said[0] == "the objective tag is left out: the task's data have no captions"
    assert "tokenizer: learned anew" in said[1] and "on" in said[2]
    tuned = load_checkpoint(tmp_path / "tuned")
    assert tuned.model.config.trained_on == ("scenes", "vqa:train2014")
    assert len(tuned.tokenizer.encode(TEXTS[1]).ids) == 1
    # A second folder has the same layout, and so the same name, and words of its own.
    _write_questions(tmp_path / "other", "Quel légume se trouve à côté de la planche?", "pastinaque")
    finetune(tmp_path / "tuned", ["vqa"], tmp_path / "other", recipe, tmp_path / "again", device="cpu", say=said.append)
    assert sum("tokenizer: learned anew" in line for line in said) == 2
    assert len(load_checkpoint(tmp_path / "again").tokenizer.encode("pastinaque").ids) == 1


def test_all_kinds_of_texts_are_sampled_of_a_large_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Images with captions come first: of COCO and VQA v2 together no question was seen, and no answer."""
    write_official(tmp_path, splits=("train",), train_count=8)
    monkeypatch.setattr(run, "TOKENIZER_EXAMPLES", 9)
    monkeypatch.setattr(run, "ANSWER_SCENES", 4)
    recipe = Recipe(objectives={"caption": 1.0, "answer": 1.0}, model={"size": "nano", "image_size": 32})
    source = open_source(tmp_path, recipe)
    assert len(source) == 16 and not source.example(7).questions and source.example(8).questions
    texts = set(run.sampled_texts(source))
    assert texts & set(source.example(0).captions) and texts & {asked.question for asked in source.example(8).questions}
    answers = new_checkpoint(source, recipe).model.config.answers
    assert {asked.answer for n in range(8, 16) for asked in source.example(n).questions} == set(answers)


def test_images_without_captions_teach_no_tags(tmp_path: Path) -> None:
    """In a folder with questions too, each of them once counted as an image on which there is nothing."""
    write_official(tmp_path, splits=("train",), train_count=3)
    recipe = Recipe(objectives={"tag": 1.0, "vqa": 1.0}, model={"size": "nano", "image_size": 32}, batch_size=6)
    source = open_source(tmp_path, recipe)
    checkpoint = new_checkpoint(source, recipe)
    draws = [Draws(source, recipe)[n] for n in range(6)]
    batch = Collator(checkpoint.tokenizer, checkpoint.model.config, recipe)(draws)["batch"]
    captioned = [n for n, draw in enumerate(draws) if draw.example.captions]
    assert len(captioned) == 3 and batch["tags_image"].tolist() == captioned
    assert batch["tags"].shape == (3, len(checkpoint.model.config.tags)) and batch["tags"].any(dim=1).all()


@pytest.mark.filterwarnings("ignore")
def test_tags_that_no_image_of_the_folder_has_are_left_out_with_a_line(tmp_path: Path) -> None:
    """The tags of scenes are of their graphs, those of a folder the words of its captions."""
    write_official(tmp_path / "data", splits=("train",), train_count=3)
    recipe = Recipe(objectives={"caption": 1.0, "tag": 0.1}, batch_size=2, steps=1)
    said: list[str] = []
    start = write_nano(tmp_path / "start")
    finetune(start, ["captioning"], tmp_path / "data", recipe, tmp_path / "tuned", device="cpu", say=said.append)
    assert any("tags are left out: none of the model's" in line for line in said)
    assert (tmp_path / "tuned" / "training_log.csv").read_text().splitlines()[0].endswith("examples_per_second,caption")
