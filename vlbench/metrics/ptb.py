r"""Penn Treebank tokens of captions in pure Python, as the official caption scorers see them.

The official pipeline runs ``PTBTokenizer -preserveLines -lowerCase`` of Stanford CoreNLP 3.4.1 in Java and drops a list
of punctuation tokens. BLEU, ROUGE-L and CIDEr count tokens, so a tokeniser that is nearly the same gives numbers that
are nearly the same. This one was made equal token for token by asking the Java tool about each form below, and
``tests/oracle/test_ptb_against_java.py`` asks again wherever Java is installed.

Differences that remain, on purpose or far from any caption:

* A caption is one line. In the official pipeline ``\r``, ``\f`` or U+2028 inside a caption ends its line, and every
  later caption is attributed to the wrong image; here they are blanks.
* A caption is followed by a line break and its own beginning. Officially the next caption follows, and whether the
  period of "Wii U." or "No." at a caption's end is part of the token depends on the next one's first word. The very
  last caption is read without a line break, and a smiley at its end falls apart.
* An emoji within an address that starts with a capital: ``Www.a.com/`` with one goes on after it in Java.
* Letters and digits follow this Python's Unicode tables; those that Unicode gained after 2011 vanish in Java.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, NamedTuple

from vlbench.metrics._ptb_characters import MARKS, REPLACED, SYMBOLS, letters

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["PUNCTUATION", "tokenize"]

# The list of coco-caption less its -LRB- and the like: those are written in capitals there and so never match the
# lower-cased tokens. That is why brackets stay in captions; "!!" and "?!" stay because they are not in the list.
PUNCTUATION = frozenset({"''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"})


class _Rule(NamedTuple):
    """A form of token: its pattern, and what must follow it.

    What must follow counts in the contest for the longest match but is left for the next token.
    """

    name: str
    token: str
    follow: str = ""


_APOSTROPHE = "(?:['\x92\u2019]|&apos;)"
_ANY_QUOTE = "(?:['`\x91\x92\u2018\u2019\u201b]|&apos;)"
_CLITIC = f"{_APOSTROPHE}(?i:[msd]|re|ve|ll)"
_INITIALS = r"[A-Za-z](?:\.[A-Za-z])+"
# Initials before letters: "a-b.c." must not be content with "a-b".
_HYPHENED = f"[A-Za-z\\d][A-Za-z\\d.,\xad]*(?:-(?:{_INITIALS}\\.|[A-Za-z\\d\xad]+))+"
_NAME = r"[A-Za-z][A-Za-z0-9_:.-]*"
_ATTRIBUTE = rf"""{_NAME}(?: *= *(?:'[^'\n]*'|"[^"\n]*"))?"""
_TAG = rf"<(?:[!?][A-Za-z-][^>\n]*|/{_NAME} *|{_NAME}(?: +{_ATTRIBUTE})* */? *)>"


def _words() -> tuple[_Rule, ...]:
    """Return the forms that are made of letters."""
    letter = f"[{letters()}]"
    # An accent may be written as an entity; a soft hyphen may stand in a word and is dropped from it.
    in_word = f"(?:[{letters()}{MARKS}\xad]|&(?i:[aeiou](?:acute|grave|uml));)"
    word = f"{in_word}(?:{in_word}|\\d)*(?:[.!?]{in_word}(?:{in_word}|\\d)*)*"
    part = f"(?:[dDoOlL]{_ANY_QUOTE}[{letters()}\\d])?[{letters()}\\d]+"
    compound = f"{part}(?:[-_\u058a\u2010\u2011]{part})*"
    company = r"[A-Z]+(?:(?:[+&]|&amp;)[A-Z]+)+"
    slashed = r"[A-Za-z\d]+(?:-[A-Za-z]+){0,2}(?:\\?/[A-Za-z\d]+(?:-[A-Za-z]+){0,2}){1,2}"
    return (
        _Rule("assimilated", "(?i:can(?=not)|gon(?=na)|got(?=ta)|lem(?=me)|gim(?=me)|wan(?=na))", "(?i:not|[nt]a|me)"),
        _Rule("tis", "(?i:'t)", "(?i:is|was)"),
        _Rule("before not", "[A-Za-z]*[A-MO-Za-mo-z]", f"[nN]{_ANY_QUOTE}[tT]"),
        _Rule("not", f"[nN]{_ANY_QUOTE}[tT]"),
        # Ahead of the vowel rule below, which would take SHE'LL whole.
        _Rule("before clitic", word, _CLITIC),
        _Rule("clitic", _CLITIC, "[^A-Za-z]"),
        _Rule("contracted", f"{_APOSTROPHE}(?i:n{_APOSTROPHE}?|em|cause|till?|[2-9]0s)"),
        _Rule("contracted", f"{_APOSTROPHE}[0-9]{{2}}", "[ \\t\\n]"),
        _Rule("contracted", f"(?i:[ldj]{_APOSTROPHE}|ol{_APOSTROPHE}|dunkin{_APOSTROPHE}|somethin{_APOSTROPHE})"),
        _Rule("contracted", f"(?i:c{_APOSTROPHE}est|e'er|ev'ry|li'l|nor'easter|c'mon|nat'l|s'mores|o{_APOSTROPHE}o)"),
        _Rule("contracted", f"[A-HJ-XZn]{_ANY_QUOTE}{letter}{{2,}}"),
        _Rule("contracted", f"{letter}+[aeiouyAEIOUY]{_ANY_QUOTE}[aeiouA-Z]{letter}*"),
        _Rule("you", f"[yY]{_APOSTROPHE}", in_word),
        _Rule("word", word),
        _Rule("compound", compound),
        _Rule("company", company),
        _Rule("slashed", slashed),
        # A period between a word and a comma can only be an abbreviation's.
        *(_Rule("abbreviation", f"{form}\\.", "[,;:\u3001]") for form in (word, compound, _HYPHENED, company)),
    )


def _abbreviations() -> tuple[_Rule, ...]:
    """Return the words that keep their period."""
    before_names = (
        "adj adm adv alex assoc asst atty ave brig capt cf cie cmdr col comdr cpl dept det drs? elec ens ft gen govs? "
        "hon insp invt jos lieut lt maj messrs mlle mme mrs? ms msgr mt natl pfc ph pres profs? pvt reps? rev sens? "
        "sfc sgt spc ste? supt vs wm"
    )
    anywhere = (
        "ph.d ed.d ala? apr ariz assn aug bancorp bhd bldg blvd bros calif colo conn corp cos? ct dak dec esq est etc "
        "ext feb fla fri ga inc ind intl jan jr jul jun kans? ky ltd mar md mich minn mo mon mont neb nev nov oct okla "
        "penn plc rd rt sept? seq sq sr sys tel tenn thu thurs tues? univ va vt wed wisc? wyo"
    )
    capital = "Ark Az Del Ill La Mass Miss Ore Pa Tex Wash"  # in lower case most of these are words
    starters = (
        "A About According Additionally After An As At But Earlier He Her Here However If In It Last Many More Mr. Ms. "
        "Now Once One Other Our She Since So Some Such That The Their Then There These They This We What When While "
        "Yet You"
    )
    files = (
        "bat bmp c class cgi cpp dll docx? exe gif gz h html? jar java jpe?g mov mp3 pdf php pl png ppt ps py sql tar "
        "txt wav x xml zip"
    )
    return (
        _Rule("abbreviation", rf"(?i:{_either(before_names)})\."),
        _Rule("abbreviation", r"[Mm][ft][Gg]\."),
        # Two characters of any kind make these longer than the word in "Jr.-w/", which then falls in two.
        _Rule(
            "abbreviation",
            rf"(?:(?i:{_either(anywhere)})|[Pp]?[Pp][Tt][ey][sS]?|{_capitalised(capital)})\.",
            r"[\s\S]{2}",
        ),
        _Rule("abbreviation", r"(?i:art|ca|figs?|nos?|op|pp|prop)\.", r"[ \t\n\xa0]?\d"),
        _Rule("abbreviation", r"[A-Za-z]\."),
        _Rule("abbreviation", rf"{_INITIALS}\."),
        # "Wii U. The" has two sentences, "J. Smith" is one name.
        _Rule("initial", "[A-Za-z]", rf"\.[ \t\n]+(?:{_capitalised(starters)}|{_TAG})[ \t\n]"),
        # After the abbreviations: "Jr.-5" is two tokens. But "St.-5" is one.
        _Rule("hyphened", _HYPHENED),
        # After the initials, because "D.C." is a place and no program in C.
        _Rule("address", rf"[{letters()}\d]+(?:\.[{letters()}\d]+)*\.(?i:{_either(files)})", "[ \t\n.,!?]"),
    )


def _either(words: str) -> str:
    return words.replace(".", r"\.").replace(" ", "|")


def _capitalised(words: str) -> str:
    """Return a pattern for ``words`` with a capital first and any case after it."""
    return _either(" ".join(f"{word[0]}(?i:{word[1:]})" for word in words.split()))


def _numbers() -> tuple[_Rule, ...]:
    gap = "[- \xa0]"
    subscriber = f"[0-9]{{3,4}}{gap}?[0-9]{{3,5}}"
    prefix = rf"(?:\+\+?)?[0-9]{{2,4}}{gap}"
    return (
        _Rule("number", "[-+]?(?:\\d*(?:[.:,\xad\u066b\u066c]\\d+)+|\\d+)"),
        _Rule("spaced", f"(?:\\d{{1,4}}{gap})?\\d{{1,4}}(?:\\\\?/|\u2044)\\d{{1,4}}"),
        _Rule("number", r"\d{1,2}[-/]\d{1,2}[-/]\d{2,4}"),  # a date
        _Rule("number", "[\u207a\u207b\u208a\u208b]?(?:[\u2070\xb9\xb2\xb3\u2074-\u2079]+|[\u2080-\u2089]+)"),
        # Telephone numbers, and whatever looks like one: "20 000 1000". Two rules, because with an optional part in
        # one the first way to match need not be the longest.
        _Rule("spaced", rf"\([0-9]{{2,3}}\)[ \xa0]?{subscriber}"),
        _Rule("spaced", f"{prefix}{subscriber}"),
        _Rule("spaced", f"{prefix}[0-9]{{2,4}}{gap}{subscriber}"),
        _Rule("currency", r"[A-Z]*\$"),
    )


def _technical() -> tuple[_Rule, ...]:
    """Return names of accounts, markup and smileys."""
    return (
        _Rule("address", r'(?i:https?)://[^ \t\n"<>|(){}]+[^ \t\n"<>|.!?(){},-]'),
        _Rule("address", "@[A-Za-z_][A-Za-z_0-9]*"),
        _Rule("address", f"#[{letters()}{MARKS}\xad]+"),
        _Rule("tag", _TAG),
        _Rule("entity", r"&(?:(?i:lt|gt|amp|quot|md|mdash|ndash)|apos|nbsp|#\d+);"),
        _Rule("smiley", r"[<>]?[:;=][-o*']?[()DPdpO\\{@|\[\]]", "[^A-Za-z0-9]"),
        _Rule("smiley", r"[-^x=~<>']_[-^x=~<>']"),
        _Rule("smiley", r"\((?:[-^x=~<>'][_.]?[-^x=~<>']|[\^x=~<>']-[\^x=~<>'`])\)"),
        _Rule("language", r"[cC]\+\+|[cCfF]#"),
    )


def _addresses() -> tuple[_Rule, ...]:
    """Return the addresses that can start with any word, so that the rest of the caption is searched for their end."""
    path = r'/[^ \t\n"<>|()]+[^ \t\n"<>|.!?(){},-]'
    www = r'www\.(?:[^ \t\n"<>|.!?(){},]+\.)+[a-zA-Z]{2,4}'
    # No slip of ours: everything from comma to underscore breaks a host without "www.", digits and capitals included.
    site = r"""(?:[^ \t\n"`'<>|.!?(){},-_$]+\.)+(?:com|net|org|edu)"""
    mail = r'[^ \t\n"<>|(){}\xa0'
    return (
        _Rule("address", www),
        _Rule("address", www + path),
        _Rule("address", site),
        _Rule("address", site + path),
        _Rule("address", rf"(?:&lt;|<)?[a-zA-Z0-9]{mail}]*@(?:{mail}.]+\.)*{mail}.]+(?:&gt;|>)?"),
    )


def _marks() -> tuple[_Rule, ...]:
    return (
        _Rule("run", r"[!?]+|\*+|_+|@+|#+|-{5,}|<<|>>|(?:\\\*){1,3}"),
        _Rule("quotes", "[`\x91-\x94\xab\xbb\u2018-\u201f\u2039\u203a]{1,2}"),
        _Rule("dropped", r"-{2,4}|\.{3,5}|\.(?:[ \xa0]\.){2,4}|''|``"),
        # An opening quote; without it the start of 'nice would be the 'n of "rock 'n".
        _Rule("dropped", "['`\x91\u2018\u201b]", r"[A-Za-z][^ \t\n\xa0]"),
        _Rule("clitic", _CLITIC),
        _Rule("bracket", "-(?i:[LR][RCS]B)-"),
        _Rule("symbol", f"[{''.join(map(re.escape, REPLACED))}{SYMBOLS}]"),
    )


_ENTITIES = {"&lt;": "<", "&gt;": ">", "&amp;": "&", "&QUOT;": "&quot;"}


def _spell(rule: str, text: str) -> str:
    """Write out the token ``text`` that was found as a ``rule``."""
    if rule == "dropped":
        return ""
    if rule in ("symbol", "quotes"):
        return "".join(REPLACED.get(character, character) for character in text)
    if rule == "entity":
        return _ENTITIES.get(text) or _ENTITIES.get(text.lower(), text if text.startswith("&#") else "")
    if rule == "address":
        return text
    if rule == "tag":
        return text.replace(" ", "\xa0")
    if rule in ("not", "clitic"):
        return re.sub("[\x91\u2018\u201b]", "`", re.sub("&apos;|[\x92\u2019]", "'", text))
    if rule in ("smiley", "spaced"):
        text = text.replace("(", "-lrb-").replace(")", "-rrb-").replace(" ", "\xa0")
    if rule == "company":
        text = text.replace("&amp;", "&")
    return text.replace("\xad", "")


class _Grammar(NamedTuple):
    pattern: re.Pattern[str]
    names: tuple[str, ...]


# Without one of these no address can match, and a long caption is not searched for it again at every token.
_ADDRESS = re.compile(r"@|www\.|\.(?:com|net|org|edu)")


@functools.cache
def _grammar(addresses: bool) -> _Grammar:
    """Compile the rules into one pattern of optional look-aheads, two groups a rule: with and without what follows.

    A lexer made by JFlex takes the longest match over all rules; alternatives in Python take the first that matches.
    Look-aheads side by side let every rule speak at a position, and the longest can be chosen.
    """
    rules = (*(_addresses() if addresses else ()), *_technical(), *_words(), *_abbreviations(), *_numbers(), *_marks())
    pattern = "".join(f"(?:(?=(({rule.token}){rule.follow}))|)" for rule in rules)
    return _Grammar(re.compile(pattern), tuple(rule.name for rule in rules))


_LINE_BREAKS = dict.fromkeys(map(ord, "\n\r\v\f\x85\u2028\u2029"), " ")
# Most words of most captions: nothing but letters up to a blank. They skip the contest, unless they fall in two.
_PLAIN_WORD = re.compile("[A-Za-z]+(?=,?[ \t])")
_TWO_WORDS = frozenset({"cannot", "gonna", "gotta", "lemme", "gimme", "wanna"})


def _next_token(grammar: _Grammar, text: str, position: int) -> tuple[str, int]:
    """Return the token that starts at ``position`` and where the next one may start."""
    plain = _PLAIN_WORD.match(text, position)
    if plain and plain.group().lower() not in _TWO_WORDS:
        return plain.group().lower(), plain.end()
    match = grammar.pattern.match(text, position)
    assert match is not None  # every look-ahead is optional
    spans = match.regs
    # max() keeps the first of equals, as JFlex does.
    winner = max(range(1, len(spans), 2), key=lambda group: spans[group][1])
    end = spans[winner + 1][1]
    if end < 0:
        return "", position + 1  # no rule: a character that Stanford's tokeniser does not know vanishes
    return _spell(grammar.names[winner // 2], text[position:end]).lower(), end


def _tokens(caption: str) -> Iterator[str]:
    line = caption.translate(_LINE_BREAKS).strip(" ")
    text = f"{line}\n{line[:20]}\n"
    grammar = _grammar(_ADDRESS.search(line) is not None)
    position = 0
    while position < len(line):
        if text[position] in " \t":
            position += 1
            continue
        token, position = _next_token(grammar, text, position)
        yield token


def tokenize(captions: Sequence[str]) -> list[str]:
    """Return each caption as its tokens, lower-cased, without punctuation, joined by single blanks.

    Every caption is tokenised on its own: result i depends on caption i only, and never holds a line break.
    """
    return [" ".join(token for token in _tokens(caption) if token and token not in PUNCTUATION) for caption in captions]
