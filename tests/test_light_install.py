"""What works without PyTorch, tried where importing it is refused, and what says it does not."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pages import commands_of
from tellapart.cli import app
from tellapart.errors import MissingPackageError
from tellapart.extras import TRAIN
from tellapart.run import open_run
from tellapart.verbs.train import train

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "install.md").read_text("utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]

#: Before anything is imported: the packages of a full install are not found.
REFUSE = f"""
import sys
class Without:
    def __init__(self, finder):
        self.finder = finder
    def __getattr__(self, name):
        return getattr(self.finder, name)
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {(*TRAIN, "huggingface_hub", "onnxscript")}:
            return None
        return self.finder.find_spec(name, path, target)
sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
"""


def run_refusing(code: str, *arguments: str) -> str:
    """What Python prints that has no PyTorch."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", REFUSE + code, *arguments],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_the_core_asks_for_no_pytorch_and_the_extra_for_all_of_it() -> None:
    names = {text.split(">")[0].split("=")[0] for text in PROJECT["dependencies"]}
    assert not names & {*TRAIN}
    extra = PROJECT["optional-dependencies"]["train"]
    assert {text.split(">")[0] for text in extra} == {*TRAIN}
    assert "train" in PROJECT["optional-dependencies"]["dev"][0]  # make test installs everything


def test_every_verb_is_imported_without_pytorch() -> None:
    code = """
import tellapart, tellapart.cli, tellapart.estimator
for name in tellapart.__all__:
    getattr(tellapart, name)
import tellapart.verbs.searching, tellapart.exporting.parity, tellapart.explanation.inside
print(sorted({"torch", "timm", "accelerate"} & set(sys.modules)))
"""
    assert run_refusing(code).strip() == "[]"


VERBS = """
import json
from pathlib import Path
from typer.testing import CliRunner
import tellapart
from tellapart.cli import app
for line in Path(sys.argv[1]).read_text("utf-8").splitlines():
    done = CliRunner().invoke(app, json.loads(line))
    error = done.exception
    if isinstance(error, SystemExit):
        error = None
    print(json.dumps([done.exit_code, type(error).__name__ if error else "", str(error or "")]))
assert not {"torch", "timm", "accelerate"} & set(sys.modules)
"""


def outcomes_of(commands: list[list[str]], folder: Path) -> list[tuple[int, str, str]]:
    """Exit code, exception and its sentence of commands, run without PyTorch."""
    listed = folder / "commands.txt"
    listed.write_text("\n".join(map(json.dumps, commands)), "utf-8")
    lines = run_refusing(VERBS, str(listed)).splitlines()
    return [tuple(json.loads(line)) for line in lines if line.startswith("[")]


@pytest.mark.slow
def test_the_verbs_work_without_pytorch_and_give_the_same_numbers(
    image_folder: Callable[..., Path], tmp_path: Path, fresh_cache: Path
) -> None:
    photos, run = image_folder(classes=("cat", "dog"), per_class=30), tmp_path / "run"
    first = str(next((photos / "cat").iterdir()))
    commands = [
        ["inspect", str(photos), "--audit", "--out", str(tmp_path / "looked")],
        ["train", str(photos), "--time", "0", "--run", str(run)],
        ["train", str(photos), "--time", "20s", "--run", str(tmp_path / "searched")],
        ["train", str(photos), "--cross-validate", "3",
         "--run", str(tmp_path / "folds")],
        ["train", str(photos), "--recipe", "probe", "--set", "probe.head=neighbours",
         "--run", str(tmp_path / "near")],
        ["train", str(photos), "--recipe", "probe", "--set", "probe.views=[original,flip]",
         "--run", str(tmp_path / "mirrored")],
        ["export", str(tmp_path / "mirrored"), str(tmp_path / "two-views")],
        ["predict", str(run), first],
        ["evaluate", str(run), str(photos)],
        ["explain", str(run), first],
        ["explain", str(tmp_path / "near"), first],
        ["compare", str(run), str(tmp_path / "near"), "--out", str(tmp_path / "compared")],
        ["report", str(run)],
        ["decide", str(run), "--cost", "cat=5"],
        ["export", str(run), str(tmp_path / "onnx")],
        ["export", str(run), str(tmp_path / "float"), "--float"],
        ["export", str(run), str(tmp_path / "openvino"), "--to", "openvino"],
        ["predict", str(tmp_path / "onnx"), first],
        ["private", str(run)],
        ["export", str(run), str(tmp_path / "int8"), "--int8"],
        ["train", str(photos), "--recipe", "probe", "--set", "probe.precision=int8",
         "--run", str(tmp_path / "in-int8")],
        ["export", str(tmp_path / "in-int8"), str(tmp_path / "in-int8-onnx")],
        ["doctor"], ["backbones"], ["recipes"], ["cache"], ["licences"],
    ]  # fmt: skip
    for command, (code, error, sentence) in zip(
        commands, outcomes_of(commands, tmp_path), strict=True
    ):
        if command[0] == "export" and "In int8 only" in sentence:
            continue  # nine images of noise need not keep their answers
        assert (code, error) == (0, ""), (command, sentence)
    page = (run / "explanations").glob("*/report.html")
    assert "Grad-CAM" in next(page).read_text("utf-8")
    whole = train(photos, settings=(), run=tmp_path / "full", time=0)
    file = "model.safetensors"
    assert (whole.path / file).read_bytes() == (run / file).read_bytes()
    # The classes were chosen anew by the decision above; what they are chosen from was not.
    ours, theirs = open_run(run).predictions("test"), whole.predictions("test")
    assert ours.paths == theirs.paths and ours.probabilities.tobytes() == (
        theirs.probabilities.tobytes()
    )


@pytest.mark.slow
def test_what_needs_pytorch_is_said_with_its_command(
    image_folder: Callable[..., Path], tmp_path: Path
) -> None:
    photos = str(image_folder())
    commands = [
        ["train", photos, "--recipe", "finetune", "--run", str(tmp_path / "run")],
        ["train", photos, "--set", "model.backbone=vgg16", "--run", str(tmp_path / "run")],
        ["train", photos, "--devices", "2", "--run", str(tmp_path / "run")],
        ["ladder", photos], ["imagenet", photos], ["backbones", "vit"],
        ["inspect", photos, "--device", "cuda"],
        ["inspect", photos, "--augment", "finetune"],
    ]  # fmt: skip
    for command, (code, error, sentence) in zip(
        commands, outcomes_of(commands, tmp_path), strict=True
    ):
        assert code == 1 and error == MissingPackageError.__name__, (command, error, sentence)
        assert "pip install 'tellapart[train]'" in sentence
    assert not (tmp_path / "run").exists()


def test_the_commands_of_the_page_run() -> None:
    commands = commands_of(PAGE)
    assert commands
    for command in commands:
        done = CliRunner().invoke(app, command.words, catch_exceptions=False)
        assert done.exit_code == 0, (command.text, done.output)


def test_the_page_quotes_the_sentence() -> None:
    sentence = "needs PyTorch, which is not installed; pip install 'tellapart[train]' brings it."
    assert sentence in PAGE
