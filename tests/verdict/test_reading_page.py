"""docs/reading-a-report.md names every rule and every action, and nothing that is not there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tellapart.verdict import actions
from tellapart.verdict.rules import RULES

PAGE = (Path(__file__).parents[2] / "docs" / "reading-a-report.md").read_text("utf-8")


def keys_of(text: str) -> list[str]:
    return re.findall(r"^\| `(\w+)` \|", text, flags=re.MULTILINE)


def test_every_rule_has_its_condition_and_every_condition_its_rule() -> None:
    rules, _, _ = PAGE.partition("## What will it do?")
    assert sorted(keys_of(rules)) == sorted(rule.key for rule in RULES)
    assert len({rule.key for rule in RULES}) == len(RULES)


def test_the_rules_about_the_number_are_those_of_the_light() -> None:
    section = PAGE.partition("## Rules about the number")[2].partition("\n## ")[0]
    assert sorted(keys_of(section)) == sorted(r.key for r in RULES if r.about_number)


def test_every_action_stands_there() -> None:
    section = PAGE.partition("## What next?")[2]
    tree = ast.parse(Path(actions.__file__).read_text("utf-8"))
    made = {
        node.args[0].value for node in ast.walk(tree)
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Action"
    }  # fmt: skip
    assert set(keys_of(section)) == made and len(made) > 10


def test_a_rule_is_silent_only_beside_rules_that_come_before_it() -> None:
    for place, rule in enumerate(RULES):
        assert set(rule.unless) <= {before.key for before in RULES[:place]}, rule.key


def test_the_numbers_of_the_page_are_those_of_the_code() -> None:
    from tellapart.verdict import about_classes, about_confidence, about_fit, about_number

    rows = dict(re.findall(r"^\| `(\w+)` \|(.*)$", PAGE, flags=re.MULTILINE))
    for key, numbers in {
        "leak": [f"{100 * about_number.LEAKED_SHARE:g} %", f"{100 * about_number.LEAKED_LIFT:g} p",
                 f"{100 * about_number.COUNTED_SHARE:g} %",
                 f"{100 * about_number.COUNTED_LIFT:g} p",
                 f"{100 * about_number.HARMLESS_SHARE:g} %"],
        "few_images": [f"{100 * about_number.WIDE:g} points",
                       f"than {100 * about_number.FAR_TOO_WIDE:g}"],
        "few_groups": [str(about_number.FEW_GROUPS)],
        "unlike": [f"{100 * about_number.MANY_UNLIKE:g} %"],
        "majority": [f"{about_number.UNEVEN} times"],
        "rare_class": [f"{about_number.UNEVEN} times", f"than {about_number.RARE} images"],
        "shift": [f"{100 * about_fit.SMALL_SHIFT:g} points", f"{100 * about_fit.LARGE_SHIFT:g} po"],
        "fitting": [f"{100 * about_fit.SMALL_GAP:g} points", f"than {100 * about_fit.LARGE_GAP:g}"],
        "underfitting": [f"{100 * about_fit.FITTED:g} %"],
        "weak_class": [f"{100 * about_classes.OFTEN:g} %", f"{100 * about_classes.BEHIND:g} po"],
        "confusion": [f"{100 * about_classes.MUCH:g} %", f"{about_classes.AT_LEAST} images",
                      f"{100 * about_classes.SURELY:g} %"],
        "few_class_images": [str(about_classes.FEW_IMAGES)],
        "confidence": [f"{about_confidence.LARGE_ERROR}", f"{about_confidence.SURE_ERROR}",
                       f"{about_confidence.SMALL_ERROR}"],
        "sure_mistakes": [f"{100 * about_confidence.SURE:g} %"],
        "fine_tune": [str(actions.ENOUGH_TO_FINE_TUNE), f"{100 * actions.HARD_TO_BETTER:g} %"],
        "pretrained": [f"{actions.FEW_FOR_SCRATCH:,}"],
    }.items():  # fmt: skip
        for number in numbers:
            assert number in rows[key], (key, number)
