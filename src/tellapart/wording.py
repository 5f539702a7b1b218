"""How numbers, names and lists of names are written in sentences and tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path


def percent(share: float, decimals: int = 1) -> str:
    """A share as a percentage; what is not all is never 100, what is not none never 0.

    Where rounding would say so it has one decimal more, and where that still does, only on which
    side it lies.

    >>> percent(0.965), percent(0.9996), percent(1.0), percent(0.99997), percent(0.00001)
    ('96.5 %', '99.96 %', '100.0 %', '> 99.99 %', '< 0.01 %')
    """
    for digits in (decimals, decimals + 1):
        number = f"{100 * share:.{digits}f}"
        if not 0 < share < 1 or 0 < float(number) < 100:
            return f"{number} %"
    least = 10.0**-digits
    return f"> {100 - least:.{digits}f} %" if share > 0.5 else f"< {least:.{digits}f} %"


def duration(seconds: float, space: str = " ") -> str:
    """Seconds in at most two units: ``45 s``, ``3 min 20 s``, ``2 h 5 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}{space}s"
    if whole < 3600:
        return f"{whole // 60}{space}min {whole % 60}{space}s"
    return f"{whole // 3600}{space}h {whole % 3600 // 60}{space}min"


def shown(name: str | Path) -> str:
    """A name from a file system or a file, fit for a sentence: no control characters.

    >>> shown("cat\\x1b[31m.jpg")
    'cat\\\\x1b[31m.jpg'
    """
    text = str(name).encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def shortened(text: str, width: int) -> str:
    """``text`` in at most ``width`` characters, its middle left out: both ends tell the most.

    >>> shortened("photographs/of/cats.jpg", 13)
    'photo...s.jpg'
    """
    if len(text) <= width:
        return text
    kept = max(0, width - 3)
    return f"{text[: kept - kept // 2]}...{text[len(text) - kept // 2 :]}"


def plural(count: int, noun: str) -> str:
    """``1 image``, ``1,200 images``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def some_of(count: int, total: int, noun: str, rest: str = "") -> str:
    """So many of all for a sentence, in words where it is none, all, or the only one.

    Args:
        noun: of one, ``rest`` what follows it in one as in many.

    >>> [some_of(3, 12, "image"), some_of(12, 12, "image"), some_of(2, 2, "image", " of phone")]
    ['3 of 12 images', 'all 12 images', 'both images of phone']
    >>> some_of(0, 12, "image"), some_of(1, 1, "test image"), some_of(0, 1, "test image")
    ('none of the 12 images', 'the only test image', 'no test image')
    """
    if total == 1:
        return f"{'the only' if count else 'no'} {noun}{rest}"
    if count == total:
        return f"both {noun}s{rest}" if total == 2 else f"all {total:,} {noun}s{rest}"
    return f"{f'{count:,} of' if count else 'none of the'} {total:,} {noun}s{rest}"


def share_of_all(count: int, total: int, noun: str, rest: str = "") -> str:
    """The same with the percentage where it says more.

    >>> share_of_all(3, 12, "image"), share_of_all(12, 12, "image")
    ('3 of 12 images (25.0 %)', 'all 12 images')
    """
    some = some_of(count, total, noun, rest)
    return f"{some} ({percent(count / total)})" if 0 < count < total else some


def capital(text: str) -> str:
    """The text with a capital letter at its beginning."""
    return text[:1].upper() + text[1:]


def are(count: int) -> str:
    """``is`` for one and for none, else ``are``: none of 12 images is right."""
    return "is" if count in (0, 1) else "are"


def listed(names: Sequence[str], most: int = 10, last: str = "") -> str:
    """Names for a sentence: the first few and how many more; ``none`` if there are none.

    Args:
        most: so many names are written out.
        last: the word before the last of them, such as "and" or "or"; empty: a comma.

    >>> listed(["a", "b", "c"], last="or"), listed(["a", "b", "c"]), listed(["a", "b", "c"], 2)
    ('a, b or c', 'a, b, c', 'a, b and 1 more')
    """
    if not names:
        return "none"
    first = [shown(name) for name in names[:most]]
    if len(names) > most:
        return f"{', '.join(first)} and {len(names) - most:,} more"
    if last and len(first) > 1:
        return f"{', '.join(first[:-1])} {last} {first[-1]}"
    return ", ".join(first)


def nearest(name: str, known: Iterable[str], most: int = 1, cutoff: float = 0.5) -> list[str]:
    """The names that begin as ``name`` does, else those spelled most like it; the best first."""
    from difflib import get_close_matches

    wanted = name.casefold()
    by_folded = {each.casefold(): each for each in sorted(known, reverse=True)}
    near = [each for each in sorted(by_folded) if wanted and each.startswith(wanted)]
    near = near or get_close_matches(wanted, by_folded, n=most, cutoff=cutoff)
    return [by_folded[each] for each in near[:most]]


def did_you_mean(name: str, known: Iterable[str], most: int = 1, cutoff: float = 0.5) -> str:
    """`` Did you mean 'x'?`` with the nearest of the names that would do; empty if none is near.

    >>> did_you_mean("epoch", ["epochs", "seed"])
    " Did you mean 'epochs'?"
    """
    near = nearest(name, known, most, cutoff)
    return f" Did you mean {quoted(near)}?" if near else ""


def texts(values: str | Iterable[str]) -> tuple[str, ...]:
    """Texts that are given as several, or as the only one.

    >>> texts("red"), texts(["red", "blue"])
    (('red',), ('red', 'blue'))
    """
    return (values,) if isinstance(values, str) else tuple(values)


def quoted(names: Sequence[str]) -> str:
    """Names to choose from: ``'a' or 'b'``."""
    return " or ".join(f"'{shown(name)}'" for name in names)


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells as lines, the first column to the left, the others to the right.

    >>> aligned([["", "train"], ["cat", "1,000"], ["elephant", "7"]])
    ['          train', 'cat       1,000', 'elephant      7']
    """
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        (
            f"{row[0]:<{widths[0]}}"
            + "".join(f"  {cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True))
        ).rstrip()
        for row in rows
    ]
