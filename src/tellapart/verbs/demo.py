"""``tellapart demo``: the whole job on photographs of solar cells."""

from __future__ import annotations

from pathlib import Path

from tellapart.data.solar_cells import images_folder, write_solar_cells
from tellapart.progress import DEFAULT, Progress
from tellapart.run import Run
from tellapart.verbs.train import train


def demo(
    *,
    runs: str | Path = "runs",
    run: str | Path | None = None,
    recipe: str | Path = "solar-cells",
    seed: int | None = None,
    device: str = "auto",
    progress: Progress = DEFAULT,
) -> Run:
    """Train on solar cells, functional against defective, and write the report.

    The pictures come with the package elpv-dataset; nothing is downloaded. 75 % of the
    cells train and choose, 25 % test, stratified on the defect probability as published.

    Raises:
        DataError: elpv-dataset is not installed.
    """
    source = images_folder()
    Path(runs).mkdir(parents=True, exist_ok=True)
    table = write_solar_cells(Path(runs) / "solar-cells.csv", seed=seed or 0)
    progress.note("Solar cells (elpv-dataset, CC BY-NC-SA 4.0): functional or defective?")
    return train(
        table,
        recipe=recipe,
        runs=runs,
        run=run,
        seed=seed,
        device=device,
        root=source,
        progress=progress,
    )
