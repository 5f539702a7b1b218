"""What a report says, as plain data: no images are opened and no number is worked out here.

Every text is plain text; names of classes, files and folders are escaped when the page is
built. Every picture and figure arrives as bytes, so pages can be built without PyTorch,
matplotlib or Pillow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tellapart.number import Kind, Number
from tellapart.verdict.verdict import Action, Conclusion, Light, Verdict

Level = Literal["good", "note", "warning", "problem"]


Cell = str | int | float | Number | None


@dataclass(frozen=True)
class Column:
    """One column of a table.

    ``help`` is a short explanation shown with the heading. ``best`` marks the best value
    of the column in bold: ``"high"`` or ``"low"`` says which end is best.
    """

    title: str
    kind: Kind = "text"
    help: str = ""
    best: Literal["", "high", "low"] = ""


@dataclass(frozen=True)
class Table:
    """A sortable table; ``reading`` is the sentence that says what it shows.

    The first column names the row. Long tables get a filter; rows after the first
    :data:`tellapart.report.page.MAXIMUM_ROWS` are left out and counted. ``empty`` is the
    sentence shown instead of a table without rows.
    """

    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    reading: str = ""
    empty: str = ""


@dataclass(frozen=True)
class Reference:
    """A value to hold a headline against, for example always answering the largest class."""

    label: str
    value: float


@dataclass(frozen=True)
class Headline:
    """The one number of the page, drawn large with its interval.

    ``number`` lies in 0..1 for the kinds ``share`` and ``score``, which are drawn on a
    scale; ``sentence`` says in plain words what it means.
    """

    label: str
    number: Number
    sentence: str = ""
    kind: Kind = "share"
    references: Sequence[Reference] = ()


@dataclass(frozen=True)
class KeyNumber:
    """A smaller number beside the headline; ``help`` explains it in a few words."""

    label: str
    number: Number
    kind: Kind = "share"
    help: str = ""


@dataclass(frozen=True)
class Picture:
    """One small picture and what is known about its image.

    ``image`` holds an encoded PNG, JPEG, WebP or GIF, best made by
    :func:`tellapart.pixels.thumbnails.make_thumbnail`. ``probabilities`` are the
    likeliest classes, likeliest first; five are enough.
    """

    image: bytes
    path: str = ""
    true: str = ""
    predicted: str = ""
    confidence: float | None = None
    probabilities: Sequence[tuple[str, float]] = ()
    caption: str = ""


@dataclass(frozen=True)
class Gallery:
    """Pictures that can be filtered by true class, predicted class and confidence.

    ``name`` is unique in the page (letters, digits, hyphens). ``total`` counts all images
    of this sort when only some are shown, and ``rest`` says where to find the others.
    """

    name: str
    title: str
    pictures: Sequence[Picture]
    reading: str = ""
    total: int | None = None
    rest: str = ""
    empty: str = "There are none."


@dataclass(frozen=True)
class Pairs:
    """Pictures side by side, two and two; ``total`` counts all such pairs."""

    title: str
    pairs: Sequence[tuple[Picture, Picture]]
    reading: str = ""
    total: int = 0


@dataclass(frozen=True)
class Callout:
    """A sentence that stands out on the page, what to do about it, and pictures that show it."""

    level: Level
    sentence: str
    advice: str = ""
    pictures: Sequence[Picture] = ()


@dataclass(frozen=True)
class Figure:
    """A figure with the sentence that says what it shows and a text for who cannot see it.

    ``image`` is SVG text or the bytes of a PNG, JPEG or WebP. ``png`` is taken instead of
    an SVG that is too large to be drawn quickly. ``photographic`` figures (overlays, sheets
    of images) keep their colours on a dark page; ``wide`` ones take the whole width. Where the
    picture is ``titled`` itself, the page does not show the title a second time.
    """

    name: str
    title: str
    image: str | bytes
    reading: str
    alt: str = ""
    png: bytes | None = None
    photographic: bool = False
    wide: bool = False
    titled: bool = True


@dataclass(frozen=True)
class Confusion:
    """How many images of each true class (rows) got each answer (columns)."""

    classes: Sequence[str]
    counts: Sequence[Sequence[int]]
    reading: str = ""


@dataclass(frozen=True)
class Confused:
    """Two classes that are taken for each other: so many of the images of ``true``, of all its
    ``of`` images, got the answer ``answer``."""

    true: str
    answer: str
    images: int
    of: int


@dataclass(frozen=True)
class Confusions:
    """The most frequent confusions of many classes, ranked; it stands in place of a matrix."""

    ranked: Sequence[Confused]
    reading: str = ""


@dataclass(frozen=True)
class Facts:
    """Short facts, each a label and a value.

    ``private`` are the labels of those that say where something was made: a page that is made to
    be sent is without them.
    """

    title: str
    items: Sequence[tuple[str, str]]
    private: Sequence[str] = ()


@dataclass(frozen=True)
class Search:
    """How a classifier was chosen among candidates; ``command`` trains it again."""

    sentences: Sequence[str]
    table: Table
    figure: Figure | None
    command: str


@dataclass(frozen=True)
class RunReport:
    """One run: can its number be believed, what will it do, what next; then where it goes wrong,
    and how it came about.

    The first screen is ``headline`` and ``verdict``, with the two or three ``key_numbers`` that
    the headline must not be read without. ``decision`` is the rule in force where it is not simply
    the likeliest class. ``numbers`` are all the other numbers. Of ``confusion`` and
    ``confusions`` a page has one: a matrix of few classes, a ranked list of many. ``tables`` are
    further tables of the evaluation (thresholds, coverage); ``galleries`` usually the most
    confident mistakes, named ``mistakes``, which a click on a confusion filters, and the least
    certain images. ``durations`` are (stage, seconds) in the order in which they ran.
    ``search`` says how it was chosen, where several candidates were tried.
    ``data_problems`` lists files left out, ``data_notes`` says how the images were read, and
    ``notes`` how the training went about it.
    """

    title: str
    headline: Headline
    verdict: Verdict | None = None
    subtitle: str = ""
    created: str = ""
    key_numbers: Sequence[KeyNumber] = ()
    decision: str = ""
    callouts: Sequence[Callout] = ()
    numbers: Sequence[KeyNumber] = ()
    data_facts: Facts | None = None
    data_counts: Table | None = None
    data_problems: Table | None = None
    data_notes: Sequence[str] = ()
    samples: Gallery | None = None
    look_alikes: Pairs | None = None
    per_class: Table | None = None
    confusion: Confusion | None = None
    confusions: Confusions | None = None
    figures: Sequence[Figure] = ()
    tables: Sequence[Table] = ()
    galleries: Sequence[Gallery] = ()
    history_figures: Sequence[Figure] = ()
    history: Table | None = None
    search: Search | None = None
    recipe_yaml: str = ""
    command: str = ""
    run_facts: Sequence[Facts] = ()
    weights: Table | None = None
    durations: Sequence[tuple[str, float]] = ()
    notes: Sequence[str] = ()
    footer: str = ""


@dataclass(frozen=True)
class ComparisonReport:
    """Several runs on the same test images: which is better, and is it more than chance?

    Without a ``headline`` no run stands out, and ``summary`` says so. ``runs`` has a row a run,
    ``settings`` a row for each setting that differs; ``differences`` are the paired tests as
    sentences and ``tests`` the same in numbers; ``figures`` the charts, ``curves`` the training
    curves over each other; ``galleries`` the images that only one run gets right.
    """

    title: str
    runs: Table
    headline: Headline | None = None
    summary: str = ""
    subtitle: str = ""
    created: str = ""
    key_numbers: Sequence[KeyNumber] = ()
    callouts: Sequence[Callout] = ()
    settings: Table | None = None
    differences: Sequence[Callout] = ()
    tests: Table | None = None
    figures: Sequence[Figure] = ()
    curves: Sequence[Figure] = ()
    tables: Sequence[Table] = ()
    galleries: Sequence[Gallery] = ()
    facts: Sequence[Facts] = ()
    notes: Sequence[str] = ()
    footer: str = ""


@dataclass(frozen=True)
class TuningReport:
    """The trials of a tuning: what was tried, what it came to, and which settings mattered."""

    title: str
    trials: Table
    subtitle: str = ""
    created: str = ""
    summary: str = ""
    key_numbers: Sequence[KeyNumber] = ()
    callouts: Sequence[Callout] = ()
    figures: Sequence[Figure] = ()
    space: Table | None = None
    command: str = ""
    facts: Sequence[Facts] = ()
    footer: str = ""


@dataclass(frozen=True)
class DriftReport:
    """Do images still look like those that a run was trained for, and which do not?

    The first screen is ``headline`` beside the ``light``, which answers ``question`` in ``word``
    and ``answer``, with the ``conclusions`` that it goes by; then ``actions``, the ``galleries`` of
    the oddest images, ``figures`` and ``tables``.
    """

    title: str
    headline: Headline
    light: Light
    question: str
    word: str
    answer: str
    conclusions: Sequence[Conclusion] = ()
    subtitle: str = ""
    created: str = ""
    key_numbers: Sequence[KeyNumber] = ()
    actions: Sequence[Action] = ()
    callouts: Sequence[Callout] = ()
    galleries: Sequence[Gallery] = ()
    figures: Sequence[Figure] = ()
    tables: Sequence[Table] = ()
    problems: Table | None = None
    facts: Sequence[Facts] = ()
    notes: Sequence[str] = ()
    footer: str = ""


@dataclass(frozen=True)
class DataReport:
    """A folder of images before any training: what is there and what is wrong with it.

    ``key_numbers`` are images, classes, files left out and so on; ``callouts`` what it found,
    with pictures and advice; ``tables`` sizes, formats and colour modes.
    """

    title: str
    counts: Table
    subtitle: str = ""
    created: str = ""
    summary: str = ""
    key_numbers: Sequence[KeyNumber] = ()
    callouts: Sequence[Callout] = ()
    facts: Sequence[Facts] = ()
    samples: Gallery | None = None
    figures: Sequence[Figure] = ()
    tables: Sequence[Table] = ()
    galleries: Sequence[Gallery] = ()
    problems: Table | None = None
    notes: Sequence[str] = ()
    footer: str = ""


@dataclass(frozen=True)
class Explanation:
    """Why one image got its answer.

    ``picture`` is the image with its answer; ``overlays`` the same image with what mattered
    drawn over it, one a method, the method as caption; ``neighbours`` the nearest training
    images, nearest first.
    """

    picture: Picture
    overlays: Sequence[Picture] = ()
    neighbours: Sequence[Picture] = ()
    reading: str = ""


@dataclass(frozen=True)
class ExplanationReport:
    """Why the classifier says what it says, for some images and as a whole.

    ``figures`` show the network itself: first-layer kernels, feature maps, the map of the
    features.
    """

    title: str
    explanations: Sequence[Explanation] = ()
    subtitle: str = ""
    created: str = ""
    summary: str = ""
    callouts: Sequence[Callout] = ()
    figures: Sequence[Figure] = ()
    facts: Sequence[Facts] = ()
    notes: Sequence[str] = ()
    footer: str = ""
