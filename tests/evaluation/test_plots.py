from __future__ import annotations

import io
import warnings
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import Image

from tellapart.evaluation import plots
from tellapart.evaluation.figure_readings import describe_figures
from tellapart.evaluation.metric_table import ClassMetrics
from tellapart.evaluation.metrics import evaluate_predictions
from tellapart.evaluation.plots.style import line_styles, shorten, thin
from tellapart.number import Number

HISTORY = [
    {
        "epoch": i,
        "loss": 1 / i,
        "accuracy": 1 - 0.5 / i,
        "validation_loss": 1.2 / i,
        "validation_accuracy": 1 - 0.6 / i,
        "learning_rate": 0.001,
    }
    for i in range(1, 8)
]
NUMBERS = [Number(0.9, 0.88, 0.92), Number(None)]


def texts(figure: matplotlib.figure.Figure) -> str:
    """All words of a figure, as a reader of the SVG finds them."""
    return " ".join(ElementTree.fromstring(plots.to_svg(figure)).itertext())


@pytest.mark.parametrize("classes", [2, 6, 12, 30])
def test_every_figure_names_its_part_and_has_a_reading(made, classes: int) -> None:
    predictions = made(300, classes, part="validation")
    metrics = evaluate_predictions(predictions)
    figures = plots.evaluation_figures(predictions, metrics, HISTORY, best_epoch=5)
    readings = describe_figures(metrics, HISTORY, best_epoch=5)
    assert set(figures) <= set(readings) and len(figures) == (7 if classes == 2 else 8)
    for name, figure in figures.items():
        assert "validation" in texts(figure), name
        assert readings[name].endswith("."), name


def test_confusion_matrix_writes_counts_and_shares() -> None:
    words = texts(plots.confusion_matrix([[30, 10], [5, 1155]], ["cat", "dog"], "test"))
    for expected in (
        "30",
        "75.0 %",
        "10",
        "25.0 %",
        "1,155",
        "99.6 %",
        "cat",
        "dog",
        "predicted",
        "true",
        "Confusion matrix: test, 1,200 images",
    ):
        assert expected in words


def test_a_fallback_font_without_bold_letters_is_not_the_users_business(
    caplog: pytest.LogCaptureFixture,
) -> None:
    import logging

    from tellapart.evaluation.plots.style import style

    logger = logging.getLogger("matplotlib.font_manager")
    with style():
        logger.warning(
            "findfont: Failed to find font weight %s for %s, now using %d.", "bold", "X", 400
        )
        logger.warning("something else")
    logger.warning("findfont: Failed to find font weight bold for X")
    assert [record.getMessage() for record in caplog.records] == [
        "something else",
        "findfont: Failed to find font weight bold for X",
    ]


def test_figures_of_a_thousand_classes_are_bounded_and_show_where_the_mistakes_are() -> None:
    names = [f"kind{i:03d}" for i in range(1000)]
    matrix = np.diag(np.full(1000, 3))
    matrix[700, 701] = matrix[701, 702] = 9  # the only mistakes
    figure = plots.confusion_matrix(matrix, names, "test")
    words = texts(figure)
    assert "60 most confused of 1,000 classes: test, 3,018 images" in words
    assert {"kind700", "kind701", "kind702"} <= set(words.split())
    width, height = figure.get_size_inches()
    assert width < 15 and height < 15
    other = Number(None)
    recall = {
        name: ClassMetrics(3, 3, other, Number(i / 1000, 0.0, 1.0), other, other, other)
        for i, name in enumerate(names)
    }
    words = texts(plots.per_class_bars(recall, "test"))
    assert "30 worst of 1,000 classes" in words
    assert "kind029" in words and "kind030" not in words
    counts = plots.class_counts({"train": list(range(1, 1001))}, names)
    assert "30 smallest of 1,000 classes" in texts(counts) and "kind030" not in texts(counts)


def test_a_class_may_be_called_anything() -> None:
    names = ["<img src=x onerror=alert(1)>", "$x_1^$", "a\\b%{", "名前"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        words = texts(plots.confusion_matrix(np.eye(4, dtype=int), names, "test"))
    assert "<img src=x on" in words and "$x_1^$" in words and "名前" in words


@pytest.mark.parametrize(
    "fallback, missing", [((), True), (("No Such Font", "STIXGeneral"), False)]
)
def test_letters_that_the_main_font_lacks_come_from_another_font_of_this_machine(
    monkeypatch: pytest.MonkeyPatch, fallback: tuple[str, ...], missing: bool
) -> None:
    monkeypatch.setattr(plots.style, "FALLBACK_FONTS", fallback)
    plots.style._fonts.cache_clear()
    try:
        with plots.style.style(), warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            figure, axes = plots.style.new_figure()
            axes[0, 0].set_xlabel("\u210a")  # DejaVu Sans has no such letter
            figure.savefig(io.BytesIO(), format="png")
    finally:
        plots.style._fonts.cache_clear()
    assert ["missing from font" in str(warning.message) for warning in said] == [True] * missing


def test_files_are_complete_described_and_repeatable(made, tmp_path: Path) -> None:
    predictions = made(100)
    figure = plots.roc_curves(predictions.labels, predictions.probabilities, ("a", "b"), "test")
    svg, png = plots.save_figure(figure, tmp_path / "figures", "roc", 'An area of "0.9" <b>.')
    assert Image.open(png).size[0] > 600
    root = ElementTree.parse(svg).getroot()
    assert root.attrib["aria-label"] == 'An area of "0.9" <b>.' and root.attrib["role"] == "img"
    assert root[0].text == 'An area of "0.9" <b>.'
    ids = [element.attrib["id"] for element in root.iter() if "id" in element.attrib]
    assert len(ids) == len(set(ids)) and all(name.startswith("roc-") for name in ids)
    again = plots.roc_curves(predictions.labels, predictions.probabilities, ("a", "b"), "test")
    plots.save_figure(again, tmp_path / "again", "roc", 'An area of "0.9" <b>.')
    for path in (svg, png):
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()
    assert sorted(p.name for p in (tmp_path / "figures").iterdir()) == ["roc.png", "roc.svg"]


@pytest.mark.parametrize("draw", [plots.roc_curves, plots.precision_recall_curves])
def test_the_enlarged_corner_is_there_only_where_it_covers_no_curve(draw) -> None:
    random = np.random.default_rng(0)
    labels = np.arange(600) % 2
    shown = []
    for distance in (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0):
        scores = 1 / (1 + np.exp(-random.normal(distance * (2 * labels - 1), 2.0)))
        figure = draw(labels, np.stack([1 - scores, scores], axis=1), ("a", "b"), "test")
        axes = figure.axes[0]
        shown.append(bool(axes.child_axes))
        if not axes.child_axes:
            continue
        figure.draw_without_rendering()
        covered = axes.child_axes[0].get_tightbbox()
        for line in axes.lines:
            if line.get_label().startswith(("a ", "b ")):
                path = line.get_transform().transform_path(line.get_path())
                assert not path.intersects_bbox(covered, filled=False), distance
    assert shown == sorted(shown) and not shown[0] and shown[-1]


def test_no_global_state_is_left_behind(made) -> None:
    before = dict(matplotlib.rcParams)
    predictions = made(60, 3)
    for figure in plots.evaluation_figures(predictions, evaluate_predictions(predictions)).values():
        plots.to_svg(figure)
    assert dict(matplotlib.rcParams) == before


def test_figures_of_data_and_runs() -> None:
    names = ["small network", "frozen features"]
    counts = plots.class_counts({"train": [5, 7], "validation": [1, 2], "test": [0, 0]}, names)
    assert "train (12)" in texts(counts) and "test" not in texts(counts)
    bars = texts(plots.compare_accuracy_bars(names, {"train": NUMBERS, "test": NUMBERS}))
    assert "90.0 %" in bars and "Accuracy on train and test" in bars
    assert "Accuracy against trainable parameters: test" in texts(
        plots.accuracy_against_parameters(names, [1234, 2.5e6], NUMBERS, "test")
    )
    assert "min" in texts(plots.accuracy_against_seconds(names, [20, 900], NUMBERS, "validation"))
    overlay = texts(plots.overlay_curves({"a run": HISTORY, "no history": []}))
    assert "a run" in overlay and "no history" not in overlay
    points = np.random.default_rng(0).normal(size=(50, 2))
    drawn = plots.embedding_map(points, np.arange(50) % 2, names, "test", np.arange(50) < 3)
    assert "mistake (3)" in texts(drawn)


def test_the_words_for_the_kept_epoch_touch_neither_legend_nor_curves() -> None:
    for number in (1, 2, 3, 12, 40):
        rows = [{"epoch": e, "loss": 1 / e, "validation_loss": 1.0} for e in range(1, number + 1)]
        for best in range(1, number + 1):
            figure = plots.learning_curves(rows, best_epoch=best)
            figure.draw_without_rendering()
            axes = figure.axes[0]
            words = axes.texts[0].get_window_extent()
            assert not words.overlaps(figure.legends[0].get_window_extent()), (best, number)
            assert not words.overlaps(axes.get_window_extent()), (best, number)


def test_learning_curves_mark_the_epoch_that_was_kept() -> None:
    words = texts(plots.learning_curves(HISTORY, best_epoch=6))
    assert "kept: epoch 6, 90.0 %" in words and "rate" in words
    assert "kept" not in texts(plots.learning_curves(HISTORY))
    assert "rate" not in texts(plots.learning_curves([{"epoch": 1, "loss": 1.0}] * 3))


def test_odd_inputs_are_drawn(made) -> None:
    """One image, one class, nothing wrong, nothing right."""
    single = made(1, 3)
    assert "confusion_matrix" in plots.evaluation_figures(single, evaluate_predictions(single))
    for separation in (80.0, -80.0):
        predictions = made(40, 2, separation=separation)
        figures = plots.evaluation_figures(predictions, evaluate_predictions(predictions))
        for figure in figures.values():
            plots.to_svg(figure)


def test_curves_are_thinned_and_names_shortened() -> None:
    x = np.linspace(0, 1, 10_000)
    thinned_x, thinned_y = thin(x, x**2)
    assert len(thinned_x) <= 400 and (thinned_x[0], thinned_x[-1]) == (0, 1)
    assert np.abs(np.interp(x, thinned_x, thinned_y) - x**2).max() < 1e-4
    assert shorten("a name that is much too long for an axis") == "a name that …for an axis"
    assert len({str(line) for line in line_styles(24)}) == 24


def words_of(figure: matplotlib.figure.Figure) -> list[tuple[str, float, tuple[float, ...]]]:
    """Every word that is drawn: text, size, and (left, bottom, right, top) in pixels."""
    from matplotlib.axes import Axes
    from matplotlib.text import Text

    plots.to_svg(figure)  # settles the layout
    figure.draw_without_rendering()
    beyond = set()  # ticks past the end of an axis are kept and not drawn
    for axes in figure.findobj(Axes):
        for axis, limits in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
            for tick in axis.get_major_ticks():
                inside = min(limits) - 1e-9 <= tick.get_loc() <= max(limits) + 1e-9
                beyond |= {label for label in (tick.label1, tick.label2) if not inside}
    return [
        (text.get_text(), text.get_fontsize(), tuple(text.get_window_extent().extents))
        for text in figure.findobj(Text)
        if text.get_visible() and text.get_text().strip() and text not in beyond
    ]


@pytest.mark.parametrize(
    ("classes", "separation"), [(2, 1.5), (2, 9.0), (4, 2.0), (12, 3.0), (30, 4.0)]
)
def test_words_have_one_size_and_neither_leave_the_figure_nor_cover_each_other(
    made, classes: int, separation: float
) -> None:
    predictions = made(600, classes, separation=separation)
    metrics = evaluate_predictions(predictions)
    histories = {f"a-run-{n}": HISTORY for n in range(3)}
    accuracies = [Number(0.98, 0.97, 0.99), Number(0.95, 0.93, 0.97), Number(0.8, 0.77, 0.83)]
    figures = {
        **plots.evaluation_figures(predictions, metrics, HISTORY, best_epoch=5),
        **{f"kept {n}": plots.learning_curves(HISTORY, best_epoch=n) for n in (1, 4, 7)},
        "overlay": plots.overlay_curves(histories),
        "bars": plots.compare_accuracy_bars(
            list(histories), {"train": accuracies, "test": accuracies}
        ),
        "parameters": plots.accuracy_against_parameters(
            list(histories), [2e3, 4e6, 1e5], accuracies, "test"
        ),
        "seconds": plots.accuracy_against_seconds(
            list(histories), [20, 400, 90], accuracies, "test"
        ),
    }
    del figures["confusion_matrix"]  # shown by no page
    for name, figure in figures.items():
        words = words_of(figure)
        assert {size for _, size, _ in words} == {9.0}, name
        width, height = figure.bbox.size
        for text, _, (left, bottom, right, top) in words:
            assert left > -2 and bottom > -2 and right < width + 2 and top < height + 2, (
                name,
                text,
            )
        for i, (text, _, (left, bottom, right, top)) in enumerate(words):
            for other, _, (l2, b2, r2, t2) in words[i + 1 :]:
                across = min(right, r2) - max(left, l2)
                down = min(top, t2) - max(bottom, b2)
                assert across < 2 or down < 2, (name, text, other)
