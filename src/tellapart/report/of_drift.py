"""The page of ``tellapart drift``: do images still look like those of training, which do not?"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from tellapart.files import write_text
from tellapart.monitoring import words
from tellapart.monitoring.compare import FOREIGN_SHARE, LEVEL, Compared
from tellapart.number import Number, undefined
from tellapart.pixels.decode import UnreadableImage
from tellapart.pixels.thumbnails import make_thumbnail
from tellapart.prediction.answers import Answer
from tellapart.report.content import (
    Column,
    DriftReport,
    Facts,
    Figure,
    Gallery,
    Headline,
    KeyNumber,
    Picture,
    Reference,
    Table,
)
from tellapart.report.render import render_report
from tellapart.run import Run
from tellapart.verdict.verdict import Action, Conclusion, Judgement, Light
from tellapart.wording import listed, percent, plural

#: Pictures of a gallery, and of each of the two ends where no image is odd.
_MOST_ODD, _FEW_ODD = 60, 12
_LIGHTS: dict[str, Light] = {"alike": "green", "drifted": "red", "too few": "yellow"}
_WORDS = {"alike": "Yes", "drifted": "No", "too few": "Too few to tell"}


def write_drift_report(
    page: Path,
    run: Run,
    compared: Compared,
    answers: Sequence[Answer],
    *,
    given: Sequence[str | Path],
    table: str,
    notes: Sequence[str],
    problems: Sequence[tuple[str, str]],
) -> None:
    """Write the page.

    Args:
        answers: of each image, in the order of ``compared.oddness``.
        given: what was asked about.
        table: name of the file beside the page that lists all images.
        notes: what was left out of the comparison.
        problems: files that could not be read, and why.

    Raises:
        FileError: it cannot be written.
    """
    what = listed([Path(path).absolute().name or str(path) for path in given], 2, "and")
    report = DriftReport(
        title=f"{what}: still like the training images?",
        subtitle=f"Held against images of {run.name}",
        created=datetime.now().astimezone().isoformat(timespec="seconds"),
        headline=_headline(compared),
        key_numbers=_key_numbers(compared),
        light=_LIGHTS[compared.outcome],
        question="Do they look like the training images?",
        word=_WORDS[compared.outcome],
        answer=words.headline(compared),
        conclusions=_conclusions(compared),
        actions=_actions(compared, run, given),
        galleries=[_gallery(compared, answers, table)],
        figures=_figures(compared),
        tables=[_tests(compared), _classes(compared)],
        problems=_unread(problems) if problems else None,
        facts=[_facts(compared, run, given)],
        notes=[*notes, *_METHOD],
        footer=f"tellapart {run.info.tellapart}",
    )
    write_text(page, render_report(report))


_METHOD = (
    "The tests ask how often chance, by exchanging new and validation images at random, makes "
    "differences as large as those that are there. Looks and shares decide, together so that "
    f"images of the same kind are called drifted in about {percent(LEVEL, 0)} of all cases.",
    "They take each image for one by itself. Images in bursts, frames of a film or many of one "
    "patient are fewer than they seem, and are called drifted more often than that.",
)


def _headline(compared: Compared) -> Headline:
    return Headline(
        "Far from every training image",
        compared.unknown,
        "Share of these images that the answer 'unknown' would be given for.",
        references=[Reference("usual", compared.expected_unknown)],
    )


def _key_numbers(compared: Compared) -> list[KeyNumber]:
    return [
        KeyNumber("Images", Number(compared.images), "count"),
        KeyNumber("Told apart by looks", _separation(compared), "score",
                  "0.5 is guessing, 1 always"),
        KeyNumber("Confidence on average", Number(compared.confidence), "share",
                  f"in validation {percent(compared.known_confidence)}"),
    ]  # fmt: skip


def _separation(compared: Compared) -> Number:
    if compared.separation is None:
        return undefined("too few images")
    return Number(round(compared.separation, 2))


def _conclusions(compared: Compared) -> list[Conclusion]:
    tests = compared.tests
    enough = compared.noticeable is not None and compared.noticeable <= FOREIGN_SHARE
    rows: list[tuple[str, Judgement, str]] = [
        ("chance", _judged(tests.all, enough), words.chance(compared)),
        ("unlike", _judged(tests.unlike, enough), words.unlike(compared)),
        ("altogether", _judged(tests.altogether, enough), words.altogether(compared)),
        ("shares", _judged(tests.shares, enough), words.shares(compared)),
        ("noticeable", "good" if enough else "too_few", words.noticeable(compared)),
    ]
    return [Conclusion(kind, judgement, 1, sentence) for kind, judgement, sentence in rows]


def _judged(p: float, enough: bool) -> Judgement:
    return "bad" if p <= LEVEL else "good" if enough else "too_few"


def _actions(compared: Compared, run: Run, given: Sequence[str | Path]) -> list[Action]:
    names = " ".join(shlex.quote(str(path)) for path in given)
    home = shlex.quote(str(run.home))
    if compared.outcome == "too few":
        return [Action("more", "Collect more images of the same kind and ask again.")]
    if compared.outcome == "alike":
        return [Action("again", "Ask again when camera, place or season have changed.")]
    found = []
    if compared.pictures_differ or not compared.shares_differ:
        found.append(Action(
            "look", "Look at the oddest images below: another subject, another camera, or files "
            "that do not belong there?",
        ))  # fmt: skip
        found.append(Action(
            "label", "If such images will come from now on, give a hundred of them a label and see "
            "what the classifier is worth on them; then train with them.",
            f"tellapart evaluate {home} LABELLED",
        ))  # fmt: skip
        found.append(Action(
            "unknown", "Until then have images unlike the training ones answered 'unknown'.",
            f"tellapart predict {home} {names} --unknown",
        ))  # fmt: skip
    if compared.shares_differ:
        found.append(Action(
            "shares", "Where classes are as frequent as here, probabilities and a threshold that "
            "were set at other shares are off: decide again on images in these shares.",
            "",
        ))  # fmt: skip
    return found


def _gallery(compared: Compared, answers: Sequence[Answer], table: str) -> Gallery:
    odd = [row for row in compared.odd_first.tolist() if compared.oddness[row] > 1]
    shown = odd[:_MOST_ODD] or compared.odd_first[:_FEW_ODD].tolist()
    usual = percent(compared.expected_unknown, 0)
    if odd:
        reading = (
            f"{plural(len(odd), 'image')} {'is' if len(odd) == 1 else 'are'} odder than 95 % of "
            "the validation images are: far from every training image, or of a look that the "
            f"new images have and the validation images have not. {usual} to 10 % are usual."
        )
    else:
        reading = "No image is odder than 95 % of the validation images are; these come nearest."
    return Gallery(
        "odd", "The oddest images" if odd else "The least usual images",
        [picture for row in shown if (picture := _picture(compared, answers[row], row))],
        reading=reading, total=len(odd) or None, rest=f"all of them are in {table}",
        empty="None of these files can be read any more.",
    )  # fmt: skip


def _picture(compared: Compared, answer: Answer, row: int) -> Picture | None:
    try:
        thumbnail = make_thumbnail(Path(answer.path))
    except UnreadableImage:  # gone since
        return None
    ranked = sorted(answer.probabilities.items(), key=lambda item: -item[1])[:5]
    odd = f"oddness {compared.oddness[row]:.1f}"
    return Picture(
        thumbnail, answer.path,
        predicted=ranked[0][0] if answer.unknown else answer.prediction,
        confidence=ranked[0][1], probabilities=ranked,
        caption=f"{odd}, unknown" if compared.far[row] else odd,
    )  # fmt: skip


def _figures(compared: Compared) -> list[Figure]:
    from tellapart.evaluation.plots import to_png, to_svg
    from tellapart.evaluation.plots.drift import MOST_CLASSES, distance_histogram, share_bars

    names = [share.name for share in compared.classes]
    drawn: list[tuple[str, str, Any, str]] = [
        ("distances", "How far from the training images",
         distance_histogram(compared.distances, compared.known_distances, compared.threshold),
         "Where the orange line is high to the right of the blue bars are images unlike those of "
         "training."),
        ("shares", "How frequent each answer is",
         share_bars(names, [s.asked for s in compared.classes],
                    [s.known for s in compared.classes]),
         "Likeliest class of these images and of the validation images"
         + (f"; the {MOST_CLASSES} classes that moved most." if len(names) > MOST_CLASSES
            else ".")),
    ]  # fmt: skip
    return [
        Figure(name, title, to_svg(figure, name, reading), reading, png=to_png(figure))
        for name, title, figure, reading in drawn
    ]


def _tests(compared: Compared) -> Table:
    tests = compared.tests
    rows = [
        ("Looks or shares", tests.all, "decides: the smaller, over 0.8 and 0.2"),
        ("Looks", tests.looks, "the next two together"),
        ("Some are far from every training image", tests.unlike, ""),
        ("As a whole they are set apart", tests.altogether, ""),
        ("Shares: other classes are frequent", tests.shares, ""),
        ("Looks, within each predicted class", tests.within, "says which it is: looks or shares"),
        ("Confidence", tests.confidence, "for information"),
    ]
    return Table(
        "What chance says of each difference",
        [Column("Test"),
         Column("p", "score", "how often chance makes a difference as large; small: no chance"),
         Column("Part in the answer")],
        rows,
        reading=f"Looks against {words.known_images(compared)}, the rest against the former alone.",
    )  # fmt: skip


def _classes(compared: Compared) -> Table:
    return Table(
        "Shares of the answers",
        [Column("Class"), Column("These images", "share"), Column("Validation", "share")],
        [(share.name, share.asked, share.known) for share in compared.classes],
    )


def _unread(problems: Sequence[tuple[str, str]]) -> Table:
    return Table("", [Column("File"), Column("Why")], list(problems))


def _facts(compared: Compared, run: Run, given: Sequence[str | Path]) -> Facts:
    return Facts(
        "The comparison",
        [
            ("Run", run.name),
            ("Images", listed([str(path) for path in given], 3)),
            ("Compared", f"{compared.images:,}"),
            ("Held against", words.known_images(compared)),
            ("Would be noticed", words.noticeable(compared)),
        ],
        private=("Images",),
    )
