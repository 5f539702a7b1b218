"""Run folders: saved, reopened, refused when damaged."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from tellapart.errors import RunError
from tellapart.files import replacing, write_json
from tellapart.folders import claim_folder, write_folder
from tellapart.machine import describe_machine
from tellapart.recipe import Recipe
from tellapart.recipe_reading import load_recipe
from tellapart.run import Run, create_run, open_run, run_name
from tellapart.run_info import (
    COMPLETE,
    FORMAT,
    INTERRUPTED,
    RUNNING,
    DataInfo,
    RunInfo,
    StoredVerdict,
)

INFO = RunInfo(
    format=FORMAT,
    status=RUNNING,
    tellapart="0.1.0",
    created="2026-11-27T12:00:00+00:00",
    command="tellapart train photos",
    classes=("a", "b"),
    preprocessing={},
    source={"folder": "/photos"},
    data=DataInfo(root="/photos", fingerprint="f" * 32, images=4, counts={"train": {"a": 2}}),
    seed=0,
    device="cpu",
    machine=describe_machine("cpu"),
)


def make(folder: Path) -> Path:
    return create_run(folder, load_recipe("auto"), INFO).update(status=COMPLETE).path


def test_a_run_opens_with_what_was_saved(tmp_path: Path) -> None:
    run = open_run(make(tmp_path / "run"))
    assert run.classes == ("a", "b")
    assert replace(run.info, files={}) == replace(INFO, status=COMPLETE)
    assert run.recipe == load_recipe("auto")
    assert open_run(run).info == run.info


def test_a_run_that_was_killed_says_so(tmp_path: Path) -> None:
    create_run(tmp_path / "run", load_recipe("auto"), INFO)
    with pytest.raises(RunError, match="did not finish"):
        open_run(tmp_path / "run")
    assert open_run(tmp_path / "run", complete=False).status == "running"


def test_a_full_folder_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(RunError, match="not empty"):
        create_run(tmp_path, load_recipe("auto"), INFO)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_what_cannot_be_written_leaves_no_run_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(recipe: Recipe) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tellapart.run.recipe_to_yaml", full_disk)
    with pytest.raises(RunError, match="No space left on device"):
        create_run(tmp_path / "run", load_recipe("auto"), INFO)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no run folder"),
        ("", "no run.json"),
        ("{not json", "damaged"),
        ("[1]", "not written by tellapart"),
        (json.dumps({"format": 99, "classes": []}), "newer tellapart"),
    ],
)
def test_what_is_no_run_is_refused(tmp_path: Path, content: str | None, message: str) -> None:
    folder = tmp_path / "run"
    if content is not None:
        folder.mkdir()
        if content:
            (folder / "run.json").write_text(content)
    with pytest.raises(RunError, match=message):
        open_run(folder)


def changed(run: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    content = json.loads((run / "run.json").read_text("utf-8"))
    del content["digest"]  # as older versions wrote it: only the form is checked
    change(content)
    (run / "run.json").write_text(json.dumps(content), "utf-8")
    return run


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("seed"), "'seed' is missing"),
        (lambda c: c["data"].pop("images"), "'data.images' is missing"),
        (lambda c: c.update(seed="0"), "'seed' is wrong"),
        (lambda c: c.update(status="done"), "'status' is wrong"),
        (lambda c: c["machine"].update(cores=2.5), "'machine.cores' is wrong"),
        (lambda c: c.update(classes="ab"), "'classes' is wrong"),
    ],
)
def test_a_wrong_key_is_named(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    with pytest.raises(RunError, match=message):
        open_run(changed(make(tmp_path / "run"), change))


def test_keys_of_a_newer_version_are_passed_over_and_kept(tmp_path: Path) -> None:
    run = open_run(changed(make(tmp_path / "run"), lambda c: c.update(weather="rain")))
    run.update(temperature=2.0)
    content = json.loads((run.path / "run.json").read_text("utf-8"))
    assert content["weather"] == "rain" and content["temperature"] == 2.0


def with_stages(run: Run, *stages: dict[str, object], stopped: str = "") -> Run:
    facts = {"stages": [{"stopped": "", "device": "cpu", **stage} for stage in stages]}
    return run.update(facts=facts, stopped=stopped, status=INTERRUPTED if stopped else COMPLETE)


def test_the_kept_epoch_is_the_last_stages_best(tmp_path: Path) -> None:
    run = create_run(tmp_path / "run", load_recipe("finetune"), INFO)
    assert run.kept_epoch is None
    run = with_stages(run, {"best_epoch": 3, "last_epoch": 5})
    assert run.kept_epoch == 3
    run = with_stages(run, {"best_epoch": 3, "last_epoch": 5}, {"best_epoch": 2, "last_epoch": 4})
    assert run.kept_epoch == 7


def test_an_interrupted_run_says_where_and_how_it_goes_on(tmp_path: Path) -> None:
    run = create_run(tmp_path / "run", load_recipe("cifar-baseline-sgd"), INFO)
    stage = {"best_epoch": 1, "last_epoch": 2}
    assert with_stages(run, stage | {"target_epochs": 30}).interruption == ""
    stopped = with_stages(run, stage | {"target_epochs": 30}, stopped="interrupted")
    assert stopped.interruption == (
        f"stopped at epoch 2 of 30; go on with 'tellapart train --resume {run.path}'"
    )
    older = with_stages(run, stage, stopped="interrupted")
    assert f"epoch 2 of {run.recipe.training.epochs};" in older.interruption

    two = create_run(tmp_path / "two", load_recipe("finetune"), INFO)
    text = with_stages(two, stage | {"target_epochs": 9}, stopped="interrupted").interruption
    assert text.startswith("stopped at epoch 2 of 9 in stage 1 of 2;")


def test_names_of_runs_are_safe_paths() -> None:
    now = datetime(2026, 11, 22, 15, 30)
    assert run_name("../my photos!", "auto", now) == "2026-11-22-1530-my-photos-auto"


def at_once(number: int, make: Callable[[], Path]) -> list[Path | RunError]:
    """The outcomes of as many threads that call ``make`` in the same moment."""
    together = Barrier(number)

    def one(_: int) -> Path | RunError:
        together.wait()
        try:
            return make()
        except RunError as error:
            return error

    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(one, range(number)))


def test_of_several_at_once_each_claims_a_folder_of_its_own(tmp_path: Path) -> None:
    claimed = at_once(8, lambda: claim_folder(tmp_path / "runs" / "x"))
    names = {path.name for path in claimed if isinstance(path, Path)}
    assert names == {"x", *(f"x-{number}" for number in range(2, 9))}


def test_of_several_that_name_one_folder_one_gets_it(tmp_path: Path) -> None:
    recipe = load_recipe("auto")
    made = at_once(8, lambda: create_run(tmp_path / "run", recipe, INFO).path)
    assert sum(isinstance(one, Path) for one in made) == 1
    info = open_run(tmp_path / "run", complete=False).info
    assert replace(info, files={}) == INFO


def test_what_a_kill_left_of_a_run_is_made_anew(tmp_path: Path) -> None:
    recipe = load_recipe("auto")
    half = tmp_path / "run"  # as older versions left it, and this one in a folder that was there
    for name in ("predictions", "figures"):
        (half / name).mkdir(parents=True)
    (half / "recipe.yaml").write_text("seed: 0")
    made = open_run(create_run(half, recipe, INFO).path, complete=False)
    assert list(made.info.files) == ["recipe.yaml"] and replace(made.info, files={}) == INFO
    with pytest.raises(RunError, match="not empty"):
        create_run(half, recipe, INFO)
    mine = tmp_path / "mine"
    (mine / "predictions").mkdir(parents=True)
    (mine / "predictions" / "a.txt").write_text("keep")
    with pytest.raises(RunError, match="not empty"):
        create_run(mine, recipe, INFO)
    assert (mine / "predictions" / "a.txt").read_text() == "keep"


def test_a_lock_file_is_no_content(tmp_path: Path) -> None:
    (tmp_path / ".lock").touch()  # where a folder itself cannot be locked: on NFS, on Windows
    assert open_run(create_run(tmp_path, load_recipe("auto"), INFO).path, complete=False)


def test_a_kill_leaves_a_whole_run_or_none(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "import tellapart.run as r, tellapart.run_info as i\n"
        "i.write_json = lambda *a: os.kill(os.getpid(), signal.SIGKILL)\n"
        "from tellapart.recipe_reading import load_recipe\n"
        "from test_run import INFO\n"
        "r.create_run(Path(sys.argv[1]), load_recipe('auto'), INFO)\n"
    )
    folder = tmp_path / "runs" / "run"
    subprocess.run(
        [sys.executable, "-c", program, str(folder)], check=False, timeout=60,
        cwd=Path(__file__).parent,
    )  # fmt: skip
    assert not folder.exists()
    assert len(list(folder.parent.iterdir())) == 1
    create_run(folder, load_recipe("auto"), INFO)
    assert [p.name for p in folder.parent.iterdir()] == ["run"]


def test_taken_names_of_runs_get_a_number(tmp_path: Path) -> None:
    recipe = load_recipe("auto")
    made = at_once(4, lambda: create_run(tmp_path / "a", recipe, INFO, numbered=True).path)
    assert {p.name for p in made if isinstance(p, Path)} == {"a", "a-2", "a-3", "a-4"}
    assert {p.name for p in tmp_path.iterdir()} == {"a", "a-2", "a-3", "a-4"}


def test_results_replace_only_those_about_the_same(tmp_path: Path) -> None:
    def write(text: str) -> Callable[[Path], None]:
        return lambda folder: (folder / "text").write_text(text) and None

    wanted = tmp_path / "run" / "test"
    assert write_folder(wanted, {"source": "/a/test"}, write("a")) == wanted
    other = write_folder(wanted, {"source": "/b/test"}, write("b"))
    assert other.name == "test-2"
    assert write_folder(wanted, {"source": "/a/test"}, write("a again")) == wanted
    assert (wanted / "text").read_text() == "a again"
    assert (other / "text").read_text() == "b"

    def fail(folder: Path) -> None:
        write("half")(folder)
        raise OSError(28, "No space left on device")

    with pytest.raises(RunError, match="No space left"):
        write_folder(wanted, {"source": "/a/test"}, fail)
    assert (wanted / "text").read_text() == "a again"
    assert sorted(p.name for p in wanted.parent.iterdir()) == ["test", "test-2"]
    write_folder(wanted, {"name": "mine"}, write("any"), replace_any=True)
    assert (wanted / "text").read_text() == "any"


def test_a_file_in_the_way_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "evaluations").write_text("in the way")
    with pytest.raises(RunError, match="evaluations cannot be written: a file is in its place"):
        write_folder(tmp_path / "evaluations" / "test", {}, lambda folder: None)


def test_the_command_and_its_json_say_that_a_run_was_interrupted(tmp_path: Path) -> None:
    run = create_run(tmp_path / "run", load_recipe("cifar-baseline-sgd"), INFO)
    accuracy = {"value": 0.9, "low": 0.8, "high": 0.95, "method": "wilson"}
    metrics = {"validation": {"accuracy": accuracy}}
    write_json(run.path / "metrics.json", metrics)
    stage = {"best_epoch": 1, "last_epoch": 2, "target_epochs": 30}
    said = f"stopped at epoch 2 of 30; go on with 'tellapart train --resume {run.path}'"

    stopped = with_stages(run, stage, stopped="interrupted")
    assert stopped.exit_code == 130
    assert list(stopped.lines()) == [
        "validation  accuracy 90.00 %  (95 %: 80.00 % to 95.00 %)",
        f"training    {said}",
        "report.html, the model and the predictions are in",
        str(run.path),
    ]
    assert stopped.to_json() == {"run": str(run.path), "interrupted": said, **metrics}

    whole = with_stages(run, stage)
    assert whole.exit_code == 0
    assert whole.to_json() == {"run": str(run.path), **metrics}


def test_the_command_says_whether_the_number_can_be_believed(tmp_path: Path) -> None:
    """With its doubts, the three weightiest; an accuracy alone would be taken at its word."""
    run = create_run(tmp_path / "run", load_recipe("cifar-baseline-sgd"), INFO)
    accuracy = {"value": 0.9, "low": 0.8, "high": 0.95, "method": "wilson"}
    write_json(run.path / "metrics.json", {"test": {"accuracy": accuracy}})
    told = StoredVerdict("red", "No: too few.", ("One.", "Two.", "Three.", "Four."))
    run = run.update(verdict=told)
    assert list(run.lines())[1:5] == [
        "believe it? No: too few.",
        "            One.",
        "            Two.",
        "            Three.",
    ]
    assert run.to_json()["verdict"] == {
        "light": "red", "answer": "No: too few.", "doubts": ("One.", "Two.", "Three.", "Four."),
    }  # fmt: skip


def test_a_full_disk_leaves_no_folder_of_results(tmp_path: Path) -> None:
    def write(folder: Path) -> None:
        with replacing(folder / "page.html"):
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(RunError, match="evaluations cannot be written: No space left on device;"):
        write_folder(tmp_path / "evaluations" / "new", {}, write)
    assert list((tmp_path / "evaluations").iterdir()) == []


def test_numbers_that_are_none_never_reach_a_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "x.json", {"accuracy": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_a_model_of_another_run_is_refused(tmp_path: Path) -> None:
    """The weights file is exchanged for another that is whole in itself."""
    import shutil

    import numpy as np
    from PIL import Image

    from tellapart.verbs.predict import predict
    from tellapart.verbs.train import train

    for shade, name in ((40, "dark"), (210, "light")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(8):
            pixels = np.random.default_rng([shade, number]).integers(shade, shade + 40, (16, 16, 3))
            picture = Image.fromarray(pixels.astype(np.uint8))
            picture.save(tmp_path / "photos" / name / f"{number}.png")
    one, other = (
        train(tmp_path / "photos", recipe="probe", seed=seed, runs=tmp_path / "runs",
              settings=["data.image_size=32"])
        for seed in (0, 1)
    )  # fmt: skip
    assert one.info.model_digest and one.info.model_digest != other.info.model_digest
    again = train(tmp_path / "photos", recipe="probe", seed=0, runs=tmp_path / "runs",
                  settings=["data.image_size=32"])  # fmt: skip
    assert again.model_file.read_bytes() == one.model_file.read_bytes()
    assert {"recipe.yaml", "metrics.json", "images.csv", "predictions/test.csv"} <= set(
        one.info.files
    )
    shutil.copy(other.model_file, one.model_file)
    with pytest.raises(RunError, match="not the model that the run was finished with"):
        predict(one, tmp_path / "photos/dark/0.png")


@pytest.mark.parametrize("name", ["metrics.json", "predictions/test.csv", "recipe.yaml"])
def test_a_file_that_is_not_as_it_was_written_is_refused(tmp_path: Path, name: str) -> None:
    run = open_run(make(tmp_path / "run"))
    (run.path / "metrics.json").write_text('{"test": {"accuracy": {"value": 0.5}}}')
    (run.path / "predictions" / "test.csv").write_text("path,label,prediction,a,b\n")
    run = run.update(files=run.digests())
    assert run.intact(run.path / name).is_file()
    assert run.accuracy("test").value == 0.5
    content = (run.path / name).read_bytes()
    (run.path / name).write_bytes(content.replace(b"a", b"b", 1))
    with pytest.raises(RunError, match=f"{name} was changed since the run was written"):
        run.intact(run.path / name)
    (run.path / name).unlink()
    with pytest.raises(RunError, match=f"{name} cannot be read"):
        run.intact(run.path / name)
    assert run.parts == ("test",)  # a table that is gone is not passed over


def test_a_history_that_grows_is_as_it_was(tmp_path: Path) -> None:
    """An extension adds rows before it is done; until then the run stays usable."""
    run = open_run(make(tmp_path / "run"))
    run.history_file.write_text("epoch,loss\n1,0.5\n")
    run = run.update(files=run.digests())
    run.history_file.write_text("epoch,loss\n1,0.5\n2,0.25\n")
    assert [row["loss"] for row in run.history()] == [0.5, 0.25]
    run.history_file.write_text("epoch,loss\n1,0.4\n2,0.25\n")
    with pytest.raises(RunError, match=r"history\.csv was changed"):
        run.history()


def test_a_changed_run_json_is_refused_and_one_of_an_older_version_opens(tmp_path: Path) -> None:
    file = make(tmp_path / "run") / "run.json"
    content = json.loads(file.read_text())
    content["classes"] = ["b", "a"]
    file.write_text(json.dumps(content))
    with pytest.raises(RunError, match=r"run\.json was changed since it was written"):
        open_run(tmp_path / "run")
    del content["digest"]
    file.write_text(json.dumps(content))
    assert open_run(tmp_path / "run").classes == ("b", "a")


@pytest.mark.parametrize("content", [b"{", b"\xff", b"[" * 100_000, b"[]"])
def test_metrics_of_a_run_without_digests_that_are_damaged_are_said(
    tmp_path: Path, content: bytes
) -> None:
    run = open_run(make(tmp_path / "run"))
    (run.path / "metrics.json").write_bytes(content)
    with pytest.raises(RunError, match=r"metrics\.json"):
        _ = run.metrics


def test_a_misspelt_run_is_answered_with_the_one_beside_it(tmp_path: Path) -> None:
    (tmp_path / "animals").mkdir()
    (tmp_path / "animals" / "run.json").write_text("{}")
    with pytest.raises(RunError, match=r"Did you mean '.*/animals'\?"):
        open_run(tmp_path / "animal")
