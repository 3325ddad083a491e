"""Tables for people: what stands in one column, what is marked, and what the whole looks like."""

from __future__ import annotations

import io
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.results import result
from vlbench.leaderboard.columns import short_name, shown
from vlbench.leaderboard.groups import group_results, in_order
from vlbench.leaderboard.table import print_table, render, write_text
from vlbench.result import SampleCounts
from vlbench.types import Metric

if TYPE_CHECKING:
    from vlbench.result import Result

Values = dict[str, float | Metric | None]
NEEDS_JAVA = Metric(None, reason="needs Java, which is not installed")


def retrieval(name: str, first: float, **parts: Any) -> Result:
    values: Values = {}
    for direction in ("image_to_text", "text_to_image"):
        values |= {f"{direction}_recall@{k}": first + k / 100 for k in (1, 5, 10)}
        values[f"{direction}_median_rank"] = Metric(2.0 if name == "clip-vit-b16" else 1.5, higher_is_better=False)
    values["rsum"] = 6 * first + 0.32
    task = {"name": "coco_retrieval", "protocol": "embed", **parts.pop("task", {})}
    return result(values, name=name, primary="text_to_image_recall@1", task=task, **parts)


def vqa(name: str, accuracy: float, **parts: Any) -> Result:
    values: Values = {"accuracy": accuracy}
    values |= {f"accuracy/answer_type/{kind}": accuracy + 0.1 for kind in ("number", "other", "yes/no")}
    values |= {f"accuracy/question_type/{kind}": accuracy / 2 for kind in ("how many", "is the", "what color is the")}
    task = {"name": "vqa", "dataset": "vqa", "split": "val2014", "counts": {"questions": 100}}
    return result(values, name=name, task=task | parts.pop("task", {}), **parts)


def table(*results: Result, width: int = 80, **options: Any) -> str:
    return render(group_results(results), width=width, **options)


def same(text: str, expected: str) -> None:
    assert text.splitlines() == expected.strip("\n").splitlines()


def test_a_table_of_retrieval_at_80_columns() -> None:
    weak = retrieval("vlbench-tiny", 0.1, samples=SampleCounts(30010, 30000, 10), truncated_fraction=0.0234)
    strong = retrieval("open_clip:ViT-B-32/laion2b_s34b_b79k", 0.31)
    same(
        table(retrieval("clip-vit-b16", 0.3), weak, strong),
        """
coco_retrieval on coco karpathy-test (5000 images, 25010 captions), protocol
embed
coco_retrieval:1|coco:karpathy-test|protocol:embed|data:abcd
                              I→T   I→T   I→T  I→T   T→I   T→I   T→I  T→I
model                         R@1   R@5  R@10 MedR   R@1   R@5  R@10 MedR   rsum
────────────────────────────────────────────────────────────────────────────────
open_clip:ViT-B-32/laion    32.0* 36.0* 41.0* 1.5* 32.0* 36.0* 41.0* 1.5* 218.0*
2b_s34b_b79k
clip-vit-b16                 31.0  35.0  40.0    2  31.0  35.0  40.0    2  212.0
vlbench-tiny             FT  11.0  15.0  20.0 1.5*  11.0  15.0  20.0 1.5*   92.0
I→T image_to_text, T→I text_to_image, R@K recall@K, MedR median_rank
in percent, but not I→T MedR, T→I MedR
* best of all models; in the order of text_to_image_recall@1
F: samples failed and count as wrong (vlbench-tiny 10 of 30010)
T: the model did not see the whole text of some requests (vlbench-tiny 2.34 %)
""",
    )


def test_captions_keep_the_scale_of_their_scorer_and_missing_values_their_reason() -> None:
    best: Values = {"Bleu_4": 0.38183, "METEOR": 0.30335, "CIDEr": 1.292581, "SPICE": None}
    other: Values = {"Bleu_4": 0.38183, "METEOR": NEEDS_JAVA, "CIDEr": 1.1, "SPICE": None}
    same(
        table(result(other, name="blip", primary="CIDEr"), result(best, name="vinvl", primary="CIDEr")),
        """
coco_caption on coco karpathy-test (5000 images, 25010 captions), protocol
generate
coco_caption:1|coco:karpathy-test|protocol:generate|data:abcd
model   Bleu_4  METEOR    CIDEr  SPICE
──────────────────────────────────────
vinvl  0.3818*  0.3034  1.2926*      –
blip   0.3818*       –   1.1000      –
* best of all models; in the order of CIDEr
– METEOR of blip: needs Java, which is not installed
– SPICE: was not computed
""",
    )


def test_vqa_shows_types_of_answers_and_all_types_on_demand() -> None:
    one = vqa("one", 0.5, task={"partial": True})
    same(
        table(one),
        """
vqa on vqa val2014 (100 questions), protocol generate
vqa:1|vqa:val2014|protocol:generate|data:abcd
model     accuracy  number  other  yes/no
─────────────────────────────────────────
one    P     50.00   60.00  60.00   60.00
number, other, yes/no: by answer_type
in percent
3 more metrics with --all-metrics
P: partial data: the counts are not those of the official split
""",
    )
    same(
        table(one, all_metrics=True),
        """
vqa on vqa val2014 (100 questions), protocol generate
vqa:1|vqa:val2014|protocol:generate|data:abcd
                                            one
metric                                        P
───────────────────────────────────────────────
accuracy                                  50.00
accuracy/answer_type/number               60.00
accuracy/answer_type/other                60.00
accuracy/answer_type/yes/no               60.00
accuracy/question_type/how many           25.00
accuracy/question_type/is the             25.00
accuracy/question_type/what color is the  25.00
in percent
P: partial data: the counts are not those of the official split
""",
    )


def test_what_fits_no_width_has_metrics_as_rows_in_blocks_of_models() -> None:
    models = [vqa(f"a-model-with-a-long-name-{i}", 0.5 + i / 100, task={"limit": 100}) for i in range(3)]
    same(
        table(*models, width=70, all_metrics=True),
        """
vqa on vqa val2014 (100 questions), protocol generate
vqa:1|vqa:val2014|protocol:generate|data:abcd
                                          a-model-with-a-long-name
                                                                -2
metric                                                           L
──────────────────────────────────────────────────────────────────
accuracy                                                    52.00*
accuracy/answer_type/number                                 62.00*
accuracy/answer_type/other                                  62.00*
accuracy/answer_type/yes/no                                 62.00*
accuracy/question_type/how many                             26.00*
accuracy/question_type/is the                               26.00*
accuracy/question_type/what color is the                    26.00*

                                          a-model-with-a-long-name
                                                                -1
metric                                                           L
──────────────────────────────────────────────────────────────────
accuracy                                                     51.00
accuracy/answer_type/number                                  61.00
accuracy/answer_type/other                                   61.00
accuracy/answer_type/yes/no                                  61.00
accuracy/question_type/how many                              25.50
accuracy/question_type/is the                                25.50
accuracy/question_type/what color is the                     25.50

                                          a-model-with-a-long-name
                                                                -0
metric                                                           L
──────────────────────────────────────────────────────────────────
accuracy                                                     50.00
accuracy/answer_type/number                                  60.00
accuracy/answer_type/other                                   60.00
accuracy/answer_type/yes/no                                  60.00
accuracy/question_type/how many                              25.00
accuracy/question_type/is the                                25.00
accuracy/question_type/what color is the                     25.00
in percent
* best of all models; in the order of accuracy
L: limited to the first samples of the split
""",
    )


def test_no_line_but_the_signature_is_wider_than_asked() -> None:
    models = [retrieval(f"{'name' * i}{i}", i / 20) for i in range(1, 9)]
    for width in (40, 60, 80, 120):
        for line in table(*models, width=width).splitlines():
            assert len(line) <= width or line.startswith("coco_retrieval:1|")


def test_results_with_different_signatures_never_share_a_table() -> None:
    results = [
        retrieval("a", 0.5),
        retrieval("b", 0.6, task={"protocol": "embed+match-top16"}),
        retrieval("c", 0.7),
        retrieval("d", 0.8, task={"split": "val2014"}),
    ]
    groups = group_results(results)
    assert [[entry.label for entry in group.entries] for group in groups] == [["c", "a"], ["b"], ["d"]]
    assert [len({entry.result.signature for entry in group.entries}) for group in groups] == [1, 1, 1]
    assert [bool(group.entries[0].best) for group in groups] == [True, False, False], "of one value there is no best"


@pytest.mark.parametrize(
    ("trained_on", "dataset", "seen"),
    [
        (("coco",), "coco", True),
        (("wit-400m", "COCO-Captions"), "coco", True),
        (("scenes",), "scenes/coco", True),
        (("coco",), "scenes/coco", False),
        (("laion-2b",), "coco", False),
        (("cocoa",), "coco", False),
        ((), "coco", False),
    ],
)
def test_models_that_were_trained_on_the_dataset_have_a_table_of_their_own(
    trained_on: tuple[str, ...], dataset: str, seen: bool
) -> None:
    task = {"dataset": dataset}
    tuned = retrieval("tuned", 0.9, task=task, model={"trained_on": trained_on})
    groups = group_results([retrieval("zero-shot", 0.5, task=task), tuned])
    assert len(groups) == 1 + seen
    assert ("trained on" in groups[-1].title) == seen


def test_models_that_saw_only_the_images_have_a_table_of_their_own_too() -> None:
    """A captioner trained on COCO is neither zero-shot on VQA nor fine-tuned for it."""
    makers = {"tuned": ("vqa:train2014",), "captioner": ("laion-2b", "coco"), "clip": ("wit-400m",)}
    groups = group_results([vqa(name, 0.5, model={"trained_on": names}) for name, names in makers.items()])
    assert [(group.entries[0].label, group.exposure, group.seen) for group in groups] == [
        ("tuned", "dataset", True),
        ("captioner", "images", False),
        ("clip", "", False),
    ]
    text = render(groups)
    assert "trained on vqa" in text and "trained on images of" in " ".join(text.split())
    assert "tuned: trained on vqa:train2014" in text
    assert "captioner: its images were seen in training on coco" in text


def test_ties_are_all_marked_and_lower_can_be_better() -> None:
    (group,) = group_results([retrieval("a", 0.5), retrieval("b", 0.5), retrieval("clip-vit-b16", 0.4)])
    best = {entry.label: entry.best for entry in group.entries}
    assert best["a"] == best["b"] and "image_to_text_median_rank" in best["a"] and best["clip-vit-b16"] == frozenset()


def test_best_is_told_from_unrounded_values_and_noise_in_the_last_bit_is_a_tie() -> None:
    (group,) = group_results([vqa("a", 0.67411), vqa("b", 0.67412), vqa("c", 0.67412 * (1 + 1e-15)), vqa("d", 0.1)])
    assert {entry.label for entry in group.entries if "accuracy" in entry.best} == {"b", "c"}


def test_a_missing_value_is_neither_best_nor_in_front() -> None:
    (group,) = group_results([result({"CIDEr": None}, name="a"), result(name="b"), result({"CIDEr": 0.0}, name="c")])
    assert [(entry.label, bool(entry.best)) for entry in group.entries] == [("b", True), ("c", False), ("a", False)]
    nothing = group_results([result({"CIDEr": None}, name="a"), result({"CIDEr": None}, name="b")])
    assert not any(entry.best for entry in nothing[0].entries)


def test_a_metric_that_only_some_results_have_says_so() -> None:
    text = table(result({"CIDEr": 1.0, "extra": 0.123456}, name="a"), result({"CIDEr": 0.9}, name="b"))
    assert "0.1235" in text and "– extra of b: is not in the result" in text


def test_every_mark_is_explained() -> None:
    strange = vqa(
        "api",
        0.5,
        model={"random_weights": True, "provenance": "unverified"},
        task={"partial": True},
        samples=SampleCounts(100, 98, 2),
        truncated_fraction=0.5,
        notes=("only 100 questions were asked", "only 100 questions were asked"),
    )
    lines = table(strange).splitlines()
    assert any(line.startswith("api    PRFTU") for line in lines)
    assert [line[:2] for line in lines if line[1:2] == ":"] == ["P:", "R:", "F:", "T:", "U:"]
    assert "F: samples failed and count as wrong (api 2 of 100)" in lines
    assert lines.count("only 100 questions were asked") == 1
    assert not any(line[1:2] == ":" for line in table(vqa("plain", 0.5)).splitlines())
    limited = table(vqa("x", 0.5, task={"partial": True, "limit": 3})).splitlines()
    assert any(line.startswith("x      L  ") for line in limited), "a limit says more than that the data is partial"


def test_equal_names_are_told_apart_by_what_differs() -> None:
    results = [
        vqa("m", 0.5),
        vqa("m", 0.4, model={"dtype": "bfloat16"}),
        vqa("m", 0.3, settings={"batch_size": 8, "seed": 0, "task_arguments": {"meteor": "off"}}),
        vqa("other", 0.2, settings={}),
    ]
    (group,) = group_results(results)
    assert [entry.label for entry in group.entries] == [
        "m float32 batch_size=auto",
        "m bfloat16 batch_size=auto",
        "m float32 batch_size=8 meteor=off",
        "other",
    ]
    again = group_results([vqa("m", 0.5), vqa("m", 0.5, created="2027-01-01T00:00:00Z")])
    assert [entry.label for entry in again[0].entries] == ["m 2026-11-24T02:00:00Z", "m 2027-01-01T00:00:00Z"]


def test_the_order_of_show_is_by_task_and_of_run_as_they_came() -> None:
    results = [vqa("a", 0.5), retrieval("a", 0.5), vqa("b", 0.9)]
    assert [group.first.task.name for group in group_results(results)] == ["vqa", "coco_retrieval"]
    assert [made.task.name for made in in_order(results)] == ["coco_retrieval", "vqa", "vqa"]


def test_names_of_other_people_cannot_paint_the_terminal() -> None:
    text = table(vqa("[bold]x[/bold]\x1b[31m\nred", 0.5), vqa("ünïcode-模型", 0.4))
    assert "\x1b" not in text and "[bold]x[/bold]?[31m red" in text and "ünïcode-模型" in text


def test_colour_is_for_terminals_only() -> None:
    groups = group_results([vqa("a", 0.5), vqa("b", 0.4)])
    assert "\x1b[" in render(groups, colour=True) and "\x1b[" not in render(groups)


def test_scales_are_decided_by_name() -> None:
    values = {
        "text_to_image_recall@1": "50.0",
        "recall@10": "50.0",
        "rsum": "50.0",
        "accuracy": "50.00",
        "accuracy/question_type/is there a": "50.00",
        "q_to_ar": "50.0",
        "group_score": "50.0",
        "Bleu_4": "0.5000",
        "CIDEr": "0.5000",
        "SPICE": "0.5000",
        "perplexity": "0.5",
        "accuracy_like": "0.5",
        "text_to_image_median_rank": "0.5",
    }
    assert {name: shown(name, 0.5) for name in values} == values
    assert shown("perplexity", 123456.7) == "123457" and shown("x", 1e-7) == "1e-07"
    assert shown("accuracy", 0.5, (0.45, 0.551)) == "50.00 [45.00, 55.10]"
    assert short_name("accuracy/question_type/is there a") == "accuracy/question_type/is there a"


def test_an_output_without_the_characters_gets_others(monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(buffer, encoding="ascii"))
    write_text("– I→T ── ünï\n")
    sys.stdout.flush()
    assert buffer.getvalue() == b"- I>T -- ?n?\n"


def test_print_table_is_plain_where_standard_output_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([vqa("one", 0.5)])
    assert capsys.readouterr().out == table(vqa("one", 0.5))
    print_table([])
    assert capsys.readouterr().out == ""


def test_tables_need_no_heavy_library() -> None:
    code = (
        "import sys; import vlbench.leaderboard.table, vlbench.leaderboard.export, vlbench.leaderboard.store; "
        "print([m for m in ('torch', 'pandas', 'pyarrow', 'numpy', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
