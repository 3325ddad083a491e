"""Checks as text, Markdown, JUnit XML and JSON."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from vlbench.gate.verdict import Verdict, worst
from vlbench.leaderboard.columns import is_percent, scale, shown
from vlbench.leaderboard.comparison import markdown_line, text_table
from vlbench.leaderboard.groups import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vlbench.gate.verdict import Check

SCHEMA = "vlbench.check/1"
HEADINGS = ("task", "against", "metric", "baseline", "current", "drop", "bounds", "allowed", "verdict")
_SUITE = "vlbench check"


def sentence(check: Check) -> str:
    """Return the verdict of one check with all that it rests on, as one line."""
    if check.drop is None:
        return printable(f"{check.task}: {check.verdict.word}: {check.reason}")
    factor, unit = scale(check.metric).factor, " points" if is_percent(check.metric) else ""
    shows = {
        Verdict.PASS: "is shown not to exceed",
        Verdict.REGRESSED: "is shown to exceed",
        Verdict.INCONCLUSIVE: "may or may not exceed",
    }[check.verdict]
    whole = check.seen == check.samples
    return printable(
        f"{check.task}: {check.verdict.word}: {check.metric} of {check.models[1]} dropped by "
        f"{check.drop.value * factor:.4g} from the {check.against} {check.models[0]} "
        f"(between {check.drop.low * factor:.4g} and {check.drop.high * factor:.4g}), which {shows} "
        f"{check.rule.max_drop * factor:.4g}{unit} (of the {check.rule.estimand}, alpha {check.rule.alpha:g}, "
        f"{'all ' if whole else ''}{check.seen}{'' if whole else f' of {check.samples}'} samples)"
    )


def to_text(checks: Sequence[Check]) -> str:
    """Return a table and a line for each check."""
    return text_table(HEADINGS, map(_cells, checks)) + "\n" + "".join(f"{sentence(check)}\n" for check in checks)


def to_markdown(checks: Sequence[Check]) -> str:
    """Return a heading with the verdict that counts, a table, and a list of the checks that did not pass."""
    lines = [f"## vlbench check: {worst(checks).word}", "", markdown_line(HEADINGS)]
    lines += [markdown_line(["---"] * len(HEADINGS)), *(markdown_line(_cells(check)) for check in checks), ""]
    lines += [f"- {_plain(sentence(check))}" for check in checks]
    return "\n".join([*lines, ""])


def to_junit(checks: Sequence[Check]) -> str:
    """Return JUnit XML, one test case a check.

    Regressed is a failure, not comparable and failed are errors, inconclusive is skipped: the last is no failure of the
    model, and a server that counts failures must not count it.
    """
    kinds = {
        Verdict.REGRESSED: "failure",
        Verdict.NOT_COMPARABLE: "error",
        Verdict.FAILED: "error",
        Verdict.INCONCLUSIVE: "skipped",
    }
    named = [kinds.get(check.verdict) for check in checks]
    counts = {
        f"{kind}s" if kind != "skipped" else kind: str(named.count(kind)) for kind in dict.fromkeys(kinds.values())
    }
    suite = ElementTree.Element("testsuite", {"name": _SUITE, "tests": str(len(checks)), **counts})
    for check, kind in zip(checks, named, strict=True):
        name = f"{check.task} {check.metric} against {check.against}".replace("  ", " ")
        case = ElementTree.SubElement(suite, "testcase", {"classname": _SUITE, "name": printable(name)})
        if kind is not None:
            ElementTree.SubElement(case, kind, {"message": sentence(check), "type": check.verdict.word})
        else:
            ElementTree.SubElement(case, "system-out").text = sentence(check)
    suites = ElementTree.Element("testsuites")
    suites.append(suite)
    ElementTree.indent(suites)
    return ElementTree.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def to_json(checks: Sequence[Check]) -> str:
    """Return one document: the verdict that counts, its exit code, and the checks."""
    verdict = worst(checks)
    document = {
        "schema": SCHEMA,
        "verdict": verdict.word,
        "exit_code": verdict.exit_code,
        "checks": [{**dataclasses.asdict(check), "verdict": check.verdict.word} for check in checks],
    }
    return json.dumps(document, indent=2) + "\n"


def _cells(check: Check) -> list[str]:
    name, factor, drop = check.metric, scale(check.metric).factor, check.drop
    numbers = ["", "", "", ""]
    if drop is not None:
        bounds = f"[{drop.low * factor:.4g}, {drop.high * factor:.4g}]"
        numbers = [shown(name, drop.baseline), shown(name, drop.current), f"{drop.value * factor:.4g}", bounds]
    allowed = f"{check.rule.max_drop * factor:.4g}"
    return [printable(check.task), check.against, printable(name), *numbers, allowed, check.verdict.word]


def _plain(text: str) -> str:
    return text.replace("<", "&lt;").replace(">", "&gt;").replace("|", "\\|")
