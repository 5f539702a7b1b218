"""Reports made of little: what the tests of the pages show to the parser and to the browser."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

from PIL import Image

from tellapart.number import Number
from tellapart.report.content import (
    Callout,
    Column,
    ComparisonReport,
    Confusion,
    DataReport,
    DriftReport,
    Explanation,
    ExplanationReport,
    Facts,
    Figure,
    Gallery,
    Headline,
    KeyNumber,
    Pairs,
    Picture,
    Reference,
    RunReport,
    Table,
)
from tellapart.verdict.verdict import Action, ClassSentence, Conclusion, Verdict

HOSTILE = "<img src=x onerror=alert(1)>"
HOSTILE_QUOTES = "\"'><script>alert(2)</script><a href=https://example.org>"
SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 40 30">'
    '<rect width="40" height="30" fill="#fff"/><path d="M5 25L35 5" stroke="#000"/></svg>'
)


def stamp(number: int, size: int = 16) -> bytes:
    """A picture whose colour is the number of its image: PNG, so that it is kept exactly."""
    buffer = BytesIO()
    Image.new("RGB", (size, size), (number % 256, number // 256, 77)).save(buffer, "PNG")
    return buffer.getvalue()


def read_stamp(image: bytes) -> int:
    """The number in a stamped picture."""
    red, green, blue = Image.open(BytesIO(image)).convert("RGB").getpixel((8, 8))
    assert blue == 77
    return red + 256 * green


def stamped(number: int, true: str, predicted: str = "") -> Picture:
    """Image ``number``: its pixels, its path and its confidence all tell the number."""
    confidence = number / 1000
    return Picture(
        image=stamp(number),
        path=f"test/{number}.png",
        true=true,
        predicted=predicted,
        confidence=confidence if predicted else None,
        probabilities=[(predicted, confidence), (true, 1 - confidence)] if predicted else [],
    )


def run_report(
    classes: Sequence[str] = ("ant", "bee"), mistakes: Sequence[Picture] | None = None
) -> RunReport:
    """A run with something in every place, every text of it partly a class name."""
    count = len(classes)
    if mistakes is None:
        mistakes = [
            stamped(number, classes[number % count], classes[(number + 1) % count])
            for number in range(900, 900 - 30, -1)
        ]
    name = classes[0]
    counts = [
        [
            90 if row == column else 2 if column == (row + 1) % count else 0
            for column in range(count)
        ]
        for row in range(count)
    ]
    number = Number(0.9, 0.85, 0.94)
    return RunReport(
        title=f"Test of {name}",
        subtitle=f"Subtitle with {name}",
        created="1 December 2026",
        headline=Headline(
            f"Accuracy, {name}", number, f"Nine of ten, {name}.", references=[Reference(name, 0.5)]
        ),
        verdict=Verdict(
            "red",
            f"No: {name} leaks.",
            tuple(
                Conclusion("leak", judgement, 9, f"{judgement} {name}.")
                for judgement in ("bad", "too_few", "good")
            ),
            f"Of {name} little.",
            tuple(ClassSentence(c, f"Of 100 images of {c} it finds 9.", 9) for c in classes),
            (Action("train", f"Train {name} again.", f"tellapart train {name}"),),
            (Conclusion("other", "good", 1, f"Else {name} is well."),),
        ),
        numbers=[KeyNumber(f"Number of {name}", number)],
        key_numbers=[
            KeyNumber(name, Number(None, reason=f"only {name} is there"), "score", name),
        ],
        data_facts=Facts(name, [(name, name)]),
        data_counts=Table(
            "Counts", [Column("Class"), Column("Train", "count")], [[c, 5] for c in classes]
        ),
        data_problems=Table("Left out", [Column("File"), Column("Reason")], [[name, name]], name),
        samples=Gallery("samples", "Samples", [stamped(i, c) for i, c in enumerate(classes)]),
        look_alikes=Pairs("Look-alikes", [(stamped(10, name), stamped(11, name))], name, 7),
        per_class=Table(
            "Each class",
            [Column("Class", help=name), Column("Images", "count"), Column("Recall", "share")],
            [
                [c, 5 + i, Number(i / count, i / count, (i + 1) / count) if i else Number(None)]
                for i, c in enumerate(classes)
            ],
            f"About {name}.",
        ),
        confusion=Confusion(classes, counts, f"{name} is taken for others."),
        figures=[Figure("f", f"Figure of {name}", SVG, f"Reads {name}.", f"Alt {name}")],
        galleries=[
            Gallery("mistakes", "Mistakes", mistakes, total=999, rest="the rest is elsewhere"),
            Gallery("nothing", "Nothing", [], empty="There is nothing to show."),
        ],
        history=Table(
            "", [Column("Epoch", "count"), Column("Loss", "score")], [[1, 0.5], [2, None]]
        ),
        recipe_yaml=f"name: {name}\n",
        command=f"tellapart train {name}",
        run_facts=[Facts("Machine", [("Name", name)])],
        durations=[(name, 1.5), ("two", 61.0)],
        notes=[f"Note on {name}."],
        footer=name,
    )


def comparison_report(name: str = "first") -> ComparisonReport:
    """Two runs, one of which has a name of one's choice."""
    number = Number(0.9, 0.85, 0.94)
    return ComparisonReport(
        title=f"Comparison with {name}",
        runs=Table(
            "Runs",
            [
                Column("Run"),
                Column("Accuracy", "share", best="high"),
                Column("Loss", "score", best="low"),
            ],
            [[name, number, 0.3], ["second", Number(0.8, 0.7, 0.9), 0.2]],
        ),
        headline=Headline(name, number),
        callouts=[Callout("good", name)],
        differences=[Callout("note", f"{name} and second cannot be told apart.")],
        tests=Table("Tests", [Column("Pair"), Column("p", "score")], [[name, 0.04]]),
        figures=[Figure("a", "Bars", SVG, name)],
        curves=[Figure("b", "Curves", SVG, name)],
        galleries=[
            Gallery(f"only {name}", f"Only {name}", [stamped(3, "ant", "bee")]),
            Gallery(f"only {name}", f"Only {name} again", [stamped(4, "ant", "bee")]),
        ],
        facts=[Facts("Images", [("Folder", name)])],
        notes=[name],
    )


def data_report(name: str = "ant") -> DataReport:
    """A folder with one class of one's choice."""
    return DataReport(
        title=name,
        summary=name,
        counts=Table("Counts", [Column("Class"), Column("Images", "count")], [[name, 3]]),
        key_numbers=[KeyNumber("Images", Number(3), "count")],
        callouts=[Callout("problem", name, name, [stamped(5, name)])],
        facts=[Facts("Folder", [("Path", name)])],
        samples=Gallery("samples", "Samples", [stamped(6, name)]),
        figures=[Figure("sizes", "Sizes", SVG, name)],
        galleries=[Gallery("odd", "Odd", [stamped(8, name)])],
        problems=Table("Left out", [Column("File")], []),
        notes=[name],
    )


def drift_report(name: str = "ant") -> DriftReport:
    """A folder held against the training images, with a class of one's choice."""
    return DriftReport(
        title=name,
        headline=Headline("Far away", Number(0.2, 0.15, 0.27), name,
                          references=[Reference("usual", 0.05)]),
        light="red",
        question="Do they look alike?",
        word="No",
        answer=name,
        conclusions=[Conclusion("chance", "bad", 1, name), Conclusion("few", "too_few", 1, name)],
        key_numbers=[KeyNumber("Images", Number(3), "count")],
        actions=[Action("look", name, f"tellapart predict {name}")],
        galleries=[Gallery("odd", "Odd", [stamped(8, "", name)], reading=name)],
        figures=[Figure("distances", "Distances", SVG, name)],
        tables=[Table("Shares", [Column("Class"), Column("Share", "share")], [[name, 0.5]])],
        problems=Table("", [Column("File"), Column("Why")], [[name, name]]),
        facts=[Facts("The comparison", [("Images", name)], private=("Images",))],
        notes=[name],
    )  # fmt: skip


def explanation_report(name: str = "ant") -> ExplanationReport:
    """One image explained."""
    return ExplanationReport(
        title=f"Why {name}?",
        summary=name,
        explanations=[
            Explanation(
                stamped(500, name, "bee"),
                [Picture(stamp(500), caption=f"Grad-CAM {name}")],
                [stamped(20, name)],
                f"It looked at {name}.",
            )
        ],
        figures=[Figure("kernels", "Kernels", stamp(1), name, photographic=True)],
        facts=[Facts("Methods", [("Grad-CAM", name)])],
    )
