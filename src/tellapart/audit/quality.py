"""Pictures that are blank, dark, bright, blurred or of an odd size; and shortcuts.

A shortcut is a property of the files, not of what they show, by which a network could tell
a class: all cars are 640 x 480, all cracked cells have a black border.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tellapart.audit.finding import Finding, finding_of
from tellapart.audit.statistics import Headers, mode_name
from tellapart.data.table import ImageTable
from tellapart.pixels.measures import Measures
from tellapart.wording import percent

#: Levels between the darkest and the brightest area under which nothing is to be seen.
_BLANK_RANGE = 10.0
#: Mean grey levels; and the brightest (darkest) tenth must be dark (bright) as well.
_DARK_MEAN, _DARK_TENTH = 20.0, 60.0
_BRIGHT_MEAN, _BRIGHT_TENTH = 240.0, 215.0
#: Sharpness under which a picture is blurred, if it is also far below that of the others.
_BLURRED, _BLURRED_SPREADS = 0.2, 3.0
#: Times the usual area, and times the usual aspect ratio, that make a size odd.
_ODD_AREA, _ODD_ASPECT = 16.0, 2.5
_SMALLEST_SIDE = 16
#: A shortcut: so many of a class share a property, and so few of all others do.
_SHORTCUT_SHARE, _OTHER_SHARE = 0.95, 0.10
_FEWEST_OF_A_CLASS = 10


def blank_rows(measures: Measures) -> NDArray[np.bool_]:
    """bool (N,): pictures in which nothing is to be seen."""
    return measures.ranges() < _BLANK_RANGE


def find_poor_pictures(table: ImageTable, measures: Measures) -> list[Finding]:
    """Findings of the kinds blank, dark, bright and blurry; the worst of each first."""
    grey = measures.grey().reshape(len(table), -1)
    mean, ranges = grey.mean(axis=1), measures.ranges()
    blank = blank_rows(measures)
    low, high = np.quantile(grey, [0.1, 0.9], axis=1) if len(grey) else (mean, mean)
    dark = ~blank & (mean < _DARK_MEAN) & (high < _DARK_TENTH)
    bright = ~blank & (mean > _BRIGHT_MEAN) & (low > _BRIGHT_TENTH)
    blurred = ~blank & (measures.sharpness < _blur_limit(measures.sharpness[~blank]))
    paths = table.paths

    def found(
        rows: NDArray[np.bool_],
        kind: str,
        badness: NDArray[np.floating],
        sentence: str,
        values: NDArray[np.floating],
        advice: str,
        exclude: bool = False,
    ) -> list[Finding]:
        numbers = np.flatnonzero(rows)
        numbers = numbers[np.argsort(-badness[numbers], kind="stable")]
        return [
            finding_of(
                table,
                [int(i)],
                kind,
                float(badness[i]),
                sentence.format(path=paths[i], value=values[i]),
                advice,
                exclude=[int(i)] if exclude else (),
            )
            for i in numbers
        ]

    return [
        *found(
            blank,
            "blank",
            1 - ranges / 255,
            "{path} is blank: no two areas of it differ by more than {value:.0f} of 255 levels.",
            ranges,
            "Leave it out with --exclude.",
            exclude=True,
        ),
        *found(
            dark,
            "dark",
            1 - mean / 255,
            "{path} is nearly black: its mean brightness is {value:.0f} of 255.",
            mean,
            "Look whether what it should show can be seen.",
        ),
        *found(
            bright,
            "bright",
            mean / 255,
            "{path} is nearly white: its mean brightness is {value:.0f} of 255.",
            mean,
            "Look whether what it should show can be seen.",
        ),
        *found(
            blurred,
            "blurry",
            1 - measures.sharpness,
            "{path} is blurred: its finest detail is {value:.3f} of its contrast.",
            measures.sharpness,
            "Look whether what it should show can be seen.",
        ),
    ]


def _blur_limit(sharpness: NDArray[np.float32]) -> float:
    """Far below the others and low in itself; sets in which all are smooth give none."""
    if not len(sharpness):
        return 0.0
    logs = np.log(np.maximum(sharpness, 1e-4))
    spread = 1.4826 * float(np.median(np.abs(logs - np.median(logs))))
    return min(_BLURRED, float(np.exp(np.median(logs) - _BLURRED_SPREADS * max(spread, 0.2))))


def find_odd_sizes(table: ImageTable, headers: Headers) -> list[Finding]:
    """Images far smaller, larger, wider or higher than the others; kind odd_size."""
    if not len(table):
        return []
    areas = np.log(headers.widths * headers.heights)
    aspects = np.log(headers.widths / headers.heights)
    area_steps = np.abs(areas - np.median(areas)) / np.log(_ODD_AREA)
    aspect_steps = np.abs(aspects - np.median(aspects)) / np.log(_ODD_ASPECT)
    # Upright and lying pictures of one camera are both usual.
    turned_steps = np.abs(aspects + np.median(aspects)) / np.log(_ODD_ASPECT)
    steps = np.maximum(area_steps, np.minimum(aspect_steps, turned_steps))
    tiny = np.minimum(headers.widths, headers.heights) < _SMALLEST_SIDE
    usual_small = float(np.median(np.minimum(headers.widths, headers.heights))) < _SMALLEST_SIDE
    odd = (steps > 1) | (tiny & (not usual_small))
    width, height = int(np.median(headers.widths)), int(np.median(headers.heights))
    rows = np.flatnonzero(odd)
    return [
        finding_of(
            table,
            [int(i)],
            "odd_size",
            1 - 0.5 / max(1.0, float(steps[i])),
            f"{table.paths[i]} is {headers.widths[i]:,} x {headers.heights[i]:,} pixels; "
            f"the median is {width:,} x {height:,}.",
            "Look whether it is a picture of the same kind.",
        )
        for i in rows[np.argsort(-steps[rows], kind="stable")]
    ]


# --- shortcuts ------------------------------------------------------------------------------------


def find_shortcuts(table: ImageTable, headers: Headers, measures: Measures) -> list[Finding]:
    """Properties that nearly all images of one class share and hardly any other; kind shortcut."""
    sizes = [f"{w:,} x {h:,} pixels" for w, h in zip(headers.widths, headers.heights, strict=True)]
    shapes = [
        "square" if w == h else "wider than high" if w > h else "higher than wide"
        for w, h in zip(headers.widths, headers.heights, strict=True)
    ]
    borders = [f"with a {name} border" if name else "" for name in map(str, measures.borders)]
    return [
        *_shortcuts_by(table, sizes),
        *_shortcuts_by(table, shapes),
        *_shortcuts_by(table, [f"{name} files" for name in map(str, headers.formats)]),
        *_shortcuts_by(table, [f"stored in {mode_name(mode)}" for mode in map(str, headers.modes)]),
        *_shortcuts_by(table, borders),
    ]


def _shortcuts_by(table: ImageTable, values: Sequence[str]) -> list[Finding]:
    """Shortcuts by one property; "" is the absence of it, which gives nothing away."""
    findings = []
    everywhere = Counter(values)
    array = np.array(values, dtype=object)
    for label, name in enumerate(table.classes):
        rows = np.flatnonzero(table.labels == label)
        if len(rows) < _FEWEST_OF_A_CLASS or len(rows) == len(table):
            continue
        value, count = Counter(array[rows]).most_common(1)[0]
        share = count / len(rows)
        elsewhere = (everywhere[value] - count) / (len(table) - len(rows))
        if not value or share < _SHORTCUT_SHARE or elsewhere > _OTHER_SHARE:
            continue
        which = "All" if count == len(rows) else f"{percent(share, 0)} of the"
        sentence = (
            f"{which} images of {name} are {value}, and "
            f"{'no' if elsewhere == 0 else f'only {percent(elsewhere, 0)} of the'} others are."
        )
        examples = rows[array[rows] == value]
        findings.append(
            finding_of(
                table,
                examples[:8],
                "shortcut",
                share - elsewhere,
                sentence,
                "A network can tell the class by that alone and fail on new images; collect all "
                "classes in the same way, or make them alike.",
            )
        )
    return findings
