"""Tuning: trials on validation, one look at the test part, and a folder that goes on."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from trained import SMALL

import tellapart.verbs.tune as module
from tellapart.errors import DataError, RecipeError, RunError, TellapartError
from tellapart.progress import SILENT
from tellapart.recipe_reading import load_recipe
from tellapart.run import open_run
from tellapart.training.outcome import Task
from tellapart.tuning.loop import REPEATS
from tellapart.tuning.study import PRUNERS, SAMPLERS, open_study
from tellapart.verbs.tune import Tuning, tune

#: The smallest network, two settings.
QUICK: dict[str, Any] = {
    "recipe": "cifar-baseline-sgd",
    "settings": [*SMALL, "training.epochs=2"],
    "seed": 1,
}
SPACE = "training.learning_rate: {low: 1e-4, high: 0.2, log: true}\n"


@pytest.fixture(scope="module")
def photos(image_folder: Callable[..., Path]) -> Path:
    return image_folder(per_class=30)


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("space") / "space.yaml"
    file.write_text(SPACE, "utf-8")
    return file


@pytest.fixture(scope="module")
def tuned(photos: Path, space: Path, tmp_path_factory: pytest.TempPathFactory) -> Tuning:
    runs = tmp_path_factory.mktemp("runs")
    return tune(photos, space=space, trials=4, time="10m", run=runs / "tuned", **QUICK)


@pytest.fixture
def copy(tuned: Tuning, tmp_path: Path) -> Path:
    return shutil.copytree(tuned.path, tmp_path / "tuned")


def test_the_best_on_validation_wins_and_is_a_run_like_any_other(tuned: Tuning) -> None:
    done = [row for row in tuned.rows if row.outcome is not None]
    assert tuned.rows[0].name == "the recipe as it is" and tuned.rows[0].outcome is not None
    best = min(done, key=lambda row: row.outcome.objective)  # type: ignore[union-attr]
    assert tuned.best is not None and tuned.best.number == best.number
    run = open_run(tuned.path / "winner")
    assert run.status == "complete" and run.info.test_evaluations == 1
    assert run.report.is_file()
    if best.settings:
        assert run.recipe.training.learning_rate == best.settings["training.learning_rate"]
    assert load_recipe(tuned.path / "best.yaml") == run.recipe
    # What the trial said of validation is what the run says: the same training, the same images.
    assert best.outcome is not None
    assert run.metrics["validation"]["accuracy"]["value"] == pytest.approx(best.outcome.accuracy)
    assert run.metrics["validation"]["log_loss"]["value"] == pytest.approx(best.outcome.log_loss)


def test_the_folder_tells_of_every_trial(tuned: Tuning) -> None:
    with (tuned.path / "trials.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["trial"] for row in rows] == ["recipe", *map(str, range(4))]
    assert {row["state"] for row in rows} <= {"complete", "pruned"}
    assert (
        float(rows[1]["training.learning_rate"]) == tuned.rows[1].settings["training.learning_rate"]
    )
    page = tuned.report.read_text("utf-8")
    assert "the recipe as it is" in page and "training.learning_rate" in page
    assert "chosen by that number" in page and "best.yaml" in page
    said = list(tuned.lines())
    assert said[-1] == str(tuned.path)
    assert any(line.startswith("4 trials of cifar-baseline-sgd") for line in said)
    json.dumps(tuned.to_json())


def test_no_trial_has_a_test_part(
    photos: Path, space: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[set[str]] = []
    original = module.measure_own.__globals__["try_task"].__globals__["train_task"]

    def record(task: Task) -> Any:
        seen.append(set(task.rows))
        return original(task)

    monkeypatch.setattr("tellapart.tuning.trial.train_task", record)
    monkeypatch.setattr(module, "_train_winner", lambda *arguments: (None, 0))
    tune(photos, space=space, trials=2, time="10m", run=tmp_path / "t", **QUICK)
    assert seen == [{"train", "validation"}] * 3


def test_it_goes_on_where_it_was(copy: Path, tuned: Tuning) -> None:
    again = tune(resume=copy, time="10m", trials=2)
    assert len(again.rows) == len(tuned.rows) + 2
    assert again.rows[: len(tuned.rows)] == tuned.rows
    assert again.best is not None and tuned.best is not None
    same = again.best.number == tuned.best.number
    assert again.test_evaluations == (1 if same else 2)
    settings = [json.dumps(row.settings) for row in again.rows]
    assert len(set(settings)) == len(settings)  # a new seed proposes new settings


def test_other_images_are_refused(copy: Path, photos: Path, image_folder: Any) -> None:
    about = json.loads((copy / "tune.json").read_text("utf-8"))
    about["images"]["folder"] = str(image_folder(per_class=30, seed=5))
    (copy / "tune.json").write_text(json.dumps(about), "utf-8")
    with pytest.raises(RunError, match="have changed since it began"):
        tune(resume=copy, time="10m")


@pytest.mark.parametrize("damage", ["{", "[]", '{"format": 1}', '{"format": 99}'])
def test_a_damaged_folder_is_said(copy: Path, damage: str) -> None:
    (copy / "tune.json").write_text(damage, "utf-8")
    with pytest.raises(RunError, match=r"is damaged|newer version"):
        tune(resume=copy, time="10m")


def test_a_damaged_journal_is_said_and_half_a_line_is_mended(copy: Path) -> None:
    journal = copy / "study.journal"
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"op_code": 5, "worker')  # a full disk
    assert tune(resume=copy, time="10m", trials=1).rows
    journal.write_bytes(whole[:300] + b"{{{\n" + whole[300:])
    with pytest.raises(RunError, match=r"journal of the trials .* is damaged"):
        tune(resume=copy, time="10m", trials=1)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"recipe": None}, "Which recipe"),
        ({"folder": None}, "Which images"),
        ({"recipe": "auto"}, "method 'auto'"),
        ({"recipe": "prob"}, "Did you mean 'probe'"),
        ({"time": "soon"}, "--time 'soon' is no time"),
        ({"trials": 0}, "--trials 0"),
        ({"sampler": "tpee"}, "Did you mean 'tpe'"),
        ({"pruner": "medan"}, "Did you mean 'median'"),
        ({"objective": "loss"}, "--objective 'loss'"),
        ({"space": "none.yaml"}, "cannot be read"),
        ({"settings": ["training.learning_rate=-1"]}, "greater than 0"),
        ({"resume": "nowhere"}, "no folder of a tuning"),
        ({"folder": "nowhere"}, "There is no folder"),
    ],
)
def test_mistakes_are_sentences_and_leave_nothing(
    given: dict[str, Any], words: str, photos: Path, tmp_path: Path
) -> None:
    arguments = {"folder": photos, "runs": tmp_path / "runs", **QUICK, **given}
    with pytest.raises(TellapartError) as caught:
        tune(arguments.pop("folder"), **arguments)
    assert words in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_without_validation_images(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Tuning chooses by validation images"):
        tune(photos, validation=0, runs=tmp_path / "runs", **QUICK)
    assert not list(tmp_path.iterdir())


def test_optuna_missing_is_a_sentence(
    photos: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(TellapartError, match=r"pip install 'tellapart\[tune\]'"):
        tune(photos, runs=tmp_path / "runs", **QUICK)


def test_a_time_too_short_for_one_training(photos: Path, tmp_path: Path) -> None:
    endless = ["training.epochs=100000", "training.early_stopping=null"]
    long = {**QUICK, "settings": [*SMALL, *endless]}
    started = time.monotonic()
    with pytest.raises(TellapartError, match=r"not been trained once: \d+ of 100000 epochs"):
        tune(photos, time="4s", runs=tmp_path / "runs", **long)
    assert time.monotonic() - started < 20
    assert not list((tmp_path / "runs").iterdir())


def test_a_trial_that_fails_is_a_row_and_the_search_goes_on(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = module.measure_own.__globals__["try_task"]
    calls = iter([None, RuntimeError("CUDA out of memory\nTried to allocate"), None, None])

    def sometimes(*arguments: Any) -> Any:
        error = next(calls)
        if error is not None:
            raise error
        return original(*arguments)

    monkeypatch.setattr("tellapart.tuning.loop.try_task", sometimes)
    file = tmp_path / "space.yaml"
    file.write_text(SPACE, "utf-8")
    found = tune(photos, space=file, trials=3, time="10m", run=tmp_path / "t", **QUICK)
    assert [row.state for row in found.rows] == ["complete", "failed", "complete", "complete"]
    assert found.rows[1].problem == "RuntimeError: CUDA out of memory Tried to allocate"
    assert "RuntimeError: CUDA out of memory" in found.report.read_text("utf-8")


def test_where_every_trial_fails_that_is_said(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = module.measure_own.__globals__["try_task"]
    calls: list[int] = []

    def fail(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            return original(*arguments)
        raise RecipeError("these settings do not go together")

    monkeypatch.setattr("tellapart.tuning.loop.try_task", fail)
    with pytest.raises(TellapartError, match=r"first 5 trials all failed.*do not go together"):
        tune(photos, trials=9, time="10m", run=tmp_path / "t", **QUICK)
    assert len(calls) == 6


def test_ctrl_c_leaves_what_can_be_gone_on_with(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = module.measure_own.__globals__["try_task"]
    calls: list[int] = []

    def stop(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr("tellapart.tuning.loop.try_task", stop)
    with pytest.raises(KeyboardInterrupt):
        tune(photos, trials=9, time="10m", run=tmp_path / "t", **QUICK)
    assert (tmp_path / "t" / "best.yaml").is_file() and (tmp_path / "t" / "trials.csv").is_file()
    assert not (tmp_path / "t" / "winner").exists()
    monkeypatch.setattr("tellapart.tuning.loop.try_task", original)
    found = tune(resume=tmp_path / "t", trials=1, time="10m")
    assert [row.state for row in found.rows] == ["complete", "complete", "failed", "complete"]
    assert found.rows[2].problem == "interrupted"
    assert found.winner is not None


def test_settings_that_were_tried_are_not_trained_again(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two settings Optuna proposes the same ones soon; the tuning ends by itself."""
    file = tmp_path / "space.yaml"
    file.write_text("training.class_weight: {choices: [none, balanced]}\n", "utf-8")
    monkeypatch.setattr(module, "_train_winner", lambda *arguments: (None, 0))
    found = tune(photos, space=file, time="10m", run=tmp_path / "t", **QUICK)
    assert found.ended == "nothing new is left to try"
    trained = [row for row in found.rows[1:] if not row.problem.startswith("as trial")]
    assert len(trained) == 2
    assert len(found.rows) - 1 >= REPEATS


@pytest.mark.parametrize("sampler", sorted(SAMPLERS))
def test_every_sampler_proposes_the_same_with_the_same_seed(sampler: str, tmp_path: Path) -> None:
    from tellapart.tuning.space import Choices, Numbers
    from tellapart.tuning.study import distributions

    space = (
        Numbers("a", 1e-4, 1.0, log=True), Numbers("b", 1, 9, whole=True),
        Choices("c", ('"x"', '"y"')),
    )  # fmt: skip
    drawn = []
    for name in ("first", "second"):
        study = open_study(tmp_path / name, sampler=sampler, pruner="none", seed=3)
        for _ in range(3):
            trial = study.ask(distributions(space))
            study.tell(trial, trial.params["a"])
        drawn.append([trial.params for trial in study.trials])
    assert drawn[0] == drawn[1]
    assert len({trial["a"] for trial in drawn[0]}) == 3


@pytest.mark.parametrize("pruner", sorted(PRUNERS))
def test_pruners_end_what_is_hopeless(pruner: str, tmp_path: Path) -> None:
    """Ten trials at loss 1, then one at 100: all but 'none' end it after a few epochs."""
    study = open_study(tmp_path / "journal", sampler="random", pruner=pruner, seed=0)
    for _ in range(10):
        trial = study.ask()
        for epoch in range(1, 30):
            trial.report(1.0, epoch)
            trial.should_prune()  # where Hyperband writes down how far it came
        study.tell(trial, 1.0)
    pruned = []
    for _ in range(6):
        trial = study.ask()
        for epoch in range(1, 30):
            trial.report(100.0, epoch)
            if trial.should_prune():
                pruned.append(epoch)
                break
        study.tell(trial, 100.0)
    assert bool(pruned) is (pruner != "none")


# --- several processes --------------------------------------------------------------------


PROGRAM = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from trained import SMALL
from tellapart.progress import TerminalProgress
from tellapart.verbs.tune import tune
common = dict(time="10m", progress=TerminalProgress())
if sys.argv[1] == "lead":
    tune({photos!r}, recipe="cifar-baseline-sgd", seed=1, run={run!r}, trials=int(sys.argv[2]),
         settings=[*SMALL, "training.epochs=3"], **common)
else:
    print(tune(resume={run!r}, trials=int(sys.argv[2]), **common).ended)
"""


def start(photos: Path, run: Path, *words: str) -> subprocess.Popen[str]:
    tests = str(Path(__file__).parent)
    program = PROGRAM.format(tests=tests, photos=str(photos), run=str(run))
    return subprocess.Popen(
        [sys.executable, "-c", program, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def wait_for(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.1)


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.mark.slow
def test_two_processes_work_on_one_study(
    photos: Path, tmp_path: Path, processes: list[subprocess.Popen[str]]
) -> None:
    run = tmp_path / "shared"
    leader = start(photos, run, "lead", "40")
    processes.append(leader)
    wait_for(lambda: (run / "best.yaml").is_file())
    helper = start(photos, run, "help", "1000")
    processes.append(helper)
    out, errors = helper.communicate(timeout=300)
    assert leader.wait(300) == 0 and helper.returncode == 0, errors
    assert "adds trials" in errors
    assert out.strip() == "the process that leads has ended the tuning"
    found = tune(resume=run, time="1s")
    by_process: dict[str, int] = {}
    for row in found.rows[1:]:
        by_process[row.owner] = by_process.get(row.owner, 0) + 1
    assert len(by_process) == 2 and min(by_process.values()) >= 2
    numbers = [row.number for row in found.rows[1:]]
    assert numbers == list(range(len(numbers)))  # one study, nothing counted twice
    assert found.winner is not None and found.winner.info.test_evaluations == 1


@pytest.mark.slow
def test_a_kill_loses_the_trial_in_progress_only(
    photos: Path, tmp_path: Path, processes: list[subprocess.Popen[str]]
) -> None:
    run = tmp_path / "killed"
    leader = start(photos, run, "lead", "1000")
    processes.append(leader)
    wait_for(lambda: len((run / "trials.csv").read_text().splitlines()) > 4
             if (run / "trials.csv").is_file() else False)  # fmt: skip
    leader.send_signal(signal.SIGKILL)
    leader.wait()
    before = len((run / "trials.csv").read_text().splitlines()) - 1
    found = tune(resume=run, time="10m", trials=1, progress=SILENT)
    states = [row.state for row in found.rows]
    assert states.count("complete") + states.count("pruned") >= before
    assert "running" not in states and found.winner is not None
