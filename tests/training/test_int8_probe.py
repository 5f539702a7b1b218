"""A probe on features in int8: what the run says is what every way to use it says."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tellapart.engines import int8 as int8_engine
from tellapart.errors import BundleError, MissingPackageError, RecipeError, RunError
from tellapart.models.tensors import read_header, read_tensors, write_tensors
from tellapart.prediction.classifier import INT8_NETWORK, load_classifier
from tellapart.predictors import open_predictor
from tellapart.run import Run, open_run
from tellapart.verbs.evaluate import evaluate
from tellapart.verbs.export import export
from tellapart.verbs.predict import predict
from tellapart.verbs.train import train

IN_INT8 = ("probe.precision=int8", "data.image_size=64")


@pytest.fixture(scope="module")
def photos(image_folder: Callable[..., Path]) -> Path:
    return image_folder(parts={"train": 20, "validation": 10, "test": 10})


@pytest.fixture(scope="module")
def run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(
        photos, recipe="probe", settings=IN_INT8, run=tmp_path_factory.mktemp("runs") / "int8"
    )


def files_of(run: Run) -> list[Path]:
    return [Path(run.info.data.root) / path for path in run.predictions("test").paths]


@pytest.mark.slow
def test_int8__every_verb_says_what_the_run_says(
    run: Run, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run.info.prediction is not None and run.info.prediction.precision == "int8"
    known = run.predictions("test")
    # A cache that knows nothing of it: the run carries its own network.
    monkeypatch.setenv("TELLAPART_CACHE_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setattr(int8_engine, "_MAKING", ("no_such_package",))
    opened = open_run(run.path)
    answers = predict(opened, files_of(run))
    said = [[row.probabilities[name] for name in run.classes] for row in answers.rows]
    np.testing.assert_allclose(said, known.probabilities, atol=1e-9)
    found = evaluate(opened, photos)
    np.testing.assert_allclose(
        found.predictions["test"].probabilities, known.probabilities, atol=1e-9
    )


@pytest.mark.slow
def test_int8__features_lie_beside_those_of_the_usual_engine(
    run: Run, photos: Path, tmp_path: Path
) -> None:
    usual = train(photos, recipe="probe", settings=IN_INT8[1:], run=tmp_path / "usual")
    ours, theirs = run.classifier(), usual.classifier()
    assert ours.features_key != theirs.features_key
    assert ours.features_key.startswith(theirs.features_key)
    pixels, _ = ours.decoded(files_of(run))
    apart = np.abs(ours.features(pixels) - theirs.features(pixels)).max()
    assert apart > 0
    # Nothing of the float network changes: what explains a run looks at that.
    assert ours.state().keys() == theirs.state().keys()


@pytest.mark.slow
@pytest.mark.parametrize("to", ["onnx", "openvino"])
def test_int8__export_is_the_same_network(to: str, run: Run, tmp_path: Path) -> None:
    made = export(run, tmp_path / "out", to=to)
    assert made.info.precision == "int8"
    check = made.info.measured["int8"]
    assert check["share_of_equal_decisions"] == 1.0 and check["largest_difference"] < 0.1
    answers = open_predictor(made.folder).predict(files_of(run)).rows
    assert [row.prediction for row in answers] == [
        row.prediction for row in predict(run, files_of(run)).rows
    ]
    for options, sentence in (
        ({"int8": True}, "in int8 .* already"),
        ({"float_input": True}, "--float does not go with it"),
        ({"to": "torch"}, "not with --to torch"),
    ):
        with pytest.raises(BundleError, match=sentence):
            export(run, tmp_path / "refused", **options)
    assert not (tmp_path / "refused").exists()


@pytest.mark.slow
def test_int8__a_run_that_lost_its_network_is_refused(run: Run, tmp_path: Path) -> None:
    copied = tmp_path / "copied"
    shutil.copytree(run.path, copied)
    file = copied / "model.safetensors"
    header = read_header(file)
    state, _ = read_tensors(file, header.digest)
    del state[INT8_NETWORK]
    write_tensors(file, state, header.text)
    with pytest.raises(RunError, match=r"damaged: its weights 'int8.network' are not those"):
        load_classifier(file).features(np.zeros((1, 64, 64, 3), np.uint8))


@pytest.mark.parametrize(
    ("settings", "recipe", "sentence"),
    [
        (["data.cross_validate=3"], "probe", "each fold of a cross-validation has others"),
        (["model={kind: joined, members: [{backbone: tf_efficientnet_lite0, image_size: 64},"
          " {backbone: tf_efficientnet_lite0}]}"], "probe", "with one backbone"),
        (["method=ensemble", "ensemble={members: [{name: a, probe: {precision: int8}}, {name: b}]}"
         ],
         "probe", "not of an ensemble's member"),
    ],
)  # fmt: skip
def test_int8__what_it_does_not_go_with(
    settings: list[str], recipe: str, sentence: str, photos: Path, tmp_path: Path
) -> None:
    given = [*settings, *(["probe.precision=int8"] if "ensemble" not in settings[0] else [])]
    with pytest.raises(RecipeError, match=sentence):
        train(photos, recipe=recipe, settings=given, run=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_int8__is_not_searched(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="give --time 0, or --recipe probe"):
        train(photos, settings=["probe.precision=int8"], time="1m", run=tmp_path / "run")


def test_int8__needs_nncf(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(int8_engine, "_MAKING", ("nncf_that_is_not_here",))
    with pytest.raises(MissingPackageError, match=r"pip install 'tellapart\[export\]'"):
        train(photos, recipe="probe", settings=IN_INT8, run=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("word", ["fp8", "INT8", "bf16"])
def test_int8__other_words_are_refused(word: str, photos: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="precision"):
        train(photos, recipe="probe", settings=[f"probe.precision={word}"], run=tmp_path / "run")


def test_int8__a_description_says_it_only_where_it_is_so(photos: Path, tmp_path: Path) -> None:
    from dataclasses import replace

    from tellapart.models.inputs import preprocessing_for
    from tellapart.prediction.classifier import Description
    from tellapart.recipe import BackboneModel, DataSettings

    model = BackboneModel()
    usual = Description(
        ("a", "b"), preprocessing_for(model, DataSettings()), model, frozen_backbone="key"
    )
    assert "precision" not in json.loads(usual.to_json())
    in_int8 = replace(usual, precision="int8")
    assert Description.from_json(in_int8.to_json()) == in_int8
    for wrong in (replace(usual, precision="int4"), replace(in_int8, frozen_backbone="")):
        with pytest.raises(ValueError, match="int"):
            Description.from_json(wrong.to_json())
