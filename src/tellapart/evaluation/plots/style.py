"""The one style of all figures, and how they are written to files.

Clear in grey and to colour-blind readers: what colour says, a dash, a marker, a position
or a word says too. matplotlib's pyplot and its global state are never used.
"""

from __future__ import annotations

import io
import logging
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import matplotlib
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from numpy.typing import NDArray

from tellapart.files import write_bytes, write_text
from tellapart.number import Number

INK = "#171b1f"
MUTED = "#59636c"
LINE = "#c9cfd4"
#: Right and wrong, train and what it is held against: a pair that stays apart in grey.
BLUE = "#2f78bd"
ORANGE = "#d9730d"

#: Blue, orange, green, purple, sky, brown, gold, grey: neighbours differ in lightness.
COLOURS = (BLUE, ORANGE, "#1b8a63", "#b0609c", "#6ab4e4", "#7a4a21", "#c6a200", "#4a4f57")
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.5, 1.5)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<")

#: Inches; at 100 % a figure is 403 CSS pixels wide, as wide as a telephone or a third of a page,
#: so that its letters are nowhere much smaller than they are meant to be.
WIDTH = 4.2
#: Points: the one size of all letters; only matrices of many classes, which no page shows, and
#: sheets of pictures have smaller ones.
LETTERS = 9.0
PNG_DPI = 150

FONT = "DejaVu Sans"  # comes with matplotlib
#: Looked for on this machine, for names in scripts that DejaVu Sans lacks: Noto and others on
#: Linux, then what comes with Windows and with macOS.
FALLBACK_FONTS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Noto Sans SC",
    "Noto Sans JP",
    "Noto Sans KR",
    "WenQuanYi Zen Hei",
    "Droid Sans Fallback",
    "Noto Sans Thai",
    "Noto Sans Devanagari",
    "Microsoft YaHei",
    "Yu Gothic",
    "Malgun Gothic",
    "Leelawadee UI",
    "Nirmala UI",
    "PingFang SC",
    "Hiragino Sans",
    "Apple SD Gothic Neo",
    "Arial Unicode MS",
)

_SETTINGS: Any = {  # matplotlib wants its own literal type here
    "font.size": LETTERS,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.labelsize": LETTERS,
    "axes.titlesize": LETTERS,
    "legend.title_fontsize": LETTERS,
    "axes.edgecolor": LINE,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "axes.axisbelow": True,
    "grid.color": "#e4e8eb",
    "grid.linewidth": 0.8,
    "xtick.major.pad": 6.0,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.labelsize": LETTERS,
    "ytick.labelsize": LETTERS,
    "legend.frameon": False,
    "legend.fontsize": LETTERS,
    "legend.handlelength": 1.8,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
    "patch.linewidth": 0.0,
    "axes.prop_cycle": cycler(color=COLOURS),
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    # Text stays text: small, searchable, and in the reader's own font.
    "svg.fonttype": "none",
    "svg.hashsalt": "tellapart",
    "path.simplify": True,
    "text.parse_math": False,  # a class may be called "$x"
    "axes.unicode_minus": True,
}

#: What an SVG asks for; the layout is measured in DejaVu Sans, the widest of them.
_SVG_FONTS = "system-ui, 'Segoe UI', 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif"


@contextmanager
def style() -> Iterator[None]:
    """Figures made within look alike; nothing is left behind.

    That a fallback font has no bold letters is not said: there is nothing to do about it.
    """

    def is_of_use(record: logging.LogRecord) -> bool:
        return "Failed to find font weight" not in record.getMessage()

    logger = logging.getLogger("matplotlib.font_manager")
    logger.addFilter(is_of_use)
    try:
        with matplotlib.rc_context({**_SETTINGS, "font.family": list(_fonts())}):
            yield
    finally:
        logger.removeFilter(is_of_use)


@cache
def _fonts() -> tuple[str, ...]:
    """DejaVu Sans and those of the fallback fonts that this machine has."""
    here = set(fontManager.get_font_names())
    return (FONT, *(name for name in FALLBACK_FONTS if name in here))


def new_figure(
    width: float = WIDTH, height: float = 3.6, rows: int = 1, columns: int = 1, **options: Any
) -> tuple[Figure, NDArray[Any]]:
    """A figure in inches with (rows, columns) axes; call within :func:`style`."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    return figure, axes


def set_title(figure: Figure, title: str) -> None:
    """The heading, at the figure's left edge, so that narrow axes do not cut it."""
    figure.suptitle(title, x=0.01, ha="left", fontsize=LETTERS, fontweight="bold")


def save_figure(
    figure: Figure, folder: Path | str, name: str, description: str = ""
) -> tuple[Path, Path]:
    """Write ``folder/name.svg`` and ``folder/name.png``; returns both paths.

    ``description`` becomes the SVG's title, for readers who cannot see it. Each file
    appears whole or not at all. The same figure gives the same bytes.
    """
    folder = Path(folder)
    svg, png = folder / f"{name}.svg", folder / f"{name}.png"
    write_text(svg, to_svg(figure, name, description), durable=False)
    write_bytes(png, to_png(figure), durable=False)
    return svg, png


def to_png(figure: Figure) -> bytes:
    """The figure as a PNG; after :func:`to_svg` of the same figure, its layout is settled."""
    buffer = io.BytesIO()
    with style(), _without_glyph_warnings():
        figure.savefig(
            buffer,
            format="png",
            dpi=PNG_DPI,
            facecolor="white",
            metadata={"Software": None},
            # Half the time of the default level for a tenth more bytes.
            pil_kwargs={"compress_level": 3},
        )
    return buffer.getvalue()


def to_svg(figure: Figure, name: str = "figure", description: str = "") -> str:
    """The figure as SVG text, its ids starting with ``name`` so that several fit one page."""
    buffer = io.StringIO()
    with style(), _without_glyph_warnings():
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    # From here on the layout is settled; drawing the PNG need not work it out again.
    figure.set_layout_engine("none")
    text = buffer.getvalue()
    # A hundredth of a point is enough for a path, and a third fewer bytes.
    text = re.sub(r' d="[^"]+"', lambda path: re.sub(r"(\.\d\d)\d+", r"\1", path.group()), text)
    prefix = re.sub(r"[^A-Za-z0-9]+", "-", name) or "figure"
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}-", text)
    text = re.sub(rf"font-family: '{FONT}'[^;\"]*; ", "", text)  # named once instead
    text = text.replace("<svg ", f'<svg font-family="{_SVG_FONTS}" ', 1)
    if description:
        head, opening, rest = text.partition("<svg ")
        attributes, end, body = rest.partition(">")
        title = f"\n <title>{escape(description)}</title>"
        label = f'role="img" aria-label={quoteattr(description)} '
        text = head + opening + label + attributes + end + title + body
    return text


@contextmanager
def _without_glyph_warnings() -> Iterator[None]:
    """A name in a script for which this machine has no font is right in the SVG and boxes in
    the PNG; the name itself stands beside the figure, so there is nothing for the user to do."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def title_with_part(what: str, part: str, images: int | None = None) -> str:
    """As "Confusion matrix: test, 2,000 images": every figure names the part it shows."""
    if not part:
        return what
    return f"{what}: {part}" + (f", {images:,} images" if images is not None else "")


def line_styles(count: int) -> list[dict[str, Any]]:
    """``count`` line styles, colour and dash together, the first ones most distinct."""
    return [
        # One dash further each time the colours are used up, so that no pair comes twice.
        {
            "color": COLOURS[i % len(COLOURS)],
            "linestyle": DASHES[(i + i // len(COLOURS)) % len(DASHES)],
        }
        for i in range(count)
    ]


def shorten(text: str, longest: int = 24) -> str:
    """A long name with its middle left out, so that both ends still tell it apart."""
    text = " ".join(text.split())
    if len(text) <= longest:
        return text
    head = (longest - 1 + 1) // 2
    return f"{text[:head]}…{text[-(longest - 1 - head) :]}"


def percent_axis(axis: Any, decimals: int | None = None) -> None:
    """Ticks of an axis of shares as per cent."""
    from matplotlib.ticker import PercentFormatter

    axis.set_major_formatter(PercentFormatter(1.0, decimals=decimals, symbol=" %"))


def grid(axes: Axes, axis: str = "both") -> None:
    """Quiet grid lines and no tick marks."""
    axes.grid(True, axis=axis)  # type: ignore[arg-type]
    axes.tick_params(length=0)


def thin(x: NDArray[Any], y: NDArray[Any], points: int = 400) -> tuple[NDArray[Any], NDArray[Any]]:
    """At most ``points`` of a curve's points, evenly along its length, ends kept."""
    if len(x) <= points:
        return x, y
    span_x, span_y = np.ptp(x) or 1.0, np.ptp(y) or 1.0
    steps = np.hypot(np.diff(x) / span_x, np.diff(y) / span_y)
    length = np.append(0.0, np.cumsum(steps))
    wanted = np.searchsorted(length, np.linspace(0, length[-1], points))
    keep = np.unique(np.append(wanted.clip(0, len(x) - 1), [0, len(x) - 1]))
    return x[keep], y[keep]


def whiskers(numbers: Sequence[Number]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Values (N,) and distances to their limits (2, N) of numbers; nan where undefined."""
    rows = [(number.value, number.low, number.high) for number in numbers]
    value, low, high = np.array(rows, dtype=np.float64).reshape(-1, 3).T  # None becomes nan
    return value, np.stack([value - low, high - value]).clip(0.0)
