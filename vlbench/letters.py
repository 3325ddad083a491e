"""Choosing by letter: a model that follows instructions sees all options and names one, in the protocol ``letters-v1``.

The options stand under the prompt as ``A. …``, one a line; at most 16 tokens are written. An answer names an option if

1. it begins with a letter that ends there or is followed by a mark (``B``, ``b) two dogs``, ``**C**``); else
2. exactly one letter follows the word "answer", "option" or "choice", or stands in brackets; else
3. it repeats the words of exactly one option.

Anything else names none. What changes these rules takes the next version: the name is in the signature.
"""

from __future__ import annotations

import re
import string
from typing import TYPE_CHECKING

from vlbench.errors import UsageError
from vlbench.types import Decoding

if TYPE_CHECKING:
    from collections.abc import Sequence

ROUTE = "letters-v1"
TEMPLATE = "{prompt}\n{choices}\nAnswer with the letter of the right option only."
DECODING = Decoding(max_new_tokens=16)

_ALONE = re.compile(r"[\W_]*([A-Za-z])[\W_]*")
# A mark must follow: "A dog runs" begins with an article, not with a letter.
_FIRST = re.compile(r"[\W_]*(?:([A-Za-z])[).:\]]|([A-Z])\s*[,*\n])")
_NAMED = re.compile(
    r"\b(?i:answer|option|choice)(?:\s+is)?\s*:?\s*[(*\"'\[]*(?:([A-Z])\b(?!['’])|([a-z])[\W_]*$)|[(\[]([A-Za-z])[)\]]"
)


def ask(template: str, prompt: str, options: Sequence[str]) -> str:
    r"""Return ``template`` filled in; raises ``UsageError`` for more options than letters.

    >>> ask("{prompt} {choices}", "Which?", ["one", "two"])
    'Which? A. one\nB. two'
    """
    letters = string.ascii_uppercase
    if len(options) > len(letters):
        raise UsageError(f"{len(options)} options cannot be told apart by letter; {len(letters)} are the most")
    lines = (f"{letter}. {option}" for letter, option in zip(letters, options, strict=False))
    return template.format(prompt=prompt, choices="\n".join(lines))


def read(answer: str, options: Sequence[str]) -> int | None:
    """Return the index of the option that ``answer`` names, or None.

    >>> [read(answer, ["a cat", "two dogs"]) for answer in ("B", "(a) a cat", "The answer is B.", "two dogs!", "A dog")]
    [1, 0, 1, 1, None]
    """
    begins = _ALONE.fullmatch(answer) or _FIRST.match(answer)
    found = [begins] if begins else _NAMED.finditer(answer)
    named = {next(filter(None, match.groups())).upper() for match in found}
    if len(named) == 1 and (index := string.ascii_uppercase.index(named.pop())) < len(options):
        return index
    repeated = [n for n, option in enumerate(options) if _words(option) == _words(answer)]
    return repeated[0] if len(repeated) == 1 else None


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())
