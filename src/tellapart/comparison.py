"""Are the differences between runs real? Paired, on the same test images.

Pure functions of :class:`Predictions`; runs are joined by the images' paths. Two runs are
told apart by McNemar's exact test on the images that only one of them gets right, and by
a paired bootstrap of the difference in accuracy. With more than two runs the p-values are
corrected by Holm's method, so that one of many comparisons does not win by luck.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.errors import DataError, RunError
from tellapart.evaluation.intervals import RESAMPLES, percentile_limits, wilson
from tellapart.evaluation.metrics import evaluate_predictions
from tellapart.evaluation.predictions import Predictions, align
from tellapart.wording import listed, percent

#: A difference is called real below this corrected p-value.
SIGNIFICANCE = 0.05


@dataclass(frozen=True)
class Pair:
    """Two runs on the same images; differences are first minus second.

    Attributes:
        difference, low, high: of the accuracies, with the 95 % interval.
        only_first_right, only_second_right, both_right, both_wrong: numbers of images.
        p_value: of McNemar's exact test.
        p_corrected: after Holm's correction for all pairs of the comparison.
        method: of the interval.
    """

    first: str
    second: str
    difference: float
    low: float
    high: float
    only_first_right: int
    only_second_right: int
    both_right: int
    both_wrong: int
    p_value: float
    p_corrected: float
    method: str

    @property
    def real(self) -> bool:
        """The difference is larger than chance makes one."""
        return self.p_corrected < SIGNIFICANCE


@dataclass(frozen=True)
class Comparison:
    """What comparing runs gave; ``rows`` are sorted, the most accurate run first.

    Attributes:
        part: the part that all were scored on, usually "test".
        images: how many images, the same for all.
        left_out: for each run, how many of its labelled images another run lacks.
        rows: ``{"name", "metrics": evaluate_predictions(...), ...facts}`` a run.
        pairs: every two runs, in the order of the rows.
        sentences: what it comes to.
        only_right: for each run the images that it alone gets right, by path.
        all_wrong: the images that no run gets right.
    """

    part: str
    images: int
    left_out: Mapping[str, int]
    rows: tuple[Mapping[str, Any], ...]
    pairs: tuple[Pair, ...]
    sentences: tuple[str, ...]
    only_right: Mapping[str, tuple[str, ...]]
    all_wrong: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The runs, the most accurate first."""
        return tuple(row["name"] for row in self.rows)

    def to_dict(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        content = asdict(self)
        content["pairs"] = [asdict(pair) | {"real": pair.real} for pair in self.pairs]
        return content

    def table(self) -> list[dict[str, Any]]:
        """A flat row a run, for CSV and the terminal; limits stand in columns of their own."""
        return [_flat(row) for row in self.rows]


def compare_predictions(
    predictions: Mapping[str, Predictions],
    *,
    facts: Mapping[str, Mapping[str, Any]] | None = None,
    shared_only: bool = False,
    seed: int = 0,
) -> Comparison:
    """Compare runs by their predictions on the same images.

    Args:
        predictions: of each run, by its name; at least two.
        facts: what else is known of a run (parameters, seconds, train accuracy ...); goes
            into its row as it is.
        shared_only: compare on the images that all runs share, instead of refusing.
        seed: of the bootstrap.

    Raises:
        RunError: fewer than two runs; other parts or other images, unless ``shared_only``.
        DataError: other classes, no shared image, or one image under two labels.
    """
    if len(predictions) < 2:
        raise RunError("A comparison needs at least two runs; name another one.")
    scored = {name: p.select(p.labelled) for name, p in predictions.items()}
    shared = _share(scored, shared_only)
    images = len(next(iter(shared.values())))
    metrics = {name: evaluate_predictions(p, seed=seed) for name, p in shared.items()}
    names = sorted(shared, key=lambda name: -metrics[name]["accuracy"]["value"])
    pairs = _pairs({name: shared[name].correct for name in names}, seed)
    rows = tuple(
        {"name": name, "metrics": metrics[name], **(facts or {}).get(name, {})} for name in names
    )
    correct = np.stack([shared[name].correct for name in names])
    paths = np.array(next(iter(shared.values())).paths, dtype=object)
    alone = correct.sum(axis=0) == 1
    part = next(iter(shared.values())).part
    left_out = {name: len(scored[name]) - images for name in names}
    return Comparison(
        part=part,
        images=images,
        left_out=left_out,
        rows=rows,
        pairs=pairs,
        sentences=_sentences(rows, pairs, part, images, left_out),
        only_right={n: tuple(paths[alone & correct[i]]) for i, n in enumerate(names)},
        all_wrong=tuple(paths[~correct.any(axis=0)]),
    )


def mcnemar_exact(only_first: int, only_second: int) -> float:
    """Two-sided p-value of McNemar's exact test.

    If both were equally good, an image that only one gets right would be either's with a
    chance of one half (McNemar 1947).

    >>> mcnemar_exact(1, 9)
    0.021484375
    """
    trials, fewer = only_first + only_second, min(only_first, only_second)
    if trials == 0 or 2 * fewer == trials:
        return 1.0
    logs = [
        math.lgamma(trials + 1) - math.lgamma(k + 1) - math.lgamma(trials - k + 1)
        for k in range(fewer + 1)
    ] if trials > 1000 else []
    if not logs:  # exact in whole numbers
        ways = sum(math.comb(trials, k) for k in range(fewer + 1))
        return min(1.0, float(2 * ways / (1 << trials)))
    largest = max(logs)
    total = math.fsum(math.exp(value - largest) for value in logs)
    return min(1.0, 2 * math.exp(largest + math.log(total) - trials * math.log(2)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's (1979) correction, in the order given.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    count, running = len(p_values), 0.0
    corrected = [0.0] * count
    for rank, index in enumerate(sorted(range(count), key=lambda i: p_values[i])):
        running = max(running, min(1.0, (count - rank) * p_values[index]))
        corrected[index] = running
    return corrected


def paired_bootstrap(
    first_correct: NDArray[np.bool_],
    second_correct: NDArray[np.bool_],
    *,
    seed: int = 0,
    resamples: int = 5 * RESAMPLES,
) -> tuple[float, float, float]:
    """Difference in accuracy on the same images, and its 95 % interval.

    An image counts +1 where only the first is right, -1 where only the second is, else 0.
    Resampling images is therefore drawing these three counts from a multinomial. Where the
    two never differ, the limits are Wilson's for 0 differences in so many images.
    """
    images = len(first_correct)
    ahead = int((first_correct & ~second_correct).sum())
    behind = int((second_correct & ~first_correct).sum())
    if ahead + behind == 0:
        limit = wilson(0, images)[1]
        return 0.0, -limit, limit
    shares = np.array([ahead, behind, images - ahead - behind]) / images
    drawn = np.random.default_rng(seed).multinomial(images, shares, size=resamples)
    return (ahead - behind) / images, *percentile_limits((drawn[:, 0] - drawn[:, 1]) / images)


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


def _pairs(correct: Mapping[str, NDArray[np.bool_]], seed: int) -> tuple[Pair, ...]:
    names = list(combinations(correct, 2))
    counts = []
    for first, second in names:
        one, two = correct[first], correct[second]
        counts.append((
            int((one & ~two).sum()), int((two & ~one).sum()),
            int((one & two).sum()), int((~one & ~two).sum()),
        ))
    p_values = [mcnemar_exact(only_first, only_second) for only_first, only_second, *_ in counts]
    pairs = []
    for (first, second), count, p_value, p_corrected in zip(
        names, counts, p_values, holm(p_values), strict=True
    ):
        limits = paired_bootstrap(correct[first], correct[second], seed=seed)
        method = "paired bootstrap" if count[0] + count[1] else "wilson"
        pairs.append(Pair(first, second, *limits, *count, p_value, p_corrected, method))
    return tuple(pairs)


# --- in words ----------------------------------------------------------------------------------


def telling_pairs(
    rows: Sequence[Mapping[str, Any]], pairs: Sequence[Pair]
) -> list[Pair]:
    """The pairs that a reader wants in words: all of up to three runs, else neighbours in rank."""
    if len(rows) <= 3:
        return list(pairs)
    rank = {row["name"]: number for number, row in enumerate(rows)}
    return [pair for pair in pairs if abs(rank[pair.first] - rank[pair.second]) == 1]


def pair_sentence(pair: Pair, images: int, num_pairs: int = 1) -> str:
    """What one pair comes to, with the numbers."""
    corrected = f", corrected for {num_pairs} comparisons" if num_pairs > 1 else ""
    test = f"McNemar's exact test, p {_p(pair.p_corrected)}{corrected}"
    alone = (
        f"{pair.first} alone is right on {pair.only_first_right:,} and {pair.second} alone on "
        f"{pair.only_second_right:,} of the {images:,} images"
    )
    if pair.only_first_right + pair.only_second_right == 0:
        return f"{pair.first} and {pair.second} are right on exactly the same images."
    points = (
        f"{_points(abs(pair.difference))} points "
        f"({_signed(pair.low)} to {_signed(pair.high)})"
    )
    if pair.difference == 0:
        return f"{pair.first} and {pair.second} are equally accurate: {alone} ({test})."
    better = pair.first if pair.difference > 0 else pair.second
    worse = pair.second if pair.difference > 0 else pair.first
    if pair.real:
        return f"{better} is more accurate than {worse} by {points}: {alone} ({test})."
    return (
        f"{better} is ahead of {worse} by {points}, which may be chance: {alone} ({test})."
    )


def _sentences(
    rows: tuple[Mapping[str, Any], ...],
    pairs: tuple[Pair, ...],
    part: str,
    images: int,
    left_out: Mapping[str, int],
) -> tuple[str, ...]:
    best, accuracy = rows[0]["name"], rows[0]["metrics"]["accuracy"]
    level = [row["name"] for row in rows
             if row["metrics"]["accuracy"]["value"] == accuracy["value"]]
    lead = f"{best} is the most accurate"
    if len(level) > 1:
        lead = f"{listed(level, len(level), 'and')} are equally accurate"
        lead += "" if len(level) == len(rows) else ", and ahead of the others,"
    sentences = [
        f"{lead} on the {images:,} {part} images: "
        f"{percent(accuracy['value'], 2)} ({percent(accuracy['low'], 2)} to "
        f"{percent(accuracy['high'], 2)})."
    ]
    equal = [pair.second for pair in pairs if pair.first == best and not pair.real]
    beaten = [pair.second for pair in pairs if pair.first == best and pair.real]
    if len(rows) > 2 and not beaten:
        sentences.append("Nothing here shows that it is better than any of the others.")
    elif len(rows) > 2 and equal:
        sentences.append(
            f"It is better than {listed(beaten, len(beaten), 'and')}; "
            f"against {listed(equal, len(equal), 'and')} the difference may be chance."
        )
    elif len(rows) > 2:
        sentences.append("It is better than each of the others by more than chance.")
    telling = telling_pairs(rows, pairs)
    sentences += [pair_sentence(pair, images, len(pairs)) for pair in telling]
    if len(telling) < len(pairs):
        sentences.append(
            f"These are each run and the next; the report has all {len(pairs)} pairs."
        )
    if any(left_out.values()):
        most = max(left_out.values())
        sentences.append(
            f"Only the {images:,} images that all runs share were compared; "
            f"up to {most:,} of a run's images were left out."
        )
    return tuple(sentences)


def _p(value: float) -> str:
    return "< 0.0001" if value < 0.0001 else f"= {value:.2g}" if value < 0.995 else "= 1"


def _points(share: float) -> str:
    return f"{100 * share:.2f}"


def _signed(share: float) -> str:
    return f"{100 * share:+.2f}".replace("-", "\N{MINUS SIGN}")



def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    metrics = row["metrics"]
    flat: dict[str, Any] = {"name": row["name"], "images": metrics["images"]}
    numbers = {
        key: metrics[key]
        for key in ("accuracy", "balanced_accuracy", "roc_auc", "average_precision",
                    "log_loss", "brier", "calibration_error")
    }
    numbers["macro_f1"] = metrics["macro"]["f1"]
    numbers |= {key: value for key, value in row.items() if _is_number(value)}
    for key, value in numbers.items():
        flat |= {key: value["value"], f"{key}_low": value["low"], f"{key}_high": value["high"]}
    return flat | {
        key: value for key, value in row.items()
        if key not in ("name", "metrics") and not isinstance(value, (Mapping, list, tuple))
    }


def _is_number(value: Any) -> bool:
    return isinstance(value, Mapping) and {"value", "low", "high"} <= set(value)
