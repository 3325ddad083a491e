"""Taking the short answer out of what a chatty model wrote: "Yes, there is a dog." gives "yes".

No official scorer does this. It is a protocol of its own, with a version that is in the signature: a rule that changes
makes a new version beside the old one, which stays as it is.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["EXTRACTIONS", "extract_1"]

_EMPHASIS = re.compile(r"(\*{1,3}|`{1,3})(\S|\S.*?\S)\1")
_MARKER = re.compile(r"\banswer(?: to the question)?(?: is)?\s*:\s*|\banswer(?: to the question)? is\s+", re.IGNORECASE)
_YES_NO = re.compile(r"(yes|no)\b(?P<end>\s*(?:[,.;:!—–]|-\s|$))?", re.IGNORECASE)
_ASKS_YES_NO = re.compile(
    r"(?:is|isn't|are|aren't|was|wasn't|were|weren't|do|don't|does|doesn't|did|didn't|can|can't|could|couldn't|will|"
    r"won't|would|wouldn't|should|shouldn't|has|hasn't|have|haven't|had|hadn't|may|might|must)\b",
    re.IGNORECASE,
)
_LEAD = re.compile(
    r"(?:it|this|that|these|those|they|he|she|there)(?:'s|'re| is| are| was| were| appears to be| seems to be"
    r"| appear to be| seem to be| looks like| look like)(?: called)?\s+",
    re.IGNORECASE,
)
_END = re.compile(r"[.!?](?:\s|$)|;")
_ARTICLE = re.compile(r"(?:an?|the)\s+(?=\S)", re.IGNORECASE)
_WRAPPING = " \t\"'“”‘’.,:"


def extract_1(text: str, question: str) -> str:
    """Return the answer that ``text`` gives to ``question``, by version 1 of the rules.

    In this order: (1) marks of emphasis go; (2) what stands before the last "answer:" or "answer is" goes; (3) of lines
    the first with a word stays, without quotes and marks around it; (4) a leading yes or no is the answer if a mark or
    nothing follows it, or if the question asks for it (its first word is an auxiliary verb and it has no "or"); (5) one
    lead such as "it is" or "there are" goes; (6) the first sentence stays; (7) quotes and marks around it go, and one
    article before it; (8) letters are lowered. If nothing is left, the text is returned as it came, stripped. It cannot
    tell the answer in a sentence that repeats the question ("The cup is red" stays whole but for the article).

    >>> extract_1("Yes, there is a dog.", "Is there a dog?"), extract_1("No parking", "What does the sign say?")
    ('yes', 'no parking')
    >>> extract_1("The answer is **Two dogs**. They play.", "What is there?")
    'two dogs'
    """
    plain = _EMPHASIS.sub(r"\2", text)
    after = _MARKER.split(plain)[-1]
    line = next((line.strip(_WRAPPING) for line in after.splitlines() if line.strip(_WRAPPING)), "")
    said = _YES_NO.match(line)
    if said and (said["end"] is not None or _asks_yes_no(question)):
        return said[1].lower()
    rest = line[lead.end() :] if (lead := _LEAD.match(line)) else line
    answer = _END.split(rest, maxsplit=1)[0].strip(_WRAPPING)
    if article := _ARTICLE.match(answer):
        answer = answer[article.end() :]
    return answer.lower() or text.strip()


def _asks_yes_no(question: str) -> bool:
    return _ASKS_YES_NO.match(question.strip()) is not None and " or " not in question.lower()


EXTRACTIONS: Mapping[str, Callable[[str, str], str]] = {"1": extract_1}
"""The versions by the value of ``--task-arg extract=VERSION``."""
