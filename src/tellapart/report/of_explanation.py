"""The page of an explanation: what was found about images and network, drawn and in sentences."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tellapart.explanation.figures import (
    MAXIMUM_KERNELS,
    feature_map_sheet,
    kernel_sheet,
    overlay,
)
from tellapart.explanation.inside import Inside
from tellapart.explanation.of_image import ImageExplanation, Neighbour
from tellapart.files import replacing, write_text
from tellapart.pixels.thumbnails import make_thumbnail
from tellapart.report.content import (
    Callout,
    Explanation,
    ExplanationReport,
    Facts,
    Figure,
    Picture,
)
from tellapart.report.render import render_report
from tellapart.wording import percent

#: Nearer than this, two images are the same picture to the classifier.
SAME = 1e-3

_SIDE = 336


def write_explanation_report(
    folder: Path,
    images: Sequence[ImageExplanation],
    classes: Sequence[str],
    *,
    title: str,
    summary: str,
    figures: Sequence[Figure],
    facts: Sequence[Facts],
    notes: Sequence[str],
    footer: str,
) -> list[dict[str, str]]:
    """Write ``report.html`` and an overlay file an image and method into ``folder``.

    Returns:
        For each image, the file name of each of its overlays by method.
    """
    explanations, files = [], []
    for number, image in enumerate(images, start=1):
        overlays, written = _overlays(folder, number, image, classes)
        files.append(written)
        explanations.append(
            Explanation(
                picture=_picture(image, classes),
                overlays=overlays,
                neighbours=[_neighbour(n, image, classes) for n in image.neighbours],
                reading=reading_of(image, classes),
            )
        )
    report = ExplanationReport(
        title=title,
        subtitle="Why the classifier says what it says",
        created=datetime.now().astimezone().isoformat(timespec="seconds"),
        summary=summary,
        explanations=explanations,
        callouts=callouts_of(images, classes),
        figures=figures,
        facts=facts,
        notes=notes,
        footer=footer,
    )
    write_text(folder / "report.html", render_report(report))
    return files


def reading_of(image: ImageExplanation, classes: Sequence[str]) -> str:
    """What the overlays and the neighbours of one image say, in two or three sentences."""
    name = classes[image.target]
    before, after = image.hidden.probability, image.hidden.least_probability
    if image.hidden.heat.any():
        sentences = [
            f"Hiding the place that matters most takes the probability of '{name}' from "
            f"{percent(before)} to {percent(after)}."
        ]
        if before > 0.5 and after > 0.5:
            sentences.append("No single place decides it.")
    else:
        sentences = [f"No place speaks for '{name}': hiding any of them changes nothing."]
    silent = [f"'{classes[c]}'" for c, heat in image.evidence.items() if not heat.any()]
    if silent:
        sentences.append(f"Grad-CAM finds no place that speaks for {' or '.join(silent)}.")
    if image.neighbours:
        same = sum(n.label == image.target for n in image.neighbours)
        total = len(image.neighbours)
        number = {0: "None", total: "All"}.get(same, str(same))
        verb = "is" if same == 1 < total else "are"
        sentences.append(f"{number} of the {total} nearest training images {verb} '{name}'.")
    return " ".join(sentences)


def callouts_of(images: Sequence[ImageExplanation], classes: Sequence[str]) -> list[Callout]:
    """What the images have in common that is worth acting on."""
    found: list[Callout] = []
    twins = [
        (image, n)
        for image in images
        for n in image.neighbours
        if n.distance < SAME and n.path != image.subject.path
    ]
    contradicting = [
        (i, n) for i, n in twins if i.subject.label >= 0 and n.label not in (i.subject.label, -1)
    ]
    if contradicting:
        found.append(
            Callout(
                "problem",
                f"{_count(len(contradicting), 'image has', 'images have')} a twin among the "
                "training images that carries another class.",
                "One of the two labels is wrong: correct it and train again.",
                [
                    p
                    for i, n in contradicting[:6]
                    for p in (_picture(i, classes), _neighbour(n, i, classes))
                ],
            )
        )
    elif twins:
        found.append(
            Callout(
                "warning",
                f"{_count(len(twins), 'image looks', 'images look')} to the classifier like "
                "a training image.",
                "If they are the same picture, a test on them proves nothing.",
            )
        )
    wrong = [i for i in images if i.subject.label not in (-1, i.predicted) and i.neighbours]
    if wrong:
        misled = [
            i
            for i in wrong
            if 2 * sum(n.label == i.predicted for n in i.neighbours) > len(i.neighbours)
        ]
        if misled:
            found.append(
                Callout(
                    "note",
                    f"{len(misled)} of the {_count(len(wrong), 'mistake', 'mistakes')} here lie "
                    "among training images of the class that was answered.",
                    "The classifier sees them as that class: look whether the labels are right, "
                    "and add training images that look like these.",
                )
            )
    return found


def kernel_figure(kernels: NDArray[np.float32], folder: Path) -> Figure:
    """The first layer's kernels, drawn and saved."""
    count, height, width, _ = kernels.shape
    more = f"; the first {MAXIMUM_KERNELS} are shown" if count > MAXIMUM_KERNELS else ""
    reading = (
        f"Each of the {count} kernels of the first layer ({height} x {width} pixels) answers to "
        f"the pattern on the left and is silenced by the one on the right{more}."
    )
    return _saved(kernel_sheet(kernels), folder, "kernels", "First-layer kernels", reading)


def feature_map_figure(
    maps: NDArray[np.float32], pixels: NDArray[np.uint8], layer: str, path: str, folder: Path
) -> Figure:
    """What one layer makes of one image, drawn and saved."""
    channels, height, width = maps.shape
    reading = (
        f"What layer {layer} ({channels} channels of {height} x {width}) makes of {path}: the "
        "channels that tell its places apart most, each from its own least (black) to most."
    )
    figure = feature_map_sheet(maps, pixels, layer)
    return _saved(figure, folder, "feature_maps", "Feature maps", reading)


def map_figure(
    points: NDArray[np.float64],
    labels: NDArray[np.int64],
    classes: Sequence[str],
    part: str,
    wrong: NDArray[np.bool_],
    folder: Path,
) -> Figure:
    """The images of a part as points, drawn and saved."""
    from tellapart.evaluation.plots import embedding_map, save_figure

    reading = (
        "Each point is an image; near each other are those that the classifier sees alike. "
        "Mistakes are ringed: inside another class's group they look like that class, between "
        "the groups they are doubtful."
    )
    figure = embedding_map(points, labels, classes, part, wrong)
    svg, png = save_figure(figure, folder, "map_of_features", reading)
    return Figure(
        "map_of_features",
        "Map of the features",
        svg.read_text("utf-8"),
        reading,
        png=png.read_bytes(),
    )


def file_part(text: str) -> str:
    """Text made safe for a file name."""
    return re.sub(r"[^\w.]+", "-", text).strip("-.")[:60] or "image"


def _saved(figure: object, folder: Path, name: str, title: str, reading: str) -> Figure:
    from typing import cast

    from matplotlib.figure import Figure as Drawing

    from tellapart.evaluation.plots.style import save_figure

    # Sheets of small pictures: as SVG they would be larger and no sharper.
    svg, png = save_figure(cast(Drawing, figure), folder, name, reading)
    svg.unlink()
    return Figure(name, title, png.read_bytes(), reading, photographic=True, wide=True)


def _picture(image: ImageExplanation, classes: Sequence[str]) -> Picture:
    order = np.argsort(-image.probabilities, kind="stable")[:5].tolist()
    return Picture(
        image=make_thumbnail(_enlarged(image.subject.pixels), size=_SIDE),
        path=image.subject.path,
        true=classes[image.subject.label] if image.subject.label >= 0 else "",
        predicted=classes[image.predicted],
        confidence=image.confidence,
        probabilities=[(classes[i], float(image.probabilities[i])) for i in order],
    )


def _neighbour(neighbour: Neighbour, image: ImageExplanation, classes: Sequence[str]) -> Picture:
    same = neighbour.path == image.subject.path
    return Picture(
        image=make_thumbnail(_enlarged(neighbour.pixels)),
        path=neighbour.path,
        true=classes[neighbour.label],
        caption="this very image" if same else f"distance {neighbour.distance:.3f}",
    )


def _overlays(
    folder: Path, number: int, image: ImageExplanation, classes: Sequence[str]
) -> tuple[list[Picture], dict[str, str]]:
    """Pictures for the page, and the files that were written."""
    name = classes[image.target]
    parts = {c: file_part(classes[c]) for c in image.evidence}
    if len({part.casefold() for part in parts.values()}) < len(parts):  # "c++" and "c#", say
        parts = {c: f"{part}-{c}" for c, part in parts.items()}
    rows = [
        (f"grad-cam-{parts[c]}", f"Grad-CAM for '{classes[c]}'", heat)
        for c, heat in image.evidence.items()
    ]
    rows.insert(1, ("occlusion", f"Occlusion for '{name}'", image.hidden.heat))
    pictures, files = [], {}
    for method, caption, heat in rows:
        drawn = overlay(image.subject.pixels, heat)
        stem = file_part(Path(image.subject.path).stem)
        file = folder / f"{number:02d}-{stem}-{method}.png"
        _write_png(drawn, file)
        files[method] = file.name
        pictures.append(Picture(make_thumbnail(drawn, size=_SIDE), caption=caption))
    return pictures, files


def _enlarged(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Small images by a whole number, so that their pixels can be seen."""
    scale = max(1, round(_SIDE / max(pixels.shape[:2])))
    return pixels.repeat(scale, axis=0).repeat(scale, axis=1)


def _write_png(picture: NDArray[np.uint8], file: Path) -> None:
    from PIL import Image

    with replacing(file, durable=False) as unfinished:
        Image.fromarray(picture).save(unfinished, format="PNG")


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def facts_of_network(inside: Inside) -> Facts:
    """Which layers were looked at."""
    layer = inside.evidence_layer
    shown = (
        f"{layer.name} ({layer.channels} channels of {layer.height} x {layer.width})"
        if layer
        else "none"
    )
    step = max(1, len(inside.layers) // 10)
    return Facts(
        "The layers",
        [
            ("Layer of Grad-CAM", shown),
            ("Layers with a map", f"{len(inside.layers)}"),
            ("Some of them", ", ".join(layer.name for layer in inside.layers[::step])),
        ],
    )
