"""The search of ``train``: the folder has the best so far at every moment, and says how it came."""

from __future__ import annotations

import errno
import html
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import tellapart as ta
from tellapart.deadline import OutOfTimeError, UntilDeadline
from tellapart.errors import RecipeError, RunError
from tellapart.progress import SilentProgress
from tellapart.recipe_reading import apply_settings, load_recipe
from tellapart.run import Run, open_run
from tellapart.search import loop, plan, study, trials
from tellapart.search.record import read_record
from tellapart.search.space import Candidate
from tellapart.verbs import searching
from tellapart.verbs.train import resume, train

SMALL = {"settings": ["data.image_size=64"]}


class Notes(SilentProgress):
    """Keeps what is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of noise under two labels: nothing can be learned of them."""
    root = tmp_path_factory.mktemp("noise") / "photos"
    random = np.random.default_rng(0)
    for name in ("heads", "tails"):
        (root / name).mkdir(parents=True)
        for number in range(60):
            pixels = random.integers(0, 256, (64, 64, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number:02}.png")
    return root


@pytest.fixture(scope="module", autouse=True)
def two_candidates() -> Iterator[None]:
    """Candidates that cost next to nothing: two other heads on the features that are there."""

    def few(facts: Any, best: Candidate) -> Iterator[Candidate]:
        for number, shrinkage in enumerate((0.5, 0.9), start=1):
            settings = [f"probe.shrinkages=[{shrinkage}]", "probe.head=discriminant"]
            yield Candidate(
                f"head-{number}", f"discriminant analysis {number}", "probe",
                apply_settings(best.recipe, [*settings, f"name=auto-head-{number}"]), best.size,
                0.9, "it is quick",
            )  # fmt: skip

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "probe_candidates", few)
        patch.setattr(plan, "tuning_candidates", lambda *_: [])
        # Ensembles and folds have tests of their own, in tests/search.
        patch.setattr(loop, "plan_ensemble", lambda *_: None)
        patch.setattr(study, "_FEW_TO_CHOOSE", 0)
        yield


@pytest.fixture(scope="module")
def searched(noise: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, list[str]]:
    """A run whose search came to its end, and what it told; nobody changes it."""
    told = Notes()
    place = tmp_path_factory.mktemp("searched") / "run"
    return train(noise, run=place, time="1h", progress=told, **SMALL), told.notes


@pytest.fixture
def every_candidate_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "chosen", lambda losses, _: len(losses) - 1)


def record_of(run: Run) -> Any:
    found = read_record(run.path)
    assert found is not None
    return found


def test_where_nothing_can_be_learned_it_says_so_and_claims_nothing(
    searched: tuple[Run, list[str]],
) -> None:
    run, told = searched
    record = record_of(run)
    assert [trial.name for trial in record.trials] == ["first", "head-1", "head-2"]
    assert {trial.status for trial in record.trials} == {"done"}
    assert any(line.startswith("Nothing was learned") for line in told)
    assert any(line.startswith("next: ") and "because" in line for line in told)
    assert run.info.status == "complete"
    page = run.report.read_text("utf-8")
    assert "How this classifier was chosen" in page
    assert "minus its test accuracy" in page
    for trial in record.trials:
        assert trial.recipe and (run.path / trial.recipe).is_file()


def test_a_candidates_recipe_repeats_it(
    searched: tuple[Run, list[str]], noise: Path, tmp_path: Path
) -> None:
    run, _ = searched
    trial = record_of(run).trials[1]
    again = train(noise, recipe=run.path / trial.recipe, run=tmp_path / "again")
    assert again.accuracy("validation").value == trial.accuracy["value"]
    first = train(noise, recipe=run.path / record_of(run).trials[0].recipe, run=tmp_path / "first")
    alone = train(noise, run=tmp_path / "alone", time=0, **SMALL)
    assert first.metrics == alone.metrics  # as without a search, bit for bit
    assert not (alone.path / "search.json").exists()


@pytest.mark.usefixtures("every_candidate_wins")
def test_a_better_classifier_replaces_the_run_whole(noise: Path, tmp_path: Path) -> None:
    run = train(noise, run=tmp_path / "run", time="1h", **SMALL)
    record = record_of(run)
    assert len(record.trials) == 3 and record.best.number == 3
    assert run.recipe.name == f"auto-{record.best.name}"
    assert run.info.status == "complete" and run.info.test_evaluations == 2
    assert "the one that was chosen at the end (2 times in all)" in run.report.read_text("utf-8")
    assert str(run.path) in run.report.read_text("utf-8") and ".part" not in (
        run.report.read_text("utf-8")
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run"]  # nothing half made beside it
    image = noise / "heads" / "00.png"
    assert ta.predict(run, image)[0].prediction in run.classes


@pytest.mark.usefixtures("every_candidate_wins")
def test_a_winner_is_published_when_its_own_time_is_over(
    noise: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = [False]

    class Timed(UntilDeadline):
        def _look(self) -> None:
            if over[0]:
                raise OutOfTimeError

    def tried(*given: Any) -> Any:
        over[0] = False
        found = trials.try_candidate(*given)
        over[0] = True
        assert found.outcome is not None
        trained = replace(found.outcome.trained, logits=None)  # as after training in epochs
        return replace(found, outcome=replace(found.outcome, trained=trained))

    monkeypatch.setattr(trials, "UntilDeadline", Timed)
    monkeypatch.setattr(loop, "try_candidate", tried)
    run = train(noise, run=tmp_path / "run", time="1h", **SMALL)
    assert record_of(run).best.number == 3 and "test" in run.metrics


def test_a_candidate_that_crashes_is_written_down_and_skipped(
    noise: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors = [MemoryError(), ZeroDivisionError("by zero")]

    def fail(task: Any) -> Any:
        raise errors.pop()

    monkeypatch.setattr(trials, "train_task", fail)
    run = train(noise, run=tmp_path / "run", time="1h", **SMALL)
    record = record_of(run)
    assert [trial.status for trial in record.trials] == ["done", "failed", "failed"]
    assert record.trials[1].error == "It crashed: ZeroDivisionError: by zero."
    assert record.trials[2].error == "It needs more memory than there is."
    assert run.info.status == "complete" and run.info.test_evaluations == 1
    assert "It crashed: ZeroDivisionError" in run.report.read_text("utf-8")


@pytest.mark.usefixtures("every_candidate_wins")
def test_an_interruption_keeps_the_best_and_can_be_gone_on_from(
    noise: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = trials.train_task
    calls: list[str] = []

    def interrupted(task: Any) -> Any:
        calls.append(task.recipe.name)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(task)

    monkeypatch.setattr(trials, "train_task", interrupted)
    run = train(noise, run=tmp_path / "run", time="1h", **SMALL)
    assert run.exit_code == 130 and "--resume" in run.interruption
    assert record_of(run).best.number == 2
    assert run.recipe.name == f"auto-{record_of(run).best.name}"
    monkeypatch.setattr(trials, "train_task", real)
    went_on = resume(run, time="1h")
    record = record_of(went_on)
    assert [trial.number for trial in record.trials] == [1, 2, 3]
    assert went_on.info.status == "complete" and went_on.exit_code == 0
    assert record.trials[2].ended > record.trials[1].ended


@pytest.mark.usefixtures("every_candidate_wins")
def test_a_kill_leaves_the_best_so_far_whole_and_without_its_test_part(
    noise: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = trials.train_task
    calls: list[str] = []

    class Killed(BaseException):
        pass

    def killed(task: Any) -> Any:
        calls.append(task.recipe.name)
        if len(calls) == 2:
            raise Killed
        return real(task)

    monkeypatch.setattr(trials, "train_task", killed)
    with pytest.raises(Killed):
        train(noise, run=tmp_path / "run", time="1h", **SMALL)
    run = open_run(tmp_path / "run")
    assert run.recipe.name == f"auto-{record_of(run).best.name}" and record_of(run).best.number == 2
    assert "validation" in run.metrics and "test" not in run.metrics
    assert "test part is not read before it has ended" in run.report.read_text("utf-8")
    assert ta.predict(run, noise / "heads" / "00.png")[0].prediction in run.classes
    finished = resume(run, time=0)
    assert "test" in finished.metrics and finished.info.status == "complete"
    assert finished.info.test_evaluations == 2


def test_a_kill_between_the_first_answer_and_its_search_loses_no_search(
    noise: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def killed(*_: Any) -> Run:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("tellapart.verbs.train.search_on", killed)
        with pytest.raises(Killed):
            train(noise, run=tmp_path / "run", time="1h", **SMALL)
    assert not (tmp_path / "run" / "search.json").exists()
    before = open_run(tmp_path / "run").metrics
    # Tests search only where they say so; here what the run was asked for counts.
    monkeypatch.setattr("tellapart.verbs.train.search_seconds", searching.search_seconds)
    run = resume(tmp_path / "run")
    assert [trial.name for trial in record_of(run).trials] == ["first", "head-1", "head-2"]
    assert record_of(run).seconds == 3600.0
    assert run.metrics == before or record_of(run).best.number > 1


def test_a_search_can_begin_from_a_run_that_was_made_without_one(
    noise: Path, tmp_path: Path
) -> None:
    left_out = tmp_path / "left out.txt"
    left_out.write_text("tails/59.png\n", "utf-8")
    run = train(noise, run=tmp_path / "run", time=0, exclude=left_out, **SMALL)
    with pytest.raises(RunError, match="is finished"):
        resume(run)
    run = resume(run, time="1h")
    assert len(record_of(run).trials) == 3
    # The command that trains the chosen one again reads the images as this run did.
    again = html.unescape(run.report.read_text("utf-8"))
    assert f"--recipe {run.path}/candidates/" in again and f"--exclude '{left_out}'" in again


@pytest.mark.usefixtures("every_candidate_wins")
def test_a_full_disk_leaves_the_run_as_it_was(
    noise: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> Run:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(searching, "publish", full)
    with pytest.raises(RunError, match=r"No space left on device.*has the one before"):
        train(noise, run=tmp_path / "run", time="1h", **SMALL)
    run = open_run(tmp_path / "run")
    assert run.info.status == "complete" and "test" in run.metrics
    assert run.recipe.method == "auto"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run"]


def test_a_time_too_short_for_more_gives_the_first_answer(noise: Path, tmp_path: Path) -> None:
    told = Notes()
    run = train(noise, run=tmp_path / "run", time=0.01, progress=told, **SMALL)
    assert any("The first answer alone took" in line for line in told.notes)
    assert len(record_of(run).trials) == 1 and run.info.status == "complete"


def test_without_a_time_the_recipes_own_is_taken() -> None:
    assert searching.search_seconds(load_recipe("auto"), None) == 300.0
    assert searching.search_seconds(load_recipe("auto"), "20m") == 1200.0
    assert searching.search_seconds(load_recipe("probe"), None) == 0.0


def test_a_recipe_that_searches_nothing_refuses_a_time(noise: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="--time is how long recipe auto searches"):
        train(noise, recipe="probe", run=tmp_path / "run", time="5m")
    assert not (tmp_path / "run").exists()


def test_a_record_that_was_changed_is_refused(
    searched: tuple[Run, list[str]], tmp_path: Path
) -> None:
    copy = tmp_path / "run"
    shutil.copytree(searched[0].path, copy)
    file = copy / "search.json"
    content = json.loads(file.read_text("utf-8"))
    content["trials"][0]["seconds"] = 0.5
    file.write_text(json.dumps(content), "utf-8")
    with pytest.raises(RunError, match="was changed since it was written"):
        resume(copy, time="1m")
    del content["trials"][0]["name"]
    file.write_text(json.dumps(content), "utf-8")
    with pytest.raises(RunError, match="is damaged: its key"):
        resume(copy, time="1m")


def test_a_search_that_has_ended_goes_on_only_where_time_is_given(
    searched: tuple[Run, list[str]],
) -> None:
    with pytest.raises(RunError, match="has ended; --time 5m goes on"):
        resume(searched[0])


def test_other_images_are_refused(
    searched: tuple[Run, list[str]], noise: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "run"
    shutil.copytree(searched[0].path, copy)
    lost = noise / "heads" / "00.png"
    lost.rename(tmp_path / "00.png")
    try:
        with pytest.raises(RunError, match="have changed since it began"):
            resume(copy, time="1m")
    finally:
        (tmp_path / "00.png").rename(lost)
