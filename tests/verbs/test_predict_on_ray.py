"""Several workers of Ray write what one process writes, also when one is killed in the middle."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tellapart.errors import DataError, TellapartError
from tellapart.prediction import on_ray
from tellapart.prediction.killers import Ledger
from tellapart.run import Run, open_run
from tellapart.verbs.predict import predict
from verbs.trained import quick_run

FILES = 1500


@pytest.fixture(scope="module")
def run(image_folder: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Run:
    photos = image_folder(parts={"train": 12, "validation": 6, "test": 8})
    return quick_run(photos, tmp_path_factory.mktemp("runs") / "quick", epochs=1)


@pytest.fixture(scope="module")
def many(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Links to the test images, a file that is none, and a name that is no Unicode."""
    folder = tmp_path_factory.mktemp("many")
    images = [Path(run.info.data.root) / path for path in run.predictions("test").paths]
    for number in range(FILES):
        os.link(images[number % len(images)], folder / f"{number:05}.png")
    (folder / "broken.png").write_bytes(b"no picture")
    os.link(images[0], os.fsdecode(os.fsencode(folder) + b"/caf\xe9.png"))
    return folder


def asked_of(ledger: Ledger) -> on_ray.Ask:
    return lambda method, *given: getattr(ledger, method)(*given)


def command(run: Run, folder: Path, out: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "tellapart", "predict", str(run.path), str(folder),
            "--out", str(out), *more]  # fmt: skip


def workers_of(process: subprocess.Popen[bytes]) -> list[int]:
    """The processes that hold a predictor."""
    import psutil

    try:
        below = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    found = []
    for child in below:
        try:
            if "MapWorker" in " ".join(child.cmdline()):
                found.append(child.pid)
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    return found


def waited_for(found: Callable[[], object], process: subprocess.Popen[bytes]) -> None:
    ends = time.monotonic() + 300
    while not found():
        assert process.poll() is None and time.monotonic() < ends, process.communicate()
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize("ending", [".csv", ".jsonl"])
def test_two_workers_write_what_one_process_writes(
    ending: str, run: Run, many: Path, tmp_path: Path
) -> None:
    pytest.importorskip("ray")
    alone, shared = tmp_path / f"alone{ending}", tmp_path / f"shared{ending}"
    expected = predict(run, many, out=alone)
    done = subprocess.run(
        command(run, many, shared, "--workers", "2"),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "HOME": str(tmp_path)},
    )
    assert done.returncode == 1, done.stderr  # one file cannot be read
    assert shared.read_bytes() == alone.read_bytes(), done.stderr
    assert f"{expected.images:,} images" in done.stdout
    assert not (tmp_path / ".ray").exists()  # no token of a cluster that is gone
    assert len(done.stderr.splitlines()) < 20, done.stderr


@pytest.mark.slow
def test_a_worker_that_is_killed_is_replaced(run: Run, many: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    pytest.importorskip("psutil")
    alone, shared = tmp_path / "alone.csv", tmp_path / "shared.csv"
    predict(run, many, out=alone)
    process = subprocess.Popen(
        command(run, many, shared, "--workers", "2"), stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    waited_for(lambda: shared.is_file() and shared.stat().st_size > 20_000, process)
    before = workers_of(process)
    assert len(before) == 2
    os.kill(before[0], signal.SIGKILL)
    _, told = process.communicate(timeout=300)
    assert process.returncode == 1, told.decode()
    assert shared.read_bytes() == alone.read_bytes(), told.decode()


@pytest.mark.slow
def test_a_job_that_is_killed_is_gone_on_with_by_workers(
    run: Run, many: Path, tmp_path: Path
) -> None:
    pytest.importorskip("ray")
    alone, shared = tmp_path / "alone.csv", tmp_path / "shared.csv"
    predict(run, many, out=alone)
    lines = alone.read_bytes().splitlines(keepends=True)
    shared.write_bytes(b"".join(lines[:700]) + lines[700][:7])
    predict(run, many, out=shared, workers=2)
    assert shared.read_bytes() == alone.read_bytes()
    with alone.open(encoding="utf-8", newline="") as file:
        assert len(list(csv.reader(file))) == FILES + 3
    from ray._common.usage.usage_lib import usage_stats_enabled

    assert not usage_stats_enabled()


@pytest.mark.slow
def test_a_picture_that_kills_its_worker_is_given_up(run: Run, many: Path) -> None:
    pytest.importorskip("ray")
    path = run.path

    class Killed:
        """A predictor whose decoder takes the process with it."""

        def __init__(self) -> None:
            self.real = open_run(path).predictor()

        def batches(self, images: list[Path]) -> Any:
            if any(image.name == "00300.png" for image in images):
                os.kill(os.getpid(), signal.SIGKILL)
            return self.real.batches(images)

        def answers(self, batch: Any) -> Any:
            return self.real.answers(batch)

    files = [many / f"{number:05}.png" for number in range(600)]
    found = [answer for some in on_ray.answers_on_ray(Killed, iter(files), 2) for answer in some]
    assert [answer.path for answer in found] == [str(file) for file in files]
    assert [Path(a.path).name for a in found if a.error] == ["00300.png"]
    assert "ended the process that read it" in found[300].error
    others = [answer for answer in found if not answer.error]
    expected = run.predictor().predict([Path(answer.path) for answer in others]).rows
    assert [a.probabilities for a in others] == [a.probabilities for a in expected]


@pytest.mark.slow
def test_workers_that_end_at_once_end_the_job(many: Path) -> None:
    pytest.importorskip("ray")

    def ends() -> Any:
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(TellapartError, match=r"while it opened the model.*--workers"):
        list(on_ray.answers_on_ray(ends, iter([many / "00000.png"]), 1))


# --- what is refused ------------------------------------------------------------------------


def test_workers_need_ray(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_ray, "find_spec", lambda name: None)
    with pytest.raises(TellapartError, match=r"pip install 'tellapart\[ray\]'"):
        predict(run, tmp_path, out=tmp_path / "a.csv", workers=2)
    assert not (tmp_path / "a.csv").exists()


def test_workers_need_a_place_for_answers(run: Run, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="give --out or --sort-into"):
        predict(run, tmp_path, workers=2)  # type: ignore[call-overload]
    with pytest.raises(DataError, match="at least one"):
        predict(run, tmp_path, out=tmp_path / "a.csv", workers=0)


def test_worker__answers_by_the_names_that_it_was_given(
    run: Run, many: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = on_ray.Worker(run.predictor, str(many), asked_of(Ledger(1)))
    names = [b"00001.png", b"broken.png", b"caf\xe9.png"]
    told = worker({"file": names})["answer"]
    answers = [on_ray._answer(content) for content in told]
    assert [os.fsencode(answer.path) for answer in answers] == names
    assert [bool(answer.error) for answer in answers] == [False, True, False]
    expected = run.predictor().predict([many / "00001.png"]).rows[0]
    assert answers[0].probabilities == expected.probabilities  # the same bits
