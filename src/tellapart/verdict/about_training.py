"""Rules about the course of training."""

from __future__ import annotations

from tellapart.evaluation.curve_shape import epochs_of, rate_drops, shape_of
from tellapart.verdict.evidence import Evidence
from tellapart.verdict.rule import Found

#: So many steps of the learning rate are told one by one.
_STEPS = 4


def epochs(evidence: Evidence) -> Found | None:
    """Would more epochs help, or did the later ones harm?"""
    training = evidence.training
    shape = shape_of(training.history)
    if shape is None:
        return None
    kept = training.kept_epoch
    of = f"epoch {shape.lowest_epoch:g} of {shape.last_epoch:g}"
    if shape.kind == "rising":
        course = (
            f"After epoch {shape.lowest_epoch:g} it learned its training images by heart: the "
            f"validation loss rises from {shape.lowest_loss:.3g} to {shape.last_loss:.3g} while "
            f"the train loss falls from {shape.train_then:.3g} to {shape.train_last:.3g}."
        )
        if kept is not None and kept <= shape.lowest_epoch:
            return Found(
                "good",
                12,
                f"{course} The weights of epoch {kept} were kept, so that did no harm.",
            )
        which = f" The weights of epoch {kept} were kept." if kept is not None else ""
        return Found("bad", 47, f"{course}{which}")
    if shape.kind == "falling":
        if training.ended_by:  # by early stopping or the clock: that is no advice any more
            return None
        return Found(
            "bad",
            44,
            f"More epochs would probably help: the validation loss was still falling when training "
            f"ended after epoch {shape.last_epoch:g} (from {shape.recent_loss:.3g} to "
            f"{shape.last_loss:.3g} over the last {shape.recent} epochs).",
        )
    if shape.kind == "ran_down":
        return Found(
            "too_few",
            5,
            f"The validation loss was lowest at {of} ({shape.lowest_loss:.3g}). The schedule "
            f"brought the learning rate down to {shape.last_rate:.2g}, which ends learning by "
            "itself, so the curve does not say whether a longer training would help.",
        )
    return Found(
        "good",
        17,
        f"More epochs would hardly help: the validation loss was lowest at {of} "
        f"({shape.lowest_loss:.3g}) and has levelled off.",
    )


def rate_steps(evidence: Evidence) -> Found | None:
    """When the learning rate dropped."""
    history = evidence.training.history
    drops = rate_drops(history)
    if not drops:
        return None
    steps = [f"before epoch {epoch:g} to {rate:.2g}" for epoch, rate in drops[:_STEPS]]
    rest = len(drops) - _STEPS
    more = f" and {rest} more time{'' if rest == 1 else 's'}" if rest > 0 else ""
    return Found(
        "good",
        0,
        f"The learning rate dropped {', '.join(steps)}{more} (at first "
        f"{history[0]['learning_rate']:.2g}, {len(epochs_of(history))} epochs in all).",
    )


def validation_leak(evidence: Evidence) -> Found | None:
    """Validation images that were trained on, though not left out."""
    leaked, validation = evidence.validation_leak, evidence.validation
    if not leaked or validation is None or evidence.shown.part == "validation":
        return None
    one = leaked == 1
    return Found(
        "bad",
        48,
        f"{leaked:,} of the validation images {'was' if one else 'were'} also used to train, so "
        "what they chose, such as the epoch and the temperature, rests on images that it knew.",
    )
