"""How a command ends: output that takes nothing, encodings, signals, options without effect."""

from __future__ import annotations

import inspect
import os
import signal
import subprocess
import sys
import typing
from pathlib import Path

import pytest

import tellapart
from tellapart import cli


def command(*arguments: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tellapart", *map(str, arguments)],
        stderr=subprocess.PIPE, text=True, check=False, **{"stdout": subprocess.PIPE, **options},
    )  # type: ignore[call-overload]  # fmt: skip


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("arguments", [("recipes",), ("recipes", "--json"), ("--help",)])
def test_a_full_disk_for_the_output_is_a_sentence(arguments: tuple[str, ...]) -> None:
    with Path("/dev/full").open("w") as full:
        done = command(*arguments, stdout=full)
    assert done.returncode == 2
    assert done.stderr.startswith(
        "tellapart: Standard output cannot be written: No space left on device; free some space"
    )
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.skipif(os.name != "posix", reason="shells of another kind")
def test_a_closed_output_is_said_before_any_work() -> None:
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m tellapart recipes >&-"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("tellapart: Standard output is closed")


def test_names_that_the_encoding_lacks_are_escaped(tmp_path: Path) -> None:
    (tmp_path / "cat 猫").mkdir()
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = command("inspect", tmp_path / "cat 猫", env=environment)
    assert done.returncode == 2
    assert r"cat \u732b" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("option", ["--version", "-V"])
def test_the_version(option: str) -> None:
    done = command(option)
    assert (done.returncode, done.stdout) == (0, f"tellapart {tellapart.__version__}\n")


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_signals_end_with_a_sentence_and_their_exit_code(name: str) -> None:
    code = (
        "import time\n"
        "from tellapart.terminal import run_command\n"
        "def work():\n"
        "    print('working', flush=True)\n"
        "    time.sleep(60)\n"
        "run_command(work)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        # Tests that run under nohup, or behind an "&", would hand on that signals are ignored.
        preexec_fn=lambda: signal.signal(getattr(signal, name), signal.SIG_DFL),
    )  # fmt: skip
    assert process.stdout is not None and process.stdout.readline() == "working\n"
    process.send_signal(getattr(signal, name))
    _, said = process.communicate(timeout=20)
    assert process.returncode == 128 + getattr(signal, name)
    words = "interrupted." if name == "SIGINT" else f"stopped by {name}."
    assert said == f"tellapart: {words}\n"


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_what_nohup_ignores_stays_ignored() -> None:
    code = (
        "import os, signal\n"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "from tellapart.terminal import run_command\n"
        "run_command(lambda: os.kill(os.getpid(), signal.SIGHUP))\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("train photos --extend 2", "--extend has no effect without --resume"),
        ("train photos --resume run", "FOLDER has no effect beside --resume"),
        (
            "train --resume run --recipe probe --set seed=1 --seed 3",
            "--recipe, --set and --seed have no effect beside --resume",
        ),
        ("train photos --run a --runs b", "--runs has no effect beside --run"),
        ("evaluate run --foreign", "--foreign has no effect without FOLDER"),
        ("evaluate run --root a", "--root has no effect without FOLDER"),
        ("inspect photos --seed 3", "--seed has no effect without --augment"),
        ("explain run a.jpg --count 3", "--count has no effect beside IMAGE"),
        ("compare a b --out c --runs d", "--runs has no effect beside --out"),
        ("predict run a.jpg --json --format csv", "contradicts --format csv"),
    ],
)
def test_options_without_effect_are_refused(
    arguments: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from tellapart.errors import TellapartError

    with pytest.raises(TellapartError) as caught:
        cli.app(arguments.split(), standalone_mode=False)
    assert words in str(caught.value)
    assert capsys.readouterr().out == ""


def test_the_tables_of_options_name_parameters_that_exist() -> None:
    parameters = {
        each.callback.__name__: set(inspect.signature(each.callback).parameters)
        for each in cli.app.registered_commands
        if each.callback is not None
    }
    for name, pairs in cli.NEEDS.items():
        assert {option for pair in pairs for option in pair} <= parameters[name]
    for name, rows in cli.EXCLUDES.items():
        for option, others in rows:
            assert {option, *others} <= parameters[name]


#: Parameters of a command that its verb does not have, and why.
ALLOWED = {
    "as_json": "the result has to_json()",
    "format": "the answers have in_format()",
    "resume": "a function of its own, tellapart.resume",
    "extend": "an argument of tellapart.resume",
}


@pytest.mark.parametrize(
    "name", [each.callback.__name__ for each in cli.app.registered_commands if each.callback]
)
def test_a_verb_takes_what_its_command_takes(name: str) -> None:
    """``set`` and ``from`` are words of Python: ``settings`` and ``from_run``."""
    own = inspect.signature(getattr(cli, name)).parameters
    verb = inspect.signature(getattr(tellapart, name)).parameters
    assert set(own) - (set(ALLOWED) - set(verb)) == set(verb) - {"progress"}
    spelled = {"settings": "--set", "from_run": "--from", "as_json": "--json"}
    for parameter in own.values():
        for option in _options(parameter):
            expected = spelled.get(parameter.name, f"--{parameter.name.replace('_', '-')}")
            assert option == expected


def _options(parameter: inspect.Parameter) -> list[str]:
    kind = eval(str(parameter.annotation), cli.__dict__)  # noqa: S307  our own annotations
    marks = typing.get_args(kind)[1:]
    return [
        text
        for mark in marks
        for text in (getattr(mark, "param_decls", None) or ())
        if text.startswith("--")
    ]


def test_resume_takes_what_train_resume_takes() -> None:
    assert set(inspect.signature(tellapart.resume).parameters) == {
        "run", "extend", "time", "device", "devices", "progress",
    }  # fmt: skip
