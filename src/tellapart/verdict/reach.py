"""From evidence to verdict: the one place where all that is known comes together."""

from __future__ import annotations

from tellapart.verdict.actions import actions_of
from tellapart.verdict.classes import class_sentences
from tellapart.verdict.evidence import Evidence
from tellapart.verdict.light import answer_of, light_of, reasons_of, remains_of
from tellapart.verdict.rules import conclusions_of
from tellapart.verdict.verdict import Verdict


def reach_verdict(evidence: Evidence) -> Verdict:
    """The verdict on a result.

    Beside a red light nothing is praised: where the number cannot be believed, what is good
    about it cannot either.
    """
    conclusions = conclusions_of(evidence)
    light = light_of(conclusions)
    if light == "red":
        conclusions = tuple(c for c in conclusions if c.judgement != "good")
    reasons = reasons_of(conclusions)
    return Verdict(
        light=light,
        answer=answer_of(light, evidence, conclusions),
        reasons=reasons,
        remains=remains_of(light, evidence),
        classes=class_sentences(evidence),
        actions=actions_of(evidence, conclusions),
        findings=tuple(c for c in conclusions if c not in reasons),
    )
