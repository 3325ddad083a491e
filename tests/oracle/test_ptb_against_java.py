"""The Python tokeniser against Stanford's PTBTokenizer in Java, on generated captions full of awkward forms."""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path

import pytest
from pycocoevalcap.tokenizer import ptbtokenizer as official

from vlbench.metrics.ptb import PUNCTUATION, tokenize

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("java") is None, reason="Java is not installed"),
]

CAPTIONS = 10_000
FORMS = (
    "a the man woman dog dogs cat red-haired ice-cream t-shirt skateboarder's tennis playing isn't can't cannot won't "
    "don't gonna gotta wanna lemme it's he'll they've I'm we'd 'tis o'clock ol' rock 'n' roll y'all ma'am D'Angelo "
    "Dr. Mr. St. Ave. U.S. U.K. a.m. p.m. e.g. i.e. etc. Jr. Inc. vs. No. fig. Jan. Mon. ph.d. Wash. J. "
    "1 2 10 100 1,000 1/2 3-4 10:30 3.5 50% $5 #1 1st 2nd 90's '90s 20th 747 555-1234 12/25/2014 -5 +7 5' 6\" 4x4 "
    "and/or w/ @home me@x.com www.cats.com http://a.b/c C++ R&B AT&T &amp; &lt; <b> </b> :) ;-) ^_^ cafe "
    "caf\xe9 jalape\xf1o na\xefve \xbd \xbe \xb0 \xa3 \u20ac \u2019 \u2018 \u201c \u201d \u2013 \u2014 \u2026 "
    "Z\xfcrich \u65e5\u672c \u043a\u043e\u0442 \U0001f600 (left) [right] {both} (a ) -- --- ... .. !! ?! ; : , . ' "
    "\" ` `` '' _ __ * ** ~ = + % ^ | \\ / // < > <> & # @"
)
WORDS = FORMS.split()
JOINTS = (" ",) * 12 + (
    "",
    "-",
    "/",
    ", ",
    ". ",
    "; ",
    "'",
    "' ",
    " '",
    "\u2019",
    '"',
    ' "',
    "(",
    ") ",
    "  ",
    "\t",
    "...",
)
CHARACTERS = "aeiosTZ015 .,'\"-/!?:;()[]&#$%*_+=~\u2019\u2018\u201c\u2013\xe9\xbd\u0301\xad"


def generated(seed: int) -> list[str]:
    """Return words of captions joined by odd joints, and, one in five, strings of odd characters."""
    rng = random.Random(seed)
    captions = []
    for _ in range(CAPTIONS):
        if rng.random() < 0.2:
            captions.append("".join(rng.choices(CHARACTERS, k=rng.randint(1, 30))))
            continue
        words = [rng.choice(WORDS) for _ in range(rng.randint(1, 12))]
        if rng.random() < 0.3:
            words[0] = words[0].capitalize()
        text = words[0] + "".join(rng.choice(JOINTS) + word for word in words[1:])
        captions.append(text + rng.choice(("", "", ".", " .", "!", "?", "...", '"', ")", ". ")))
    return captions


def stanford(captions: list[str], tmp_path: Path) -> list[str]:
    """Tokenise in Java. Each caption is followed by itself: a period at its end is judged by what comes next."""
    text = tmp_path / "captions.txt"
    text.write_text("".join(f"{caption}\n{caption}\n" for caption in captions), encoding="utf-8")
    jar = Path(official.__file__).parent / official.STANFORD_CORENLP_3_4_1_JAR
    tool = "edu.stanford.nlp.process.PTBTokenizer"
    command = ["java", "-Dfile.encoding=UTF-8", "-cp", str(jar), tool, "-preserveLines", "-lowerCase", str(text)]
    done = subprocess.run(command, capture_output=True, check=True)
    lines = done.stdout.decode("utf-8").split("\n")
    assert len(lines) >= 2 * len(captions), "a caption ended its line"
    return [
        " ".join(token for token in line.rstrip().split(" ") if token not in PUNCTUATION)
        for line in lines[: 2 * len(captions) : 2]
    ]


@pytest.mark.parametrize("seed", [2014, 7])
def test_ten_thousand_awkward_captions(seed: int, tmp_path: Path) -> None:
    captions = generated(seed)
    theirs = stanford(captions, tmp_path)
    ours = tokenize(captions)
    wrong = [(c, t, o) for c, t, o in zip(captions, theirs, ours, strict=True) if t != o]
    shown = "\n".join(f"{caption!r}\n  java   {java!r}\n  python {python!r}" for caption, java, python in wrong[:20])
    assert not wrong, f"{len(wrong)} of {len(captions)} differ:\n{shown}"
