"""Which characters are letters, marks, digits and symbols to the tokeniser of 2014; all others vanish from its output.

Observed by tokenising every character of the Basic Multilingual Plane in Java, alone, between letters and between
digits. Characters beyond that plane (emoji, mathematical letters) are pairs of surrogates to it and vanish as well.
"""

from __future__ import annotations

import functools
import unicodedata

__all__ = ["DIGIT", "MARKS", "REPLACED", "SYMBOLS", "letters"]

# Join words, but not numbers: accents, vowel signs, and what else lies in their blocks.
MARKS = (
    "\u02c2-\u02c5\u02d2-\u02df\u02e5-\u02eb\u02ed\u02ef-\u036f\u0375\u0378\u0379\u0384\u0385\u03f6\u0483-\u0487"
    "\u055a-\u055f\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0615-\u061a\u064b-\u065e\u0670\u06d6-\u06e4"
    "\u06e7-\u06ed\u06fd\u06fe\u070f\u0711\u0730-\u074c\u07a6-\u07b0\u07eb-\u07f3\u0900-\u0903\u093c\u093e-\u094e"
    "\u0951-\u0955\u0962\u0963\u0981-\u0983\u09bc\u09be-\u09c4\u09c7\u09c8\u09cb-\u09cd\u09d7\u09e2\u09e3"
    "\u0a01-\u0a03\u0a3c\u0a3e-\u0a4f\u0a81-\u0a83\u0abc\u0abe-\u0acf\u0b82\u0bbe-\u0bc2\u0bc6-\u0bc8\u0bca-\u0bcd"
    "\u0c01-\u0c03\u0c3e-\u0c56\u0d3e-\u0d44\u0d46-\u0d48\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u0eb1\u0eb4-\u0ebc"
    "\u0ec8-\u0ecd"
)

# Each is a token of its own wherever no longer form holds it.
SYMBOLS = (
    "!$-'*-/:-@\\\\\\^-`|~\xa1\xa5-\xa9\xac\xae-\xb4\xb6-\xb9\xbf\xd7\xf7\u037e\u0387\u0589\u05be\u05c0\u05c3\u05c6"
    "\u05f3\u05f4\u0600-\u0603\u0606-\u060c\u0614\u061b\u061e\u061f\u066a\u066d\u06d4\u0700-\u070d\u07f6-\u07f8"
    "\u0964\u0965\u0e3f\u0e4f\u1fbd\u2016\u2017\u201a\u201e\u201f\u2020-\u2023\u2030-\u2038\u203b\u203e-\u2042\u2044"
    "\u2070\u2074-\u207e\u2080-\u208e\u20a4\u2100\u2101\u2103-\u2106\u2108\u2109\u2114\u2116-\u2118\u211e-\u2123"
    "\u2125\u2127\u2129\u212e\u213a\u213b\u2140-\u2144\u214a-\u214d\u214f\u2155-\u215e\u2190-\u2bff\u3001\u3002\u3012"
    "\u30fb\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65\uffe0\uffe1\uffe5\uffe6"
)

# Symbols that come out as something else. 0x80 and 0xa4 are the euro of Windows-1252 and of its predecessors, 0x91 to
# 0x97 are the quotes and dashes of Windows-1252; a lone soft hyphen is a hyphen.
REPLACED = {
    **dict.fromkeys("\x80\xa4\u20a0\u20ac", "$"),
    "\xa2": "cents",
    "\xa3": "#",
    "\xad": "-",
    "\xbc": "1/4",
    "\xbd": "1/2",
    "\xbe": "3/4",
    "\u2153": "1/3",
    "\u2154": "2/3",
    "\u2026": "...",
    **dict.fromkeys("\x96\x97\u2013\u2014\u2015", "--"),
    **dict.fromkeys("\x91\u2018\u201b\u2039", "`"),
    **dict.fromkeys("\x92\u2019\u203a", "'"),
    **dict.fromkeys("\x93\xab\u201c", "``"),
    **dict.fromkeys('"\x94\xbb\u201d', "''"),
    "(": "-lrb-",
    ")": "-rrb-",
    "[": "-lsb-",
    "]": "-rsb-",
    "{": "-lcb-",
    "}": "-rcb-",
}

DIGIT = r"\d"


@functools.cache
def letters() -> str:
    """Return the letters of the Basic Multilingual Plane as the inside of a character class."""
    ranges: list[list[int]] = []
    for code in range(0x10000):
        if unicodedata.category(chr(code))[0] != "L":
            continue
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "".join(chr(first) if first == last else f"{chr(first)}-{chr(last)}" for first, last in ranges)
