"""The one way from pictures to answers: whatever is given, and from however many threads."""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "verbs"))

from trained import quick_run

import tellapart as ta
from tellapart.evaluation.policy import Policy
from tellapart.evaluation.unknown import UnknownDetector
from tellapart.pixels.preprocessing import Preprocessing
from tellapart.prediction import classifier as classifier_module
from tellapart.prediction import predictor as predictor_module
from tellapart.prediction.classifier import Description, classifier_in_memory
from tellapart.prediction.predictor import Predictor
from tellapart.recipe import BackboneModel
from tellapart.run import Run


@pytest.fixture(scope="module")
def run(image_folder: Callable[..., Path]) -> Run:
    folder = image_folder(per_class=20)
    return quick_run(folder, folder.parent / "run", epochs=1)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    files = []
    for number in range(11):
        pixels = random.integers(0, 256, (40, 48, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:02}.png")
        files.append(folder / f"{number:02}.png")
    return files


def test_a_path_its_bytes_its_picture_and_its_array_get_the_same_answer(
    run: Run, pictures: list[Path]
) -> None:
    predictor = ta.open_predictor(run)
    file = pictures[0]
    with Image.open(file) as picture:
        pixels = np.asarray(picture.convert("RGB"))
        given = [file, str(file), file.read_bytes(), picture, pixels]
        answers = predictor.predict(given)
    assert [a.path for a in answers] == [str(file), str(file), "image 3", "image 4", "image 5"]
    assert len({(a.prediction, tuple(a.probabilities.values())) for a in answers}) == 1
    for image in given:
        assert predictor.predict_one(image).probabilities == answers[0].probabilities
    assert predictor.predict(pixels)[0].probabilities == answers[0].probabilities
    assert len(predictor.predict(np.stack([pixels, pixels, pixels]))) == 3


def test_a_picture_in_memory_is_seen_as_its_file_is(run: Run, tmp_path: Path) -> None:
    """Turned upright, laid on white, grey made colour."""
    random = np.random.default_rng(1)
    turned, clear, grey = tmp_path / "t.png", tmp_path / "c.png", tmp_path / "g.png"
    exif = Image.Exif()
    exif[0x0112] = 6
    noise = random.integers(0, 256, (30, 50, 4), dtype=np.uint8)
    Image.fromarray(noise[..., :3]).save(turned, exif=exif)
    Image.fromarray(noise).save(clear)
    Image.fromarray(noise[..., 0]).save(grey)
    predictor = run.predictor()
    for file in (turned, clear, grey):
        with Image.open(file) as picture:
            there, here = predictor.predict([file, picture])
        assert there.probabilities == here.probabilities
    assert (
        predictor.predict_one(noise[..., 0]).probabilities
        == predictor.predict_one(grey).probabilities
    )


@pytest.mark.parametrize(("given", "said"), [
    (b"", "The file is empty."),
    (b"no picture", "not a picture in a format that is read here"),
    (np.zeros((4, 4, 3), np.float32), "must be uint8, .*received float32 \\(4, 4, 3\\)"),
    (np.zeros((4, 4, 4), np.uint8), "received uint8 \\(4, 4, 4\\)"),
    (np.zeros((0, 4, 3), np.uint8), "received uint8 \\(0, 4, 3\\)"),
    (7, "received int"),
])  # fmt: skip
def test_what_is_no_picture_is_answered_and_spoils_nothing(
    run: Run, pictures: list[Path], given: object, said: str
) -> None:
    bad, good = run.predictor().predict([given, pictures[0]])
    assert not good.error and bad.path == "image 1"
    import re

    assert re.search(said, bad.error), bad.error


def test_batches_come_in_order_whatever_their_size(
    run: Run, pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = run.predictor()
    whole = predictor.predict(pictures)
    monkeypatch.setattr(predictor_module, "BATCH_IMAGES", 3)
    batches = list(predictor.batches(iter([*pictures[:5], b"x", *pictures[5:]])))
    assert [len(batch) for batch in batches] == [3, 3, 3, 3]
    answers = [answer for batch in batches for answer in predictor.answers(batch)]
    assert answers[5].error and answers.pop(5).path == "image 6"
    assert [a.path for a in answers] == [str(path) for path in pictures]
    for one, other in zip(whole, answers, strict=True):
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)


def test_no_more_images_are_taken_than_are_needed(
    run: Run, pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two batches at a time are in memory: that which is answered, and that which is decoded."""
    monkeypatch.setattr(predictor_module, "BATCH_IMAGES", 2)
    taken: list[int] = []

    def endless():  # type: ignore[no-untyped-def]
        for number in range(1000):
            taken.append(number)
            yield pictures[0]

    batches = run.predictor().batches(endless())
    for done in range(1, 4):
        next(batches)
        assert len(taken) == 2 * (done + 1)
    batches.close()


def test_several_threads_get_what_one_gets_and_open_one_engine(
    run: Run, pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = [run.predictor().predict_one(file).probabilities for file in pictures]
    opened: list[str] = []
    build = classifier_module.build_engine

    def counting(*arguments: object, **named: object) -> object:
        opened.append("engine")
        return build(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(classifier_module, "build_engine", counting)
    predictor = run.predictor()
    threads = 4
    together = Barrier(threads)

    def work(_: int) -> list[dict[str, float]]:
        together.wait()
        return [predictor.predict_one(file).probabilities for file in pictures]

    with ThreadPoolExecutor(threads) as pool:
        found = list(pool.map(work, range(threads)))
    assert opened == ["engine"]
    for answers in found:
        for one, other in zip(answers, expected, strict=True):
            assert one == pytest.approx(other, abs=1e-5)


def test_a_probe_rounds_an_image_alone_as_among_others() -> None:
    """What NumPy's matrix product does not do: its sums hang on how many rows there are."""
    random = np.random.default_rng(0)
    description = Description(
        ("a", "b", "c"), Preprocessing(32, 32),
        BackboneModel(backbone="mobilenetv3_small_050", weights="none"), frozen_backbone="x",
    )  # fmt: skip
    head = {
        "head.output.weight": random.normal(size=(3, 1024)).astype(np.float32),
        "head.output.bias": random.normal(size=3).astype(np.float32),
    }
    classifier = classifier_in_memory(head, description)
    features = random.normal(size=(600, 1024)).astype(np.float32)
    whole = classifier._head(features)
    np.testing.assert_allclose(
        whole, features @ head["head.output.weight"].T + head["head.output.bias"], atol=1e-3
    )
    for rows in (slice(0, 1), slice(3, 10), slice(250, 260), slice(599, 600)):
        np.testing.assert_array_equal(classifier._head(features[rows]), whole[rows])
    assert classifier._head(features[:0]).shape == (0, 3)


class _OnlyProbabilities:
    """The least that a predictor takes: what an exported bundle has."""

    classes = ("dark", "light")
    preprocessing = Preprocessing(8, 8)
    digest = "made"

    def probabilities(self, pixels: np.ndarray, *, progress: object = None) -> np.ndarray:
        light = pixels.mean(axis=(1, 2, 3)) / 255
        return np.stack([1 - light, light], axis=1)


def test_anything_that_gives_probabilities_can_predict() -> None:
    predictor = Predictor(_OnlyProbabilities())
    black, white = np.zeros((20, 30, 3), np.uint8), np.full((20, 30), 255, np.uint8)
    assert [a.prediction for a in predictor.predict([black, white])] == ["dark", "light"]
    detector = UnknownDetector(np.ones((1, 4), np.float32), 1, 0.5, 0.05)
    with pytest.raises(ValueError, match="needs a model that gives features"):
        Predictor(_OnlyProbabilities(), Policy(), detector)
