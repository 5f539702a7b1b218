"""An exported run says what the run says, and what cannot be exported leaves nothing behind."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml

from tellapart import files
from tellapart.errors import BundleError, RunError, TellapartError
from tellapart.evaluation.abstention import Abstention
from tellapart.evaluation.class_sets import ClassSets
from tellapart.evaluation.decision import Decision
from tellapart.evaluation.policy import Policy
from tellapart.exporting import job
from tellapart.exporting.parity import Reference, compared, require_parity, script_answers
from tellapart.pixels.decode import decode_many
from tellapart.prediction.bundle import open_bundle
from tellapart.predictors import open_predictor
from tellapart.run import Run, open_run
from tellapart.verbs.decide import decide
from tellapart.verbs.export import export
from tellapart.verbs.predict import predict
from tellapart.verbs.train import train
from verbs.trained import quick_run


@pytest.fixture(scope="module")
def photos(image_folder: Any) -> Path:
    return Path(image_folder(parts={"train": 12, "validation": 6, "test": 8}))


@pytest.fixture(scope="module")
def run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return quick_run(photos, tmp_path_factory.mktemp("runs") / "quick", epochs=4)


@pytest.fixture(scope="module")
def bundle(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(run, tmp_path_factory.mktemp("out") / "bundle").folder


def files_of(run: Run, part: str = "test") -> list[Path]:
    return [Path(run.info.data.root) / path for path in run.predictions(part).paths]


def test_export__script_alone_gives_the_decisions_of_predict(run: Run, bundle: Path) -> None:
    files = files_of(run)
    # -I: the folder that it runs in and PYTHONPATH, where tellapart is, are not looked in.
    done = subprocess.run(
        [sys.executable, "-I", bundle / "classify.py", *files, bundle / "README.md"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    answers = run.predict(files)
    assert [line[1] for line in lines[:-1]] == [answer.prediction for answer in answers]
    for line, answer in zip(lines, answers, strict=False):
        assert line[0] == answer.path
        assert float(line[2]) == pytest.approx(answer.probabilities[answer.prediction], abs=0.02)
    assert lines[-1][1] == "cannot be read"


def test_export__model_json_says_what_is_needed(run: Run, bundle: Path) -> None:
    content = json.loads((bundle / "model.json").read_text())
    assert content["classes"] == ["blue", "red"] and content["runtime"] == "onnx"
    check = content["measured"]["float32"]
    assert check["images"] == 16 and check["share_of_equal_decisions"] == 1.0
    assert check["largest_difference"] < 1e-5
    assert set(content["files"]) == {"model.onnx", "classify.py", "README.md"}
    inside = onnx.load(bundle / "model.onnx")
    said = {p.key: json.loads(p.value) for p in inside.metadata_props}
    assert said["classes"] == ["blue", "red"]
    assert said["preprocessing"] == content["preprocessing"]


def test_export__card_has_a_header_that_hugging_face_reads(run: Run, bundle: Path) -> None:
    text = (bundle / "README.md").read_text()
    _, header, body = text.split("---\n", 2)
    facts = yaml.safe_load(header)
    assert facts["pipeline_tag"] == "image-classification" and facts["library_name"] == "onnx"
    result = facts["model-index"][0]["results"][0]
    assert result["metrics"][0]["value"] == round(run.metrics["test"]["accuracy"]["value"], 4)
    assert "16 images of the test part" in body and "random weights" in body
    assert str(Path(run.info.data.root).parent) not in text  # where the images lay is nobody's


def test_export__openvino_agrees(run: Run, tmp_path: Path) -> None:
    made = export(run, tmp_path / "out", to="openvino")
    check = made.info.measured["float32"]
    assert check["share_of_equal_decisions"] == 1.0 and check["largest_difference"] < 1e-5
    pixels, _ = decode_many(files_of(run), run.classifier().preprocessing)
    opened = open_bundle(made.folder)
    expected = run.predictions("test").probabilities
    np.testing.assert_allclose(opened.probabilities(pixels), expected, atol=0.02)


def test_export__float_input(run: Run, bundle: Path, tmp_path: Path) -> None:
    made = export(run, tmp_path / "out", float_input=True)
    pixels, _ = decode_many(files_of(run), run.classifier().preprocessing)
    np.testing.assert_allclose(
        open_bundle(made.folder).probabilities(pixels),
        open_bundle(bundle).probabilities(pixels),
        atol=1e-6,
    )
    inside = onnx.load(made.folder / "model.onnx").graph.input[0].type.tensor_type
    assert inside.elem_type == onnx.TensorProto.FLOAT
    assert [d.dim_value for d in inside.shape.dim][1:] == [3, 32, 32]


def by_script(folder: Path, files: list[Path]) -> list[tuple[str, float]]:
    """What classify.py prints where neither tellapart nor its folder can be imported."""
    done = subprocess.run(
        [sys.executable, "-I", folder / "classify.py", *files],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert [Path(line[0]) for line in lines] == files
    return [(line[1], float(line[2])) for line in lines]


def test_export__torch_program_answers_by_its_script(run: Run, tmp_path: Path) -> None:
    import torch

    made = export(run, tmp_path / "out", to="torch")
    check = made.info.measured["float32"]
    assert check["share_of_equal_decisions"] == 1.0 and check["largest_difference"] < 1e-5
    files = files_of(run)
    stored = run.predictions("test")
    said = by_script(made.folder, files)
    assert [name for name, _ in said] == [run.classes[i] for i in stored.predicted]
    np.testing.assert_allclose(
        [probability for _, probability in said], stored.probabilities.max(axis=1), atol=0.02
    )
    extra = {"classes": ""}
    program = torch.export.load(made.folder / "model.pt2", extra_files=extra)
    assert json.loads(extra["classes"]) == ["blue", "red"]
    pixels, _ = decode_many(files[:3], run.classifier().preprocessing)
    for some in (pixels, pixels[:1]):  # any number of images
        probabilities, decision, _ = program.module()(torch.from_numpy(some))
        assert probabilities.shape == (len(some), 2) and decision.dtype == torch.int64
    np.testing.assert_allclose(
        open_bundle(made.folder).probabilities(pixels), stored.probabilities[:3], atol=0.02
    )


@pytest.fixture(scope="module")
def probe(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A linear layer on timm's network, at a temperature that training chose."""
    folder = tmp_path_factory.mktemp("probe")
    return train(photos, recipe="probe", settings=["data.image_size=64"], run=folder / "probe")


@pytest.mark.slow
def test_export__timm_opens_the_folder_as_it_opens_its_own(probe: Run, tmp_path: Path) -> None:
    import timm
    import torch

    made = export(probe, tmp_path / "out", to="timm")
    assert made.info.measured["float32"]["share_of_equal_decisions"] == 1.0
    assert made.info.measured["float32"]["largest_difference"] < 1e-5
    files, stored = files_of(probe), probe.predictions("test")
    said = by_script(made.folder, files)
    assert [name for name, _ in said] == [probe.classes[i] for i in stored.predicted]
    np.testing.assert_allclose(
        [probability for _, probability in said], stored.probabilities.max(axis=1), atol=0.02
    )
    # What timm itself makes of pictures is what the run makes of them.
    network = timm.create_model(f"local-dir:{made.folder}", pretrained=True).eval()
    assert network.pretrained_cfg["label_names"] == ["blue", "red"]
    data = timm.data.resolve_model_data_config(network)
    rule = probe.classifier().preprocessing
    assert tuple(data["input_size"]) == (3, 64, 64) and data["crop_mode"] == rule.fit
    assert tuple(data["mean"]) == rule.mean and tuple(data["std"]) == rule.std
    pixels, _ = decode_many(files, rule)
    images = (torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255).float()
    mean, std = (torch.tensor(values).reshape(1, 3, 1, 1) for values in (rule.mean, rule.std))
    with torch.inference_mode():
        found = network((images - mean) / std).softmax(dim=1).numpy()
    np.testing.assert_allclose(found, stored.probabilities, atol=0.02)


@pytest.mark.slow
def test_export__timm_is_refused_what_it_cannot_hold(
    probe: Run, photos: Path, tmp_path: Path
) -> None:
    out, copy = tmp_path / "out", tmp_path / "copy"
    shutil.copytree(probe.path, copy)
    changed = Run(copy).update(decision=Decision("red", 0.2).to_dict())
    assert "a decision rule is in force" in refused(out, changed, out, to="timm")
    flipped = train(
        photos, recipe="probe", settings=["data.image_size=64", "probe.views=[original, flip]"],
        run=tmp_path / "flipped",
    )  # fmt: skip
    assert "it averages views (test_time: flip)" in refused(out, flipped, out, to="timm")


def test_export__is_a_predictor(run: Run, bundle: Path) -> None:
    files = files_of(run)
    answers = predict(bundle, files)
    assert [a.prediction for a in answers] == [a.prediction for a in run.predict(files)]
    alone = open_predictor(bundle).predict_one(files[3].read_bytes())
    assert alone.probabilities == answers[3].probabilities  # whatever comes with it
    with pytest.raises(BundleError, match="cannot answer"):
        open_predictor(bundle, unknown=True)


def test_export__decision_in_force_is_inside(run: Run, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run.path, copy)
    probabilities = run.predictions("test").probabilities[:, 1]
    threshold = float(np.sort(probabilities)[[3, 4]].mean())
    changed = Run(copy).update(decision=Decision("red", threshold).to_dict())
    made = export(changed, tmp_path / "out")
    _, decisions = script_answers(made.folder / "classify.py", files_of(run))
    assert decisions.tolist() == (probabilities >= threshold).astype(int).tolist()
    assert sum(decisions) == 12  # the likeliest class would be another answer
    assert "from a probability of" in (made.folder / "README.md").read_text()
    assert open_bundle(made.folder).policy.decision == Decision("red", threshold)


@pytest.mark.slow
def test_export__says_what_decide_chose(run: Run, photos: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run.path, copy)
    decide(copy, cost=("red", 1000))
    changed = open_run(copy)
    assert changed.decision is not None and changed.decision.threshold < 0.1
    expected = changed.predictions("test").predicted
    assert not np.array_equal(expected, run.predictions("test").predicted)
    made = export(changed, tmp_path / "out")
    _, decisions = script_answers(made.folder / "classify.py", files_of(run))
    np.testing.assert_array_equal(decisions, expected)
    answers = [a.prediction for a in predict(made.folder, files_of(run))]
    assert answers == [a.prediction for a in predict(changed, files_of(run))]


def test_export__abstention_in_force_is_inside(run: Run, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run.path, copy)
    confidence = run.predictions("test").probabilities.max(axis=1)
    above = float(np.sort(confidence)[[4, 5]].mean())
    abstention = Abstention(above, 0.1)
    changed = Run(copy).update(policy=Policy(abstention=abstention).extras_to_dict())
    made = export(changed, tmp_path / "out")
    answers = ["blue", "red", "uncertain"]
    _, decisions = script_answers(made.folder / "classify.py", files_of(run))
    assert [answers[i] == "uncertain" for i in decisions] == (confidence <= above).tolist()
    assert sum(decisions == 2) == 5
    content = json.loads((made.folder / "model.json").read_text())
    assert content["answers"] == answers and content["abstention"]["above"] == above
    inside = onnx.load(made.folder / "model.onnx")
    said = {p.key: json.loads(p.value) for p in inside.metadata_props}
    assert said["answers"] == answers
    assert "uncertain up to a confidence" in (made.folder / "README.md").read_text()
    by_bundle = [answer.prediction for answer in predict(made.folder, files_of(run))]
    assert by_bundle == [answers[i] for i in decisions]


def test_export__int8_says_what_it_costs(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("nncf")
    made = export(run, tmp_path / "out", int8=True)
    found = made.info.measured["int8"]
    assert made.info.precision == "int8"
    assert found["accuracy_difference"].keys() >= {"value", "low", "high"}
    assert 0 < found["largest_difference"] < 0.5
    model = onnx.load(made.folder / "model.onnx")
    assert any(node.op_type == "QuantizeLinear" for node in model.graph.node)
    assert any("int8: accuracy" in line for line in made.lines())


# --- what is refused ------------------------------------------------------------------------


def refused(out: Path, *arguments: Any, error: type = BundleError, **options: Any) -> str:
    before = sorted(out.parent.iterdir())
    with pytest.raises(error) as caught:
        export(*arguments, **options)
    assert sorted(out.parent.iterdir()) == before
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_refuses__a_folder_that_is_not_empty(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("precious")
    assert "not empty" in refused(out, run, out)
    assert "is a file" in refused(out, run, out / "mine.txt")
    assert (out / "mine.txt").read_text() == "precious"


def test_refuses__unknown_formats_and_what_does_not_go_together(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert "Did you mean 'onnx'?" in refused(out, run, out, to="onx")
    assert "goes with --to 'onnx' or 'openvino'" in refused(out, run, out, to="torch", int8=True)
    assert "no effect" in refused(out, run, out, to="timm", float_input=True)
    assert "not one of timm's" in refused(out, run, out, to="timm")


@pytest.mark.parametrize(
    ("policy", "said"),
    [(Policy(sets=ClassSets(0.3, 0.9)), "sets of classes"), (Policy(unknown=True), "'unknown'")],
)
def test_refuses__what_a_graph_cannot_hold(
    policy: Policy, said: str, run: Run, tmp_path: Path
) -> None:
    out, copy = tmp_path / "out", tmp_path / "copy"
    shutil.copytree(run.path, copy)
    changed = Run(copy).update(policy=policy.extras_to_dict())
    assert f"answers with {said}, which" in refused(out, changed, out)


def test_refuses__a_missing_package(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "tellapart.extras.find_spec", lambda name: None if name == "nncf" else object()
    )
    out = tmp_path / "out"
    assert "needs nncf: pip install" in refused(out, run, out, int8=True)


def test_refuses__runs_that_cannot_be_used(run: Run, tmp_path: Path) -> None:
    out, copy = tmp_path / "out", tmp_path / "copy"
    shutil.copytree(run.path, copy)
    (copy / "model.safetensors").write_bytes(b"nonsense")
    refused(out, copy, out, error=RunError)
    Run(copy).update(status="running")
    assert "did not finish" in refused(out, copy, out, error=RunError)
    assert "no run folder" in refused(out, tmp_path / "none", out, error=RunError)


def test_refuses__images_that_are_gone_but_takes_others(
    run: Run, photos: Path, tmp_path: Path
) -> None:
    copy, out = tmp_path / "copy", tmp_path / "out"
    shutil.copytree(run.path, copy)
    opened = open_run(copy)
    moved = opened.update(data=replace(opened.info.data, root=str(tmp_path / "gone")))
    assert "--images FOLDER" in refused(out, moved, out)
    made = export(moved, out, images=[photos / "test" / "red"])
    assert made.info.measured["images"] == "given images"
    assert made.info.measured["float32"]["images"] == 8


def test_refuses__a_model_that_is_not_the_runs(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = job.whole_graph
    monkeypatch.setattr(
        job, "whole_graph",
        lambda network, around: right(network, replace(around, temperature=0.01)),
    )  # fmt: skip
    out = tmp_path / "out"
    assert "is not the run's" in refused(out, run, out)


def test_refuses__a_decision_rule_that_is_not_the_runs() -> None:
    probabilities = np.array([[0.4, 0.6], [0.9, 0.1]])
    reference = Reference((Path("a"), Path("b")), probabilities, np.array([1, 0]))
    wrong = probabilities, np.array([1, 1])
    parity = compared(reference, wrong, ["a", "b"])
    with pytest.raises(BundleError, match="decides otherwise on b"):
        require_parity(parity, wrong, ("x", "y"), Policy(), int8=False)
    right = probabilities + 1e-6, np.array([1, 0])
    require_parity(compared(reference, right, ["a", "b"]), right, ("x", "y"), Policy(), int8=False)


#: What an export writes, in this order.
WRITTEN = ("model.onnx", "classify.py", "README.md", "model.json")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow if n[-3:] in (".py", ".md") else ())
             for n in WRITTEN],
)  # fmt: skip
def test_refuses__a_disk_that_is_full_in_the_middle(
    name: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = files.replacing
    begun = []

    @contextmanager
    def full(path: Path, **options: Any) -> Iterator[Path]:
        begun.append(Path(path).name)
        with right(path, **options) as unfinished:
            yield unfinished
            if Path(path).name == name:
                unfinished.write_bytes(unfinished.read_bytes()[:100])
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files, "replacing", full)
    out = tmp_path / "out"
    assert "No space left on device; free some space" in refused(out, run, out, check=2)
    assert begun == list(WRITTEN[: WRITTEN.index(name) + 1])


def test_refuses__a_run_of_a_newer_version(run: Run, tmp_path: Path) -> None:
    copy, out = tmp_path / "copy", tmp_path / "out"
    shutil.copytree(run.path, copy)
    content = json.loads((copy / "run.json").read_text())
    (copy / "run.json").write_text(json.dumps(content | {"format": content["format"] + 1}))
    assert "made by a newer tellapart; update this one" in refused(out, copy, out, error=RunError)


def test_refuses__a_network_that_the_exporter_cannot_take(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> bytes:
        raise RuntimeError("no such operator\nand a page of more")

    monkeypatch.setattr(job, "network_to_onnx", fail)
    out = tmp_path / "out"
    assert "cannot take this network (no such operator)" in refused(out, run, out)


def test_every_refusal_is_a_sentence_of_tellapart() -> None:
    assert issubclass(BundleError, TellapartError)
