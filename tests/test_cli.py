"""The command line: exit codes, sentences, and machine-readable output."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tellapart.cli import app


def tellapart(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from tellapart.cli import main; main()", *map(str, arguments)],
        capture_output=True, text=True, cwd=cwd, check=False,
    )  # fmt: skip


def test_help_lists_every_command() -> None:
    done = tellapart("--help")
    assert done.returncode == 0
    for command in app.registered_commands:
        assert command.callback is not None
        assert (command.name or command.callback.__name__) in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("train", "no-such-folder"), "no-such-folder"),
        (("train",), "Which images"),
        (("train", ".", "--recipe", "prob"), "Did you mean 'probe'"),
        (("train", ".", "--set", "seed"), "key=value"),
        (("predict", "no-run", "x.jpg"), "no-run"),
        (("evaluate", "no-run"), "no-run"),
        (("recipes", "nothing"), "no recipe 'nothing'"),
        (("train", "--resume", "no-run"), "no-run"),
        (("train", ""), "An argument of 'tellapart train' is empty"),
        (("train", ".", "--run", ""), "--run is empty"),
        (("train", ".", "--root="), "--root is empty"),
        (("train", ".", "--seed", "4294967296"), "less than or equal to 4294967295"),
        (("train", ".", "--classes", " ,"), "--classes ' ,' names no class"),
    ],
)
def test_a_mistake_is_one_sentence_with_exit_code_2(
    arguments: tuple[str, ...], words: str, tmp_path: Path
) -> None:
    done = tellapart(*arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("option", ["--version", "-V"])
def test_the_version(option: str) -> None:
    import tellapart as package

    assert tellapart(option).stdout == f"tellapart {package.__version__}\n"


def test_shells_can_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    # Else typer answers for the shell that the tests run in, which may be one without completion.
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    done = tellapart("--show-completion", "bash")
    assert done.returncode == 0 and "_TELLAPART_COMPLETE=complete_bash" in done.stdout


def test_the_package_says_that_it_is_typed() -> None:
    import tellapart as package

    assert (Path(package.__file__).parent / "py.typed").is_file()


def test_train_and_predict_print_json_and_nothing_else(
    image_folder: Callable[..., Path], tmp_path: Path
) -> None:
    folder = image_folder(per_class=20)
    done = tellapart(
        "train", folder, "--recipe", "probe", "--set", "data.image_size=64",
        "--run", tmp_path / "run", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["run"] == str(tmp_path / "run")
    assert 0 <= result["test"]["accuracy"]["low"] <= result["test"]["accuracy"]["value"] <= 1

    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"not an image")
    good = next(folder.rglob("*.jpg"))
    done = tellapart("predict", tmp_path / "run", good, broken, "--format", "json")
    assert done.returncode == 1
    first, second = (json.loads(line) for line in done.stdout.splitlines())
    assert first["prediction"] in ("blue", "red")
    assert sum(first["probabilities"].values()) == pytest.approx(1)
    assert set(second) == {"path", "error"}

    done = tellapart("predict", tmp_path / "run", good, "--format", "xml")
    assert done.returncode == 2
    assert "table, csv, json" in done.stderr


def test_recipes_are_listed_and_shown() -> None:
    listed = json.loads(tellapart("recipes", "--json").stdout)
    assert {"auto", "probe", "cifar-baseline-sgd"} <= {row["name"] for row in listed}
    one = json.loads(tellapart("recipes", "cifar-baseline-sgd", "--json").stdout)
    assert one["total_parameters"] == 156_074  # printed in document 001
    assert one["trainable_parameters"] == 156_074
    assert one["image_size"] == 32
