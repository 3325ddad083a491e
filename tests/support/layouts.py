"""Miniature datasets in their official layouts, with the quirks of the official files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from PIL import Image

if TYPE_CHECKING:
    from pathlib import Path

Json = dict[str, Any]

CAPTIONS = {
    391895: ["A man with a red helmet on a small moped. ", "Man riding a motor bike.\n", "A dirt path."],
    522418: ["A woman cuts a cake.", "a woman wearing a net on her head  cutting a cake "],
    184613: ["A child holding a flowered umbrella.", "A man riding a motor bike."],
}
COLOURS = {391895: "red", 522418: "green", 184613: "blue"}


def write(path: Path, document: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8")


def picture(path: Path, colour: str = "white") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 6), colour).save(path)


def coco_document() -> Json:
    """Annotations lie in any order, not grouped by image."""
    images = [
        {
            "license": 3,
            "file_name": f"COCO_val2014_{image_id:012d}.jpg",
            "coco_url": "http://images.cocodataset.org/x.jpg",
            "height": 6,
            "width": 8,
            "date_captured": "2013-11-14 11:18:45",
            "flickr_url": "http://farm9.staticflickr.com/x.jpg",
            "id": image_id,
        }
        for image_id in CAPTIONS
    ]
    annotations: list[Json] = [
        {"image_id": image_id, "id": 10 * n + k, "caption": text}
        for n, (image_id, texts) in enumerate(CAPTIONS.items())
        for k, text in enumerate(texts)
    ]
    annotations.sort(key=lambda annotation: annotation["id"] % 10)
    return {"info": {}, "licenses": [], "images": images, "annotations": annotations}


def coco(root: Path) -> Path:
    """Write val2014 and return the annotation file."""
    for image_id, colour in COLOURS.items():
        picture(root / "val2014" / f"COCO_val2014_{image_id:012d}.jpg", colour)
    path = root / "annotations" / "captions_val2014.json"
    write(path, coco_document())
    return path


def coco2017(root: Path) -> Path:
    """Write val2017, whose file names are bare numbers, and return the annotation file."""
    document = coco_document()
    for image in document["images"]:
        image["file_name"] = f"{image['id']:012d}.jpg"
        picture(root / "val2017" / image["file_name"], COLOURS[image["id"]])
    path = root / "annotations" / "captions_val2017.json"
    write(path, document)
    return path


def karpathy_document() -> Json:
    """Two test images, one restval image; sentids are the COCO annotation ids."""
    images = []
    for n, (image_id, texts) in enumerate(CAPTIONS.items()):
        sentences = [
            {"tokens": text.lower().split(), "raw": text, "imgid": n, "sentid": 10 * n + k}
            for k, text in enumerate(texts)
        ]
        images.append(
            {
                "filepath": "val2014",
                "sentids": [s["sentid"] for s in sentences],
                "filename": f"COCO_val2014_{image_id:012d}.jpg",
                "imgid": n,
                "split": "restval" if n == 1 else "test",
                "sentences": sentences,
                "cocoid": image_id,
            }
        )
    return {"images": images, "dataset": "coco"}


def flickr30k_document() -> Json:
    document = karpathy_document()
    for n, image in enumerate(document["images"]):
        del image["filepath"], image["cocoid"]
        image["filename"] = f"{1000092795 + n}.jpg"
        image["split"] = "train" if n == 1 else "test"
    return {"images": document["images"], "dataset": "flickr30k"}


def flickr30k(root: Path, folder: str = "flickr30k-images") -> Path:
    """Write the file and its images, and return the file."""
    for n, colour in enumerate(COLOURS.values()):
        picture(root / folder / f"{1000092795 + n}.jpg", colour)
    path = root / "dataset_flickr30k.json"
    write(path, flickr30k_document())
    return path


def flickr8k_document() -> Json:
    return flickr30k_document() | {"dataset": "flickr8k"}


FLICKR8K_TOKENS = """\
1000268201_693b08cb0e.jpg#0\tA child in a pink dress is climbing up a set of stairs in an entry way .
1000268201_693b08cb0e.jpg#1\tA girl going into a wooden building .
1001773457_577c3a7d70.jpg#0\tA black dog and a spotted dog are fighting
1001773457_577c3a7d70.jpg#1\tTwo dogs of different breeds looking at each other on the road .
2258277193_586949ec62.jpg.1#0\tpeople waiting for the subway
1002674143_1b742ab4b8.jpg#0\tA man riding a motor bike.
"""


def flickr8k(root: Path, folder: str = "Flicker8k_Dataset") -> tuple[Path, Path]:
    """Write the original files with an image that is in no list, as there is one, and return tokens and list."""
    for name, colour in (("1001773457_577c3a7d70", "red"), ("1000268201_693b08cb0e", "green")):
        picture(root / folder / f"{name}.jpg", colour)
    paths = root / "Flickr8k.token.txt", root / "Flickr_8k.testImages.txt"
    write(paths[0], FLICKR8K_TOKENS)
    write(paths[1], "1001773457_577c3a7d70.jpg\n1000268201_693b08cb0e.jpg\n")
    write(root / "Flickr_8k.devImages.txt", "1002674143_1b742ab4b8.jpg\n")
    return paths


QUESTIONS = [
    (
        262148000,
        262148,
        "Where is he looking?",
        "none of the above",
        "other",
        ["down"] * 7 + ["table", "skateboard", "at table"],
    ),
    (262148001, 262148, "Is there a dog?", "is there", "yes/no", ["no"] * 10),
    (393225000, 393225, "What color is the cup?", "what color is the", "other", ["Red."] * 9 + ["blue"]),
]


def annotation(question_id: int, image_id: int, question_type: str, answer_type: str, answers: list[str]) -> Json:
    return {
        "question_type": question_type,
        "multiple_choice_answer": max(sorted(set(answers)), key=answers.count),
        "answers": [{"answer": a, "answer_confidence": "yes", "answer_id": k} for k, a in enumerate(answers, 1)],
        "image_id": image_id,
        "answer_type": answer_type,
        "question_id": question_id,
    }


def vqa_questions() -> Json:
    questions = [{"image_id": image, "question": text, "question_id": q} for q, image, text, *_ in QUESTIONS]
    return {"info": {}, "task_type": "Open-Ended", "data_type": "mscoco", "license": {}, "questions": questions}


def vqa_annotations() -> Json:
    rows = [annotation(q, image, kind, answer, answers) for q, image, _, kind, answer, answers in QUESTIONS]
    return {"info": {}, "license": {}, "data_subtype": "val2014", "annotations": rows[::-1], "data_type": "mscoco"}


def vqa(root: Path) -> tuple[Path, Path]:
    """Write val2014 and return the files of questions and annotations."""
    for image_id, colour in ((262148, "red"), (393225, "green")):
        picture(root / "val2014" / f"COCO_val2014_{image_id:012d}.jpg", colour)
    paths = root / "v2_OpenEnded_mscoco_val2014_questions.json", root / "v2_mscoco_val2014_annotations.json"
    write(paths[0], vqa_questions())
    write(paths[1], vqa_annotations())
    return paths


TRAIN_ANSWERS = {
    "is there": ["no", "no", "yes", "yes", "yes"],
    "is": ["maybe"],
    "what color is the": ["red", "blue", "red", "green"],
    "none of the above": ["down", "down", "down", "down", "down", "down"],
}


def vqa_train(root: Path) -> Path:
    """Write train annotations, and return the file; train questions need not be there."""
    rows: list[Json] = []
    for kind, majority in TRAIN_ANSWERS.items():
        rows += [annotation(1000 + len(rows) + k, 1, kind, "other", [a] * 10) for k, a in enumerate(majority)]
    path = root / "v2_mscoco_train2014_annotations.json"
    write(path, {"info": {}, "annotations": rows})
    return path


def vcr_items() -> list[Json]:
    common = {
        "movie": "1054_Harry_Potter",
        "objects": ["person", "person", "bottle"],
        "img_fn": "lsmdc_1054/1054_1.jpg",
        "metadata_fn": "lsmdc_1054/1054_1.json",
        "answer_orig": "2 is sad",
        "match_fold": "val-0",
    }
    return [
        common
        | {
            "question": ["Does", [0], "n't", "like", [1, 2], ",", "or", "does", [1], "'s", "cat", "?"],
            "answer_choices": [["Yes", "."], ["No", ",", [1], "does", "."], [[0], "is", "sad", "."], ["Maybe", "."]],
            "answer_label": 1,
            "rationale_choices": [[[k % 3], "smiles", "."] for k in range(4)],
            "rationale_label": 3,
            "img_id": "val-0",
            "annot_id": "val-0",
            "question_number": 0,
        },
        common
        | {
            "question": ["What", "is", [2], "?"],
            "answer_choices": [["A", "bottle", "."], ["A", "cat", "."], ["A", "dog", "."], ["Air", "."]],
            "answer_label": 0,
            "rationale_choices": [
                ["It", "shines", "."],
                ["It", "barks", "."],
                ["It", "sings", "."],
                ["It", "is", "air", "."],
            ],
            "rationale_label": 0,
            "img_id": "val-0",
            "annot_id": "val-1",
            "question_number": 1,
        },
    ]


def vcr_test_items() -> list[Json]:
    """The items without labels, as in the test split."""
    return [{key: value for key, value in item.items() if "label" not in key} for item in vcr_items()]


def vcr_metadata() -> Json:
    """The second object has two outlines, the third none."""
    return {
        "boxes": [[0.5, 1, 4, 5, 0.99], [2, 1, 6.25, 5, 0.9], [0, 0, 1, 1, 0.5]],
        "segms": [[[[1, 1], [2, 1], [2, 2.5]]], [[[3, 1], [4, 1], [4, 2]], [[5, 1], [6, 1], [6, 2]]], []],
        "names": ["person", "person", "bottle"],
        "width": 8,
        "height": 6,
    }


def lines(items: list[Json]) -> str:
    return "".join(json.dumps(item) + "\n" for item in items)


def vcr(root: Path) -> tuple[Path, Path]:
    """Write val and return the files of items and of metadata."""
    picture(root / "vcr1images" / "lsmdc_1054" / "1054_1.jpg")
    paths = root / "val.jsonl", root / "vcr1images" / "lsmdc_1054" / "1054_1.json"
    write(paths[0], lines(vcr_items()))
    write(paths[1], vcr_metadata())
    return paths


def okvqa_annotations() -> Json:
    """Five annotators, each twice; answers stemmed and raw; no majority; types are codes."""
    rows = []
    for question_id, image_id, _, _, _, raw in OKVQA_QUESTIONS:
        answers = [
            {"answer_id": k, "raw_answer": text, "answer_confidence": "yes", "answer": OKVQA_STEMS.get(text, text)}
            for k, text in enumerate([text for text in raw for _ in range(2)], 1)
        ]
        rows.append(
            {
                "image_id": image_id,
                "answer_type": "other",
                "question_type": "four",
                "question_id": question_id,
                "answers": answers,
                "confidence": 3,
            }
        )
    return {"info": {"version": "1.1"}, "data_subtype": "val2014", "annotations": rows, "question_types": {}}


OKVQA_STEMS = {"racing": "race", "motocross racing": "motocross race", "leaves": "leaf"}
OKVQA_QUESTIONS = [
    (2971475, 262148, "What sport is this?", "", "", ["racing", "racing", "racing", "motocross racing", "riding"]),
    (3397615, 393225, "What falls from it?", "", "", ["leaves", "leaves", "leaves", "leaves", "leaves"]),
]


def okvqa(root: Path) -> tuple[Path, Path]:
    """Write val2014 and return the files of questions and annotations."""
    for image_id, colour in ((262148, "red"), (393225, "green")):
        picture(root / "val2014" / f"COCO_val2014_{image_id:012d}.jpg", colour)
    paths = root / "OpenEnded_mscoco_val2014_questions.json", root / "mscoco_val2014_annotations.json"
    questions = [{"image_id": image, "question": text, "question_id": q} for q, image, text, *_ in OKVQA_QUESTIONS]
    write(paths[0], {"license": {}, "data_subtype": "val2014", "task_type": "Open-Ended", "questions": questions})
    write(paths[1], okvqa_annotations())
    return paths


def gqa_question(image_id: str, question: str, answer: str, structural: str, semantic: str) -> Json:
    return {
        "semantic": [{"operation": "select", "dependencies": [], "argument": "dog (0)"}],
        "entailed": [],
        "equivalent": [],
        "question": question,
        "imageId": image_id,
        "isBalanced": True,
        "groups": {"global": None, "local": "05-dog"},
        "answer": answer,
        "semanticStr": "select: dog (0)",
        "annotations": {"answer": {}, "question": {}, "fullAnswer": {}},
        "types": {"detailed": "existC", "semantic": semantic, "structural": structural},
        "fullAnswer": f"{answer}.",
    }


def gqa_questions() -> Json:
    """Ids of questions are keys; those of images are numbers as texts, with an n in front for some."""
    return {
        "201307251": gqa_question("n161313", "Is it overcast?", "no", "verify", "global"),
        "201640614": gqa_question("n235859", "Who is wearing the dress?", "woman", "query", "rel"),
        "202225914": gqa_question("n235859", "Is the dress red or blue?", "red", "choose", "attr"),
        "20602949": gqa_question("2331963", "What is behind the cat?", "wall", "query", "rel"),
    }


def gqa(root: Path, split: str = "testdev_balanced") -> Path:
    """Write a split and its images, and return the file."""
    for image_id, colour in (("n161313", "red"), ("n235859", "green"), ("2331963", "blue")):
        picture(root / "images" / f"{image_id}.jpg", colour)
    path = root / f"{split}_questions.json"
    write(path, gqa_questions())
    return path


def gqa_train(root: Path) -> Path:
    """Write train questions of other ids and images."""
    rows = [
        ("Is the sky blue?", "yes"),
        ("Is it night?", "yes"),
        ("Is it cold?", "no"),
        ("Is it dark?", "no"),
        ("Is it raining?", "no"),
        ("Who is this?", "man"),
        ("Who is there?", "woman"),
        ("Who is that?", "man"),
    ]
    document = {str(900 + n): gqa_question("n1", text, answer, "query", "obj") for n, (text, answer) in enumerate(rows)}
    path = root / "train_balanced_questions.json"
    write(path, document)
    return path


def vizwiz_question(name: str, question: str, answers: list[str], answer_type: str, answerable: int) -> Json:
    return {
        "image": name,
        "question": question,
        "answers": [{"answer": answer, "answer_confidence": "maybe"} for answer in answers],
        "answer_type": answer_type,
        "answerable": answerable,
    }


def vizwiz_questions() -> list[Json]:
    """Questions are speech as it was written down; answers are not normalised."""
    unanswerable = ["unanswerable"] * 8 + ["beach", "unsuitable"]
    blurred = "Ok. There is another picture I hope it is a better one."
    return [
        vizwiz_question("VizWiz_val_00000000.jpg", blurred, unanswerable, "unanswerable", 0),
        vizwiz_question("VizWiz_val_00000001.jpg", "Can you tell me what this is?", ["night time"] * 10, "other", 1),
        vizwiz_question("VizWiz_val_00000002.jpg", "How many?", ["two"] * 7 + ["2"] * 3, "number", 1),
        vizwiz_question("VizWiz_val_00000003.jpg", "What is this", ["unanswerable"] * 2 + ["dog"] * 8, "other", 1),
    ]


def vizwiz(root: Path, split: str = "val") -> Path:
    """Write a split and its images, and return the file."""
    for n, colour in enumerate(("red", "green", "blue", "white")):
        picture(root / "val" / f"VizWiz_val_{n:08d}.jpg", colour)
    path = root / f"{split}.json"
    write(path, vizwiz_questions())
    return path


NOCAPS = {
    "in-domain": ["A brown dog sleeps on a bed"],
    "near-domain": ["A red bus stands by the road", "Two green parrots share a branch"],
    "out-domain": ["A jellyfish glows in dark water"],
}


def nocaps_document() -> Json:
    """Ten captions an image, not grouped by image; ids from 0, and a domain for each image."""
    texts = [("in-domain", 0), ("near-domain", 0), ("out-domain", 0), ("near-domain", 1)]
    images = [
        {
            "license": 0,
            "file_name": f"{i:016x}.jpg",
            "open_images_id": f"{i:016x}",
            "coco_url": f"https://s3.amazonaws.com/nocaps/val/{i:016x}.jpg",
            "height": 6,
            "width": 8,
            "date_captured": "2018-11-06 11:04:33",
            "id": i,
            "domain": domain,
        }
        for i, (domain, _) in enumerate(texts)
    ]
    annotations: list[Json] = [
        {"image_id": i, "id": 10 * i + k, "caption": f"{NOCAPS[domain][n]} ({k})."}
        for k in range(10)
        for i, (domain, n) in enumerate(texts)
    ]
    return {"info": {}, "licenses": [], "images": images, "annotations": annotations}


def nocaps_test(root: Path) -> Path:
    """Write the test split, which has images alone, without domains and captions, and return its file."""
    document = nocaps_document()
    del document["annotations"]
    for image in document["images"]:
        del image["domain"]
        picture(root / "test" / image["file_name"], "red")
    path = root / "nocaps_test_image_info.json"
    write(path, document)
    return path


def nocaps(root: Path, folder: str = "val") -> Path:
    """Write the val split and return its file."""
    for image, colour in zip(nocaps_document()["images"], ("red", "green", "blue", "white"), strict=True):
        picture(root / folder / image["file_name"], colour)
    path = root / "nocaps_val_4500_captions.json"
    write(path, nocaps_document())
    return path
