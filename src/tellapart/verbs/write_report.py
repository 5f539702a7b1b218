"""``tellapart report``: make a run's page again from its folder, and open it."""

from __future__ import annotations

import webbrowser
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from tellapart.errors import DataError, RunError
from tellapart.machine import resolve_device
from tellapart.progress import DEFAULT, Progress
from tellapart.result import DONE, ShortRepr, card_of
from tellapart.run import Run, RunGiven, open_run, training_lock
from tellapart.stopwatch import Stopwatch
from tellapart.training.remember import same_contents
from tellapart.verbs.preparation import prepare
from tellapart.wording import shown


@dataclass(frozen=True, repr=False)
class WrittenReport(ShortRepr):
    """The page of a run, as it was just made."""

    page: Path
    run: Path
    #: None: nobody asked for it; else whether a browser took it.
    opened: bool | None = None

    exit_code: ClassVar[int] = DONE

    def lines(self) -> Iterator[str]:
        """What the command prints; the last line is the page."""
        if self.opened is False:
            yield "No browser could be started here; open the page yourself:"
        yield shown(self.page)

    def to_json(self) -> Mapping[str, Any]:
        return {"page": str(self.page), "run": str(self.run), "opened": self.opened}

    def _repr_html_(self) -> str:
        return card_of("The report", self.lines())


def write_report(
    run: RunGiven, *, open: bool = False, progress: Progress = DEFAULT
) -> WrittenReport:
    """Make ``report.html`` and the figures of a run again, from what its folder holds.

    Numbers and predictions are those that are stored: nothing is trained or scored. The pictures
    on the page are read anew, so the images must be where they were.

    Args:
        run: the run, or its folder.
        open: show the page in the browser of this machine.

    Raises:
        RunError: it is no run, did not finish, or is damaged.
        DataError: the images are gone, or others.
    """
    opened = open_run(run)
    with training_lock(opened):
        _write(opened, progress)
    shows = webbrowser.open(opened.report.absolute().as_uri()) if open else None
    return WrittenReport(opened.report, opened.path, shows)


def _write(run: Run, progress: Progress) -> None:
    from tellapart.report.of_run import write_run_report

    stored = run.images
    if not stored:
        raise RunError(
            f"{shown(run.path)} was made by a version that did not write down its images, so its "
            "page cannot be made again."
        )
    source = run.source
    if not source.folder.exists():
        raise DataError(
            f"The images of {shown(run.path)} are not at {shown(source.folder)} any more, and its "
            "page shows some of them; put them back there."
        )
    prepared = prepare(source, run.recipe, resolve_device("cpu"), Stopwatch(), progress, stored)
    table = prepared.splits.table
    parts = set(zip(table.parts.tolist(), table.paths, strict=True))
    if {(image.part, image.path) for image in stored} != parts or not same_contents(
        stored, table.paths, prepared.images.digests
    ):
        raise DataError(
            f"The images at {shown(source.folder)} are not those that {shown(run.path)} was made "
            "with any more; its page would show others."
        )
    shown_predictions = {
        part: run.scored_predictions(part)
        for part in ("train", "validation", "test")
        if run.predictions_file(part).is_file()
    }
    # The page was made the first time without the time that its own making took.
    seconds = {name: t for name, t in run.info.seconds.items() if name != "Write the report"}
    write_run_report(run, shown_predictions, prepared.images, prepared.splits, seconds)
