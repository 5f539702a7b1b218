"""Who leads a comparison, and whether that is more than chance, in a sentence or two.

Runs are ranked by their accuracy on validation, which is there to choose by, and shown on the
compared part. A run that leads wins only where it is better than every other by more than
chance there; else there is no clear winner, and what it costs is told instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tellapart.wording import listed, plural


@dataclass(frozen=True)
class Standing:
    """How the runs of a comparison stand to the one that ranks first.

    Attributes:
        leader: the run that ranks first.
        ranked_by: the part whose accuracy made the order.
        worse: the runs that it is better than, by more than chance, on the compared part.
        level: those that cannot be told from it there.
        better: those that are better than it, by more than chance.
    """

    leader: str
    ranked_by: str
    worse: tuple[str, ...] = ()
    level: tuple[str, ...] = ()
    better: tuple[str, ...] = ()

    @property
    def winner(self) -> str:
        """The leader where it is better than every other run, else ""."""
        return "" if self.level or self.better else self.leader


def standing_sentences(
    standing: Standing,
    accuracies: Mapping[str, tuple[str, str]],
    trained: Mapping[str, int],
    part: str,
    images: int,
) -> list[str]:
    """The sentences that say who leads.

    Args:
        accuracies: of each run on the compared part: value and interval, as they are written.
        trained: parameters that each run trained, where that is known.
        part, images: what was compared on.
    """
    leader = standing.leader
    on = f"on the {plural(images, f'{part} image')}"
    by_validation = standing.ranked_by != part
    value, limits = accuracies[leader]
    if standing.winner:
        others = len(standing.worse)
        found = [f"{leader} is the most accurate {on}: {value} ({limits})."]
        if others > 1:
            found.append("It is better than each of the others by more than chance.")
        if by_validation:
            found.append(f"By {standing.ranked_by}, which ranks the runs, it is first as well.")
        return found
    if standing.better:
        many = len(standing.better) > 1
        found = [
            f"No clear winner: {standing.ranked_by} puts {leader} first ({value} {on}), but "
            f"{_with_values(standing.better, accuracies)} {'are' if many else 'is'} more accurate "
            "there by more than chance."
        ]
    elif len(accuracies) == 2:
        other = standing.level[0]
        found = [
            f"No clear winner: {leader} and {other} cannot be told apart {on} "
            f"({value} and {accuracies[other][0]})."
        ]
    else:
        by = f" by {standing.ranked_by}" if by_validation else ""
        found = [
            f"No clear winner: {leader} leads{by} ({value} {on}), and "
            f"{_with_values(standing.level, accuracies)} may be as good."
        ]
    level = [leader, *standing.level, *standing.better]
    found += _cheapest(level, trained)
    if standing.worse:
        found.append(
            f"{leader} is better than {listed(standing.worse, len(standing.worse), 'and')} by "
            "more than chance."
        )
    return found


def _with_values(names: Sequence[str], accuracies: Mapping[str, tuple[str, str]]) -> str:
    return listed([f"{name} ({accuracies[name][0]})" for name in names], len(names), "and")


def _cheapest(names: Sequence[str], trained: Mapping[str, int]) -> list[str]:
    """Which of runs that are level trained the fewest parameters, where one did."""
    known = {name: trained[name] for name in names if trained.get(name) is not None}
    if len(known) < len(names):
        return []
    fewest, next_fewest = sorted(known.values())[:2]
    if fewest == next_fewest:
        return []
    name = next(name for name in names if known[name] == fewest)
    if len(names) == 2:
        return [f"{name} trained fewer parameters: {fewest:,} instead of {next_fewest:,}."]
    return [f"Of these, {name} trained the fewest parameters: {fewest:,}."]
