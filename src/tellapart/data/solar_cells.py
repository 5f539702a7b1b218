"""The data set of the demo: photographs of solar cells from the package elpv-dataset.

2,624 grey pictures of 300 x 300 pixels, each with the probability (0, 1/3, 2/3, 1) that
experts gave to a defect: Buerhop-Lutz et al. 2018; Deitsch et al., Solar Energy 185 (2019),
arXiv 1807.02894. The pictures are CC BY-NC-SA 4.0 and stay where the package put them; only
a table of their paths, labels and parts is written.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from tellapart.errors import DataError

#: From this probability on a cell counts as defective (Deitsch et al. 2019, section 4.1).
DEFECTIVE_FROM = 0.5


def images_folder() -> Path:
    """Where the package keeps ``labels.csv`` and its pictures.

    Raises:
        DataError: the package is not installed.
    """
    from importlib.util import find_spec

    spec = find_spec("elpv_dataset")
    if spec is None or spec.origin is None:
        raise DataError(
            "The demo needs the package elpv-dataset: pip install 'tellapart[demo]' brings it."
        )
    return Path(spec.origin).parent / "data"


def write_solar_cells(table: Path, *, seed: int = 0, validation: float = 0.15) -> Path:
    """Write the table of solar cells, split 75/25 into train and test as published.

    The split is stratified on the defect probability; ``validation`` is the fraction of the
    training cells (again stratified) that chooses.

    Args:
        table: CSV file to write, with the columns path (below ``images_folder()``), label, split,
            probability and module.

    Returns:
        ``table``.
    """
    folder = images_folder()
    rows = [line.split() for line in (folder / "labels.csv").read_text("utf-8").splitlines()]
    random = np.random.default_rng(seed)
    parts = np.full(len(rows), "train", dtype="<U10")
    levels = np.array([f"{float(row[1]):.2f}" for row in rows])
    for level in np.unique(levels):
        members = random.permutation(np.flatnonzero(levels == level))
        num_test = round(0.25 * len(members))
        num_validation = round(validation * (len(members) - num_test))
        parts[members[:num_test]] = "test"
        parts[members[num_test : num_test + num_validation]] = "validation"
    table.parent.mkdir(parents=True, exist_ok=True)
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "split", "probability", "module"])
        for (name, probability, module), part in zip(rows, parts, strict=True):
            label = "defective" if float(probability) >= DEFECTIVE_FROM else "functional"
            writer.writerow([name, label, part, probability, module])
    return table
