"""Rules about confidence: can the probabilities be taken at their word?"""

from __future__ import annotations

from tellapart.verdict.about_number import is_contaminated
from tellapart.verdict.evidence import Evidence
from tellapart.verdict.rule import Found
from tellapart.verdict.words import images_of, share_of
from tellapart.wording import are, some_of

#: Mean confidence this far above the accuracy is a lot.
FAR_TOO_SURE = 0.05
#: A calibration error that is surely below this is good.
SMALL_ERROR = 0.08
#: One that is above the first, and surely above the second, is not.
LARGE_ERROR, SURE_ERROR = 0.05, 0.02
#: The bin of confidence from which an answer is called sure, and how many mistakes are told.
SURE, FEWEST_SURE_MISTAKES = 0.93, 3


def confidence(evidence: Evidence) -> Found | None:
    """Mean confidence against accuracy, and the calibration error."""
    shown = evidence.shown
    if not shown.images or shown.mean_confidence is None or not shown.calibration_error.known:
        return None
    if is_contaminated(evidence):
        return None
    mean, (value, low, high) = shown.mean_confidence, shown.accuracy.measured()
    error, least, most = shown.calibration_error.measured()
    says = f"on average it is {share_of(mean)} sure and right on {share_of(value)}"
    off = f"(calibration error {error:.3f})"
    if mean > high:
        weight = 58 if mean - value > FAR_TOO_SURE else 36
        return Found("bad", weight, f"It is too sure of itself: {says} {off}.")
    if mean < low:
        return Found("bad", 33, f"It is not sure enough: {says} {off}.")
    if error > LARGE_ERROR and least > SURE_ERROR:
        return Found(
            "bad",
            32,
            f"Its confidence is too high in some ranges and too low in others: {says} {off}.",
        )
    if most < SMALL_ERROR:
        return Found("good", 25, f"Its confidence can be taken at its word: {says} {off}.")
    return Found(
        "too_few",
        6,
        f"Too few images to tell whether its confidence can be taken at its word: {says} {off}.",
    )


def temperature(evidence: Evidence) -> Found | None:
    """What the temperature, fitted on validation, did to the shown part."""
    gain = evidence.temperature_gain
    if evidence.own and evidence.shown.part == "validation":
        return None  # on which it was fitted
    if gain is None or not evidence.shown.log_loss.known or is_contaminated(evidence):
        return None
    value, low, high = gain.measured()
    after = evidence.shown.log_loss.measured()[0]
    if f"{after + value:.3f}" == f"{after:.3f}":
        return None  # it changed nothing that could be told
    losses = f"log loss {after + value:.3f} before, {after:.3f} after"
    of = f"The temperature of {evidence.temperature:.2f}, fitted on the validation images,"
    here = images_of(evidence.shown.part)
    if high < 0.0:
        return Found("bad", 46, f"{of} made the confidence on the {here} worse: {losses}.")
    if value < 0.0:
        return Found(
            "too_few",
            12,
            f"{of} made the confidence on the {here} worse, which may be chance: {losses}.",
        )
    if low > 0.0:
        return Found("good", 0, f"{of} made the confidence on the {here} better: {losses}.")
    return Found(
        "too_few",
        0,
        f"{of} made the confidence on the {here} better, which may be chance: {losses}.",
    )


def sure_mistakes(evidence: Evidence) -> Found | None:
    """Mistakes that it was sure of, more than its confidence allows for."""
    if is_contaminated(evidence):
        return None
    rows = [row for row in evidence.shown.reliability if row.low >= SURE]
    wrong = round(sum(row.images * (1.0 - row.accuracy) for row in rows))
    expected = sum(row.images * (1.0 - row.confidence) for row in rows)
    if wrong < FEWEST_SURE_MISTAKES or wrong <= 2.0 * expected:
        return None
    usual = "less than one" if expected < 0.5 else f"about {expected:.0f}"
    return Found(
        "too_few",
        37,
        f"It was more than {share_of(rows[0].low)} sure in "
        f"{some_of(wrong, evidence.mistakes, 'mistake')}, where {usual} {are(round(expected))} to "
        "be expected: these are hard images, or their labels are wrong.",
    )
