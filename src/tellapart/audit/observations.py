"""What the numbers of a folder say before any training, in sentences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tellapart.audit.statistics import CROP_LOSS, Headers, Looks, has_wrong_extension
from tellapart.data.listing import plural, shown
from tellapart.data.table import ImageTable
from tellapart.wording import capital, percent, share_of_all

Level = Literal["note", "warning", "problem"]

#: The largest class has this many times the images of the smallest: an imbalance.
IMBALANCE = 3.0
#: Fewer training images than this teach a network little; fewer test images measure little.
FEWEST_TRAIN, FEWEST_TEST = 20, 25
#: Less than this share of odd images is not worth a sentence of its own.
_FEW = 0.01


@dataclass(frozen=True)
class Observation:
    """A sentence about the data, what to do about it, and the images it is about."""

    level: Level
    kind: str
    sentence: str
    advice: str = ""
    paths: tuple[str, ...] = ()


def observe(
    table: ImageTable, headers: Headers, looks: Looks, *, network_size: int
) -> list[Observation]:
    """Say what stands out, the worst first.

    Args:
        table: the images that could be read.
        headers, looks: of the same images, in the same order.
        network_size: pixels a side that the network sees.
    """
    found = [
        *_left_out(table),
        *_tiny_classes(table),
        *_imbalance(table),
        *_small_images(table, headers, network_size),
        *_crop_losses(table, headers),
        *_grey(table, looks),
        *_extensions(table, headers),
        *_turned(headers),
    ]
    order = {"problem": 0, "warning": 1, "note": 2}
    return sorted(found, key=lambda observation: order[observation.level])


# --- counts -------------------------------------------------------------------------------


def _left_out(table: ImageTable) -> list[Observation]:
    sentence = table.left_out
    if sentence is None:
        return []
    worst = next((p for p in table.problems if p.kind != "excluded"), None)
    return [
        Observation(
            "note" if worst is None else "warning",
            "left_out",
            sentence,
            "" if worst is None else f"For example {shown(worst.path)}: {worst.reason}",
            tuple(problem.path for problem in table.problems),
        )
    ]


def _counts(table: ImageTable, rows: NDArray[np.bool_]) -> NDArray[np.int64]:
    return np.bincount(table.labels[rows & (table.labels >= 0)], minlength=len(table.classes))


def _training_rows(table: ImageTable) -> NDArray[np.bool_]:
    """The train part, or all images where they are not split."""
    rows: NDArray[np.bool_] = (table.parts == "train") | (table.parts == "")
    return rows


def _classes_with_counts(
    table: ImageTable, counts: NDArray[np.int64], below: int, most: int = 6
) -> tuple[int, str]:
    few = sorted((int(n), table.classes[i]) for i, n in enumerate(counts) if n < below)
    text = ", ".join(f"{shown(name)} ({count:,})" for count, name in few[:most])
    more = len(few) - most
    return len(few), f"{text} and {more:,} more" if more > 0 else text


def _tiny_classes(table: ImageTable) -> list[Observation]:
    found = []
    split = bool((table.parts != "").any())
    number, names = _classes_with_counts(table, _counts(table, _training_rows(table)), FEWEST_TRAIN)
    if number:
        found.append(
            Observation(
                "warning",
                "tiny_class",
                f"{_classes(number)} with fewer than "
                f"{FEWEST_TRAIN} {'training ' if split else ''}images: {names}.",
                "Collect more images of them, join them with a class they resemble, or expect "
                "that their answers are little better than guesses.",
            )
        )
    if (table.parts == "test").any():
        number, names = _classes_with_counts(
            table, _counts(table, table.parts == "test"), FEWEST_TEST
        )
        if number:
            found.append(
                Observation(
                    "note",
                    "tiny_test",
                    f"{_classes(number)} with fewer than {FEWEST_TEST} test images: {names}.",
                    "What the test says of such a class is uncertain by 10 percentage points or "
                    "more either way.",
                )
            )
    return found


def _imbalance(table: ImageTable) -> list[Observation]:
    counts = _counts(table, _training_rows(table))
    there = np.flatnonzero(counts)
    if len(there) < 2:
        return []
    most, least = there[counts[there].argmax()], there[counts[there].argmin()]
    ratio = counts[most] / counts[least]
    if ratio < IMBALANCE:
        return []
    share = counts[most] / counts.sum()
    times = f"{ratio:.1f}" if ratio < 10 else f"{ratio:,.0f}"
    return [
        Observation(
            "warning",
            "imbalance",
            f"The classes are uneven: '{shown(table.classes[most])}' has {counts[most]:,} "
            f"images, {times} times as many as '{shown(table.classes[least])}' "
            f"({counts[least]:,}).",
            f"Always answering '{shown(table.classes[most])}' is right for "
            f"{percent(share)} already: "
            "look at the balanced accuracy and at each class's recall, not at accuracy alone.",
        )
    ]


# --- sizes --------------------------------------------------------------------------------


def _small_images(table: ImageTable, headers: Headers, size: int) -> list[Observation]:
    small = np.minimum(headers.widths, headers.heights) < size
    number = int(small.sum())
    if number < max(1, _FEW * len(table)):
        return []
    shorter = np.minimum(headers.widths, headers.heights)[small]
    half = float(np.median(shorter)) <= size / 2
    advice = f"They are enlarged to {size} x {size}, which adds no detail"
    advice += (
        "; use larger originals if there are any. A network trained from scratch does well at "
        "their own size: --recipe scratch-fast."
        if half and number > len(table) / 2
        else "."
    )
    return [
        Observation(
            "warning" if half else "note",
            "small",
            f"{capital(_of_all(number, len(table)))} {_are(number)} smaller than the "
            f"{size} x {size} pixels that the network sees; "
            f"{_shorter_sides(shorter)}.",
            advice,
            _some_paths(table, small),
        )
    ]


def _shorter_sides(sides: NDArray[np.int64]) -> str:
    if sides.min() == sides.max():
        return f"their shorter side is {sides.min():,}"
    return f"their shorter side is {sides.min():,} at least, {np.median(sides):,.0f} usually"


def _crop_losses(table: ImageTable, headers: Headers) -> list[Observation]:
    cut = headers.crop_losses > CROP_LOSS
    number = int(cut.sum())
    if number < max(1, _FEW * len(table)):
        return []
    return [
        Observation(
            "warning",
            "crop",
            f"A centre crop would lose more than a fifth of {_of_all(number, len(table))}, at "
            f"most {percent(headers.crop_losses.max(), 0)} of one.",
            "By default pictures are squashed to a square, which loses nothing; --fit pad keeps "
            "their shapes as well. Take --fit crop only if what matters is in the middle.",
            _some_paths(table, cut),
        )
    ]


# --- colour and files ---------------------------------------------------------------------


def _grey(table: ImageTable, looks: Looks) -> list[Observation]:
    number, total = int(looks.grey.sum()), len(table)
    if not number:
        return []
    if number == total:
        return [
            Observation(
                "note",
                "all_grey",
                "All images are grey.",
                "Changes of colour or saturation would teach nothing here; brightness and "
                "contrast may.",
            )
        ]
    colour = total - number
    if colour <= 0.1 * total:
        return [
            Observation(
                "warning",
                "colour_in_grey",
                f"{capital(_of_all(colour, total))} {_are(colour)} in colour in a grey set.",
                "Check that they belong here; a network may take colour itself for the answer.",
                _some_paths(table, ~looks.grey),
            )
        ]
    by_class = [
        float(looks.grey[table.labels == i].mean()) if (table.labels == i).any() else 0.0
        for i in range(len(table.classes))
    ]
    most, least = int(np.argmax(by_class)), int(np.argmin(by_class))
    uneven = by_class[most] - by_class[least] > 0.1
    where = (
        f", mostly in '{shown(table.classes[most])}' ({percent(by_class[most])} of its images; "
        f"'{shown(table.classes[least])}' {percent(by_class[least])})"
        if uneven
        else ""
    )
    return [
        Observation(
            "warning" if uneven else "note",
            "grey_in_colour",
            f"{capital(_of_all(number, total))} {_are(number)} grey in a colour set{where}.",
            "A network may take missing colour for the answer; make the classes alike in this."
            if uneven
            else "They are read as colour with three equal channels.",
            _some_paths(table, looks.grey),
        )
    ]


def _extensions(table: ImageTable, headers: Headers) -> list[Observation]:
    wrong = np.array(
        [
            has_wrong_extension(path, format)
            for path, format in zip(table.paths, headers.formats.tolist(), strict=True)
        ],
        dtype=np.bool_,
    )
    number = int(wrong.sum())
    if not number:
        return []
    first = int(np.flatnonzero(wrong)[0])
    return [
        Observation(
            "note",
            "extension",
            f"{plural(number, 'file')} {'has' if number == 1 else 'have'} the extension of another "
            f"format, for example {shown(table.paths[first])}, a {headers.formats[first]}.",
            "They are read by their content; other programs may stumble.",
            _some_paths(table, wrong),
        )
    ]


def _turned(headers: Headers) -> list[Observation]:
    number = int(headers.turned.sum())
    if not number:
        return []
    return [
        Observation(
            "note",
            "turned",
            f"{capital(_of_all(number, len(headers.turned)))} {_are(number)} stored "
            "turned or mirrored, with EXIF data that say so.",
            "They are read upright here; programs that ignore EXIF see them lying.",
        )
    ]


# --- pieces -------------------------------------------------------------------------------


def _of_all(number: int, total: int) -> str:
    return share_of_all(number, total, "image")


def _are(number: int) -> str:
    return "is" if number == 1 else "are"


def _classes(number: int) -> str:
    return "1 class" if number == 1 else f"{number:,} classes"


def _some_paths(table: ImageTable, rows: NDArray[np.bool_], most: int = 1000) -> tuple[str, ...]:
    return tuple(table.paths[i] for i in np.flatnonzero(rows)[:most])
