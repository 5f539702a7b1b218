"""The rules: what is asked of the evidence, in the order in which the answers depend on it.

A row each. ``unless`` is what keeps the sentences of a verdict from contradicting each other:
a later rule is silent where an earlier one has found something that takes the ground from it.
"""

from __future__ import annotations

from tellapart.verdict import (
    about_classes,
    about_confidence,
    about_fit,
    about_number,
    about_training,
)
from tellapart.verdict.evidence import Evidence
from tellapart.verdict.rule import Rule
from tellapart.verdict.verdict import Conclusion

#: Nothing can be said of how well classes are told apart.
_SAYS_NOTHING = ("no_labels", "one_class", "single_prediction")
#: ... or nothing is left to look at more closely.
_NOTHING_LEARNED = (*_SAYS_NOTHING, "learned")

RULES: tuple[Rule, ...] = (
    # --- the number ---
    Rule("no_labels", "Are there labelled images at all?", about_number.no_labels, True),
    Rule("leak", "Were images of it used in training?", about_number.leak, True),
    Rule("not_sought", "Could changed copies be looked for?", about_number.not_sought, True,
         ("no_labels",)),
    Rule("one_class", "Are there images of at least two classes?", about_number.one_class, True),
    Rule("single_prediction", "Does it give more than one answer?",
         about_number.single_prediction, True),
    Rule("learned", "Is it better than guessing?", about_number.learned, True, _SAYS_NOTHING),
    Rule("few_images", "Are there enough images?", about_number.few_images, True, ("no_labels",)),
    Rule("few_groups", "Are the images independent?", about_number.few_groups, True,
         ("no_labels", "few_images")),
    Rule("never_predicted", "Is every class ever the answer?", about_classes.never_predicted, True,
         _SAYS_NOTHING),
    Rule("majority", "Is it better than one answer for all?", about_number.majority, True,
         _NOTHING_LEARNED),
    Rule("rare_class", "Does the number say something of every class?", about_number.rare_class,
         True, _NOTHING_LEARNED),
    Rule("missing_classes", "Does every class have images?", about_number.missing_classes, True,
         ("no_labels", "one_class")),
    Rule("interrupted", "Did training come to its end?", about_number.interrupted, True),
    Rule("no_test", "Is it measured on images that chose nothing?", about_number.no_test, True,
         ("no_labels",)),
    Rule("frames", "Do images of one series lie in different parts?", about_number.frames, True,
         ("no_labels",)),
    Rule("unlike", "Are the images like the training ones?", about_number.unlike, True,
         ("no_labels",)),
    Rule("borderline", "Are there pairs that may be copies?", about_number.borderline),
    Rule("validation_leak", "Were the images that chose used to train?",
         about_training.validation_leak),
    Rule("shift", "Are the images of the kind that it was chosen on?", about_fit.shift, True,
         ("no_labels", "one_class", "validation_leak")),
    # --- fitting ---
    Rule("underfitting", "Does it fit its own training images?", about_fit.underfitting),
    Rule("fitting", "Is it better on images that it was trained on?", about_fit.fitting,
         unless=("underfitting", "validation_leak")),
    # --- classes ---
    Rule("weak_class", "Is a class found much less often?", about_classes.weak_class,
         unless=_NOTHING_LEARNED),
    Rule("confusion", "Is a class often taken for another?", about_classes.confusion,
         unless=_NOTHING_LEARNED),
    Rule("classes_alike", "Are the classes found equally often?", about_classes.classes_alike,
         unless=(*_NOTHING_LEARNED, "weak_class", "never_predicted")),
    Rule("few_class_images", "Does every class have enough images?",
         about_classes.few_class_images, unless=(*_SAYS_NOTHING, "rare_class")),
    Rule("no_mistakes", "Is anything wrong?", about_classes.no_mistakes, unless=_SAYS_NOTHING),
    # --- confidence ---
    Rule("confidence", "Can its confidence be taken at its word?", about_confidence.confidence,
         unless=_NOTHING_LEARNED),
    Rule("temperature", "Did the temperature help?", about_confidence.temperature,
         unless=_SAYS_NOTHING),
    Rule("sure_mistakes", "Was it sure of its mistakes?", about_confidence.sure_mistakes,
         unless=_NOTHING_LEARNED),
    # --- training ---
    Rule("epochs", "Would more epochs help?", about_training.epochs, unless=("interrupted",)),
    Rule("rate_steps", "When did the learning rate drop?", about_training.rate_steps),
)  # fmt: skip


def conclusions_of(evidence: Evidence) -> tuple[Conclusion, ...]:
    """What the rules find, the weightiest first; none contradicts another."""
    found: dict[str, Conclusion] = {}
    for rule in RULES:
        if any(key in found and found[key].judgement != "good" for key in rule.unless):
            continue
        conclusion = rule.ask(evidence)
        if conclusion is not None:
            found[rule.key] = conclusion
    return tuple(sorted(found.values(), key=lambda conclusion: -conclusion.weight))
