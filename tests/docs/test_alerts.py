"""The alert rules name only metrics that exist, and the page explains each of them."""

from __future__ import annotations

import re
from pathlib import Path

import generate

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to"
RULES = (HOW_TO / "slt-alerts.yml").read_text(encoding="utf-8")


def test_every_metric_of_a_rule_exists():
    known = set(re.findall(r"^\| `(slt_\w+)` \|", generate.pages()["metrics.md"], re.MULTILINE))
    used = set(re.findall(r"\bslt_\w+", "\n".join(re.findall(r"expr: (.*)", RULES))))
    assert used
    assert used <= known


def test_every_rule_is_explained_and_every_explanation_has_its_rule():
    page = (HOW_TO / "monitor.md").read_text(encoding="utf-8")
    rules = re.findall(r"alert: (\w+)", RULES)
    explained = [
        name for row in re.findall(r"^\| (`Slt.*?) \|", page, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)
    ]
    assert sorted(rules) == sorted(explained)
    assert RULES.count("expr:") == RULES.count("severity:") == RULES.count("summary:") == len(rules)


def test_every_part_of_the_score_that_a_rule_names_is_in_the_table():
    page = (HOW_TO / "monitor.md").read_text(encoding="utf-8")
    for part in re.findall(r'part="(\w+)"', RULES):
        assert f"| `{part}` |" in page
