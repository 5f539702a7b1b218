"""Are the differences between runs real? Paired, on the same test images.

Pure functions of :class:`Predictions`; runs are joined by the images' paths. Two runs are
told apart by McNemar's exact test on the images that only one of them gets right. With more
than two runs the p-values are corrected by Holm's method, so that one of many comparisons does
not win by luck, and so are the intervals (:mod:`tellapart.comparison.differences`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.comparison.differences import (
    SIGNIFICANCE,
    difference_of,
    holm,
    holm_levels,
    joined_groups,
)
from tellapart.comparison.standing import Standing, standing_sentences
from tellapart.errors import DataError, RunError
from tellapart.evaluation.image_groups import ImageGroups, image_groups
from tellapart.evaluation.metric_table import Metric, Metrics, Place, metrics_shown
from tellapart.evaluation.metrics import evaluate_predictions
from tellapart.evaluation.predictions import Predictions, align
from tellapart.number import Number
from tellapart.wording import plural


@dataclass(frozen=True)
class Pair:
    """Two runs on the same images; differences are first minus second.

    Attributes:
        difference: of the accuracies; its interval is at the level at which Holm's procedure
            tested the pair (95 % for one pair, wider for more), so it is without 0 exactly where
            the difference is real.
        only_first_right, only_second_right, both_right, both_wrong: numbers of images.
        p_value: of the test.
        p_corrected: after Holm's correction for all pairs of the comparison.
        test: what the test is called; it is one of groups where images belong together.
    """

    first: str
    second: str
    difference: Number
    only_first_right: int
    only_second_right: int
    both_right: int
    both_wrong: int
    p_value: float
    p_corrected: float
    test: str = "McNemar's exact test"

    @property
    def real(self) -> bool:
        """The difference is larger than chance makes one."""
        return self.p_corrected < SIGNIFICANCE

    def to_json(self) -> dict[str, Any]:
        """Flat: the interval stands beside the difference."""
        content = asdict(self)
        del content["difference"]
        return {
            "first": self.first,
            "second": self.second,
            "difference": self.difference.value,
            "low": self.difference.low,
            "high": self.difference.high,
            **content,
            "method": self.difference.method,
            "real": self.real,
        }


@dataclass(frozen=True)
class ComparedRun:
    """One run of a comparison.

    Attributes:
        metrics: on the images that all runs were compared on.
        facts: what else is known of it, by the keys of :data:`BESIDE` and :data:`COSTS`, and
            others, which go into JSON and CSV as they are.
    """

    name: str
    metrics: Metrics
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def train_accuracy(self) -> Number | None:
        """None where no train image was predicted."""
        return self.facts.get("train_accuracy")

    @property
    def gap(self) -> float | None:
        """Train accuracy minus the compared one, None where the former is not known."""
        return self.facts.get("gap")

    def of(self, column: Metric) -> Any:
        """What it has in a column: a :class:`Number`, a plain number, or None."""
        if column in (*BESIDE, *COSTS):
            return self.facts.get(column.path)
        return column.of(self.metrics)

    def to_json(self) -> dict[str, Any]:
        facts = {key: _plain(value) for key, value in self.facts.items()}
        return {"name": self.name, "metrics": self.metrics.to_json(), **facts}

    def flat(self) -> dict[str, Any]:
        """A row for CSV; limits stand in columns of their own."""
        numbers = {metric.key: metric.of(self.metrics) for metric in metrics_shown("csv")}
        numbers |= {key: value for key, value in self.facts.items() if isinstance(value, Number)}
        row: dict[str, Any] = {"name": self.name, "images": self.metrics.images}
        for key, number in numbers.items():
            if isinstance(number, Number):
                row |= {key: number.value, f"{key}_low": number.low, f"{key}_high": number.high}
            else:
                row[key] = number
        return row | {
            key: value
            for key, value in self.facts.items()
            if not isinstance(value, Number | Mapping | list | tuple)
        }


#: Facts that stand beside the compared accuracy.
BESIDE: tuple[Metric, ...] = (
    Metric("validation_accuracy", "Validation accuracy", "share", "on the images that chose",
           "high", ("comparison", "terminal"), "validation"),
    Metric("train_accuracy", "Train accuracy", "share", "on the images that taught", "",
           ("comparison", "terminal"), "train"),
    Metric("gap", "Gap", "share",
           "train accuracy minus the compared one: large means overfitting", "", ("comparison",)),
)  # fmt: skip
#: What a run costs.
COSTS: tuple[Metric, ...] = (
    Metric("total_parameters", "Parameters", "count", "", "low", ("comparison",)),
    Metric("trainable_parameters", "Trained", "count", "parameters that training moved", "low",
           ("comparison", "terminal"), "trained"),
    Metric("training_seconds", "Training time", "seconds",
           "as the run took it; only times of work of one kind are compared", "low",
           ("comparison", "terminal"), "time"),
    Metric("time_was", "The time was", "text",
           "cold, or with work that the cache spared it; not comparable otherwise", "",
           ("comparison", "terminal"), "was"),
    Metric("milliseconds_per_image", "Time an image", "milliseconds",
           "the network alone, many images at a time, measured now on this machine", "low",
           ("comparison", "terminal"), "ms/image"),
    Metric("size_bytes", "Size on disk", "bytes", "of the model file", "low", ("comparison",)),
)  # fmt: skip


def columns(part: str, place: Place) -> tuple[Metric, ...]:
    """What a place shows of each run of a comparison on ``part``, the accuracy first."""
    accuracy, *others = metrics_shown(place)
    return (
        replace(
            accuracy,
            title=f"{part.capitalize()} accuracy",
            short=f"{part} accuracy",
            help="on the same images for all, with 95 % interval",
        ),
        *(fact for fact in BESIDE if place in fact.shown),
        *others,
        *(fact for fact in COSTS if place in fact.shown),
    )


@dataclass(frozen=True)
class PairedComparison:
    """What comparing runs gave; ``rows`` are sorted, the run that ranks first at the front.

    Attributes:
        part: the part that all were scored on, usually "test".
        images: how many images, the same for all.
        left_out: for each run, how many of its labelled images another run lacks.
        standing: who leads, and whether by more than chance.
        rows: one a run.
        pairs: every two runs, in the order of the rows.
        leading: who leads, in words.
        sentences: what it comes to, these first.
        only_right: for each run the images that it alone gets right, by path.
        all_wrong: the images that no run gets right.
    """

    part: str
    images: int
    left_out: Mapping[str, int]
    standing: Standing
    rows: tuple[ComparedRun, ...]
    pairs: tuple[Pair, ...]
    leading: tuple[str, ...]
    sentences: tuple[str, ...]
    only_right: Mapping[str, tuple[str, ...]]
    all_wrong: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The runs in their order."""
        return tuple(row.name for row in self.rows)

    def to_json(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        return {
            "part": self.part,
            "images": self.images,
            "left_out": dict(self.left_out),
            "ranked_by": self.standing.ranked_by,
            "winner": self.standing.winner or None,
            "rows": [row.to_json() for row in self.rows],
            "pairs": [pair.to_json() for pair in self.pairs],
            "sentences": list(self.sentences),
            "only_right": {name: list(paths) for name, paths in self.only_right.items()},
            "all_wrong": list(self.all_wrong),
        }

    def table(self) -> list[dict[str, Any]]:
        """A flat row a run, for CSV."""
        return [row.flat() for row in self.rows]


def compare_predictions(
    predictions: Mapping[str, Predictions],
    *,
    facts: Mapping[str, Mapping[str, Any]] | None = None,
    order: Sequence[str] = (),
    ranked_by: str = "",
    shared_only: bool = False,
    seed: int = 0,
) -> PairedComparison:
    """Compare runs by their predictions on the same images.

    Args:
        predictions: of each run, by its name; at least two.
        facts: what else is known of a run (parameters, seconds, train accuracy ...); goes
            into its row as it is.
        order: the runs as they rank by what was there to choose by; empty: by their accuracy on
            these images.
        ranked_by: the part that made the order; "": these images.
        shared_only: compare on the images that all runs share, instead of refusing.
        seed: of what is drawn for the intervals of the calibration error.

    Raises:
        RunError: fewer than two runs; other parts or other images, unless ``shared_only``.
        DataError: other classes, no shared image, or one image under two labels.
    """
    if len(predictions) < 2:
        raise RunError("A comparison needs at least two runs; name another one.")
    scored = {name: p.select(p.labelled) for name, p in predictions.items()}
    shared = _share(scored, shared_only)
    groups = joined_groups([p.groups for p in shared.values()])
    shared = {name: replace(p, groups=groups) for name, p in shared.items()}
    images = len(next(iter(shared.values())))
    metrics = {name: evaluate_predictions(p, seed=seed) for name, p in shared.items()}
    names = list(order) or sorted(shared, key=lambda n: -metrics[n].accuracy.measured()[0])
    pairs = _pairs({name: shared[name].correct for name in names}, image_groups(groups))
    rows = tuple(ComparedRun(name, metrics[name], (facts or {}).get(name, {})) for name in names)
    correct = np.stack([shared[name].correct for name in names])
    paths = np.array(next(iter(shared.values())).paths, dtype=object)
    alone = correct.sum(axis=0) == 1
    part = next(iter(shared.values())).part
    left_out = {name: len(scored[name]) - images for name in names}
    standing = _standing(names[0], pairs, ranked_by or part)
    leading = _leading(standing, rows, part, images)
    return PairedComparison(
        part=part,
        images=images,
        left_out=left_out,
        standing=standing,
        rows=rows,
        pairs=pairs,
        leading=leading,
        sentences=(*leading, *_sentences(rows, pairs, images, left_out)),
        only_right={n: tuple(paths[alone & correct[i]]) for i, n in enumerate(names)},
        all_wrong=tuple(paths[~correct.any(axis=0)]),
    )


def _share(scored: Mapping[str, Predictions], shared_only: bool) -> dict[str, Predictions]:
    """All on the same images in the same order, or a refusal that says what differs."""
    (reference_name, reference), *others = scored.items()
    for name, other in others:
        if shared_only:
            continue
        if other.part != reference.part:
            raise RunError(
                f"'{reference_name}' was scored on its {reference.part} images and '{name}' on "
                f"its {other.part} images; compare runs on the same part."
            )
        first, second = set(reference.paths), set(other.paths)
        if first != second:
            raise RunError(
                f"'{reference_name}' and '{name}' were scored on different {reference.part} "
                f"images: {len(first & second)} are shared, {len(first - second)} only the first "
                f"has, {len(second - first)} only the second. Evaluate both on the same folder, "
                "or ask to compare only the images that they share."
            )
    for name, other in others:  # first what all have ...
        try:
            reference, _ = align(reference, other)
        except DataError as error:
            raise DataError(f"'{reference_name}' and '{name}': {error}") from error
    shared = {reference_name: reference}
    for name, other in others:  # ... then everybody on exactly that
        shared[name] = align(reference, other)[1]
    return shared


def _pairs(
    correct: Mapping[str, NDArray[np.bool_]], groups: ImageGroups | None
) -> tuple[Pair, ...]:
    names = list(combinations(correct, 2))
    found = [difference_of(correct[one], correct[two], groups) for one, two in names]
    p_values = [difference.p_value for difference in found]
    pairs = []
    for (first, second), difference, p_corrected, level in zip(
        names, found, holm(p_values), holm_levels(p_values), strict=True
    ):
        both = int((correct[first] & correct[second]).sum())
        pairs.append(
            Pair(
                first=first,
                second=second,
                difference=difference.number(level, p_corrected < SIGNIFICANCE),
                only_first_right=difference.ahead,
                only_second_right=difference.behind,
                both_right=both,
                both_wrong=difference.images - both - difference.ahead - difference.behind,
                p_value=difference.p_value,
                p_corrected=p_corrected,
                test=difference.test,
            )
        )
    return tuple(pairs)


# --- in words ----------------------------------------------------------------------------------


def telling_pairs(rows: Sequence[ComparedRun], pairs: Sequence[Pair]) -> list[Pair]:
    """The pairs that a reader wants in words: all of up to three runs, else neighbours in rank."""
    if len(rows) <= 3:
        return list(pairs)
    rank = {row.name: number for number, row in enumerate(rows)}
    return [pair for pair in pairs if abs(rank[pair.first] - rank[pair.second]) == 1]


def pair_sentence(pair: Pair, images: int, num_pairs: int = 1) -> str:
    """What one pair comes to, with the numbers."""
    corrected = f", p and interval corrected for {num_pairs} comparisons" if num_pairs > 1 else ""
    test = f"{pair.test}, p {_p(pair.p_corrected)}{corrected}"
    alone = (
        f"{pair.first} alone is right on {pair.only_first_right:,} and {pair.second} alone on "
        f"{pair.only_second_right:,} of the {images:,} images"
    )
    if pair.only_first_right + pair.only_second_right == 0:
        return f"{pair.first} and {pair.second} are right on exactly the same images."
    difference, low, high = pair.difference.measured()
    if difference < 0:  # told as a lead of the second, so that its interval is that of the lead
        low, high = -high, -low
    points = f"{_points(abs(difference))} points ({_signed(low)} to {_signed(high)})"
    if difference == 0:
        return f"{pair.first} and {pair.second} are equally accurate: {alone} ({test})."
    better = pair.first if difference > 0 else pair.second
    worse = pair.second if difference > 0 else pair.first
    if pair.real:
        return f"{better} is more accurate than {worse} by {points}: {alone} ({test})."
    return f"{better} is ahead of {worse} by {points}, which may be chance: {alone} ({test})."


def _standing(leader: str, pairs: Sequence[Pair], ranked_by: str) -> Standing:
    """How the others stand to the run that ranks first."""
    kinds: dict[str, list[str]] = {"worse": [], "level": [], "better": []}
    for pair in pairs:
        if leader in (pair.first, pair.second):
            other = pair.second if pair.first == leader else pair.first
            ahead = (pair.difference.value or 0.0) * (1 if pair.first == leader else -1)
            kind = "level" if not pair.real else "worse" if ahead > 0 else "better"
            kinds[kind].append(other)
    return Standing(leader, ranked_by, **{kind: tuple(names) for kind, names in kinds.items()})


def _leading(
    standing: Standing, rows: Sequence[ComparedRun], part: str, images: int
) -> tuple[str, ...]:
    accuracies = {row.name: row.metrics.accuracy for row in rows}
    return tuple(standing_sentences(
        standing,
        {name: (number.percent(2), number.limits(2)) for name, number in accuracies.items()},
        {row.name: row.facts["trainable_parameters"] for row in rows
         if "trainable_parameters" in row.facts},
        part,
        images,
    ))  # fmt: skip


def _sentences(
    rows: tuple[ComparedRun, ...],
    pairs: tuple[Pair, ...],
    images: int,
    left_out: Mapping[str, int],
) -> tuple[str, ...]:
    telling = telling_pairs(rows, pairs)
    sentences = [pair_sentence(pair, images, len(pairs)) for pair in telling]
    if len(telling) < len(pairs):
        sentences.append(f"These are each run and the next; the report has all {len(pairs)} pairs.")
    if any(left_out.values()):
        most = max(left_out.values())
        sentences.append(
            f"Only the {plural(images, 'image')} that all runs share "
            f"{'was' if images == 1 else 'were'} compared; "
            f"up to {most:,} of a run's images were left out."
        )
    return tuple(sentences)


def _p(value: float) -> str:
    return "< 0.0001" if value < 0.0001 else f"= {value:.2g}" if value < 0.995 else "= 1"


def _points(share: float) -> str:
    return f"{100 * share:.2f}"


def _signed(share: float) -> str:
    return f"{100 * share:+.2f}".replace("-", "\N{MINUS SIGN}")


def _plain(value: Any) -> Any:
    return value.to_json() if isinstance(value, Number) else value
