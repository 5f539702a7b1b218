from __future__ import annotations

import errno
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from same_numbers import assert_same_numbers
from tellapart import extras
from tellapart.engines import choice, parity
from tellapart.engines.choice import build_engine, recorded_engine
from tellapart.engines.engine import Engine
from tellapart.engines.openvino import OpenVinoEngine
from tellapart.engines.parity import check_images, difference
from tellapart.engines.pytorch import TorchEngine
from tellapart.errors import TellapartError
from tellapart.progress import SILENT, Work

SIZE = 40


class Notes:
    """Progress that remembers what the user was told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def stage(self, name: str, total: int | None, unit: str = "") -> AbstractContextManager[Work]:
        return SILENT.stage(name, total, unit)

    def note(self, text: str) -> None:
        self.notes.append(text)


def small_network() -> nn.Module:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.BatchNorm2d(3),
        nn.Conv2d(3, 16, 3, stride=2),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 5),
    )
    network(torch.rand(64, 3, SIZE, SIZE) * 255)  # statistics other than 0 and 1
    return network.eval()


def eager(network: nn.Module, pixels: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return network(torch.from_numpy(pixels).permute(0, 3, 1, 2).float()).numpy()


def build(make: Callable[[], nn.Module], key: str, progress: Notes | None = None) -> Engine:
    return build_engine(
        make, key=key, height=SIZE, width=SIZE, device="cpu", progress=progress or SILENT
    )


# --- the measure -----------------------------------------------------------------------


def test_difference_by_hand() -> None:
    reference = np.array([[3.0, 4.0], [0.0, 5.0]], np.float32)
    found = difference(np.array([[3.0, 4.0], [3.0, 4.0]], np.float32), reference)
    assert found.least_cosine == pytest.approx(20 / 25)
    assert found.relative == pytest.approx(np.sqrt(9 + 1) / np.sqrt(50))
    assert not found.acceptable


def test_equal_outputs_do_not_differ() -> None:
    same = np.zeros((2, 3), np.float32)
    assert difference(same, same).acceptable


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_a_number_never_agrees(bad: float) -> None:
    reference = np.ones((2, 2), np.float32)
    assert not difference(np.full((2, 2), bad, np.float32), reference).acceptable


# --- running ---------------------------------------------------------------------------


def test_an_engine_agrees_with_eager_float32() -> None:
    network = small_network()
    run = build(lambda: network, "small")
    assert run.name.startswith("OpenVINO")
    pixels = np.random.default_rng(1).integers(0, 256, (37, SIZE, SIZE, 3), dtype=np.uint8)
    outputs = run(pixels)
    assert outputs.dtype == np.float32 and outputs.shape == (37, 5)
    assert difference(outputs, eager(network, pixels)).acceptable


@pytest.mark.parametrize("device", ["openvino", "torch"])
def test_an_image_gets_the_same_numbers_alone_and_among_others(device: str) -> None:
    network = small_network()
    pixels = check_images(SIZE, SIZE, 70)
    run = (
        build(lambda: network, "small") if device == "openvino"
        else TorchEngine(network, "cpu", SIZE, SIZE, "f32")
    )  # fmt: skip
    together = run(pixels)
    alone = np.concatenate([run(pixels[i : i + 1]) for i in range(70)])
    for found in (alone, run(pixels[::-1])[::-1]):
        if device == "openvino":
            assert_same_numbers(found, together, run.name.removeprefix("OpenVINO "))
        else:
            np.testing.assert_allclose(found, together, rtol=1e-5, atol=1e-6)


def test_a_map_keeps_its_shape() -> None:
    run = build(lambda: small_network()[:5], "map")
    assert run(check_images(SIZE, SIZE, 3)).shape == (3, 32, 17, 17)


def test_no_images_give_no_rows() -> None:
    nothing = np.zeros((0, SIZE, SIZE, 3), np.uint8)
    assert build(small_network, "small")(nothing).shape == (0, 5)
    assert TorchEngine(small_network(), "cpu", SIZE, SIZE, "f32")(nothing).shape == (0, 5)


def test_images_of_another_size_or_type_are_refused() -> None:
    run = build(small_network, "small")
    with pytest.raises(ValueError, match=r"uint8 images \(N, 40, 40, 3\) was given uint8 \(1, 8"):
        run(np.zeros((1, 8, 8, 3), np.uint8))
    with pytest.raises(ValueError, match=r"was given float32"):
        run(np.zeros((1, SIZE, SIZE, 3), np.float32))  # type: ignore[arg-type]


# --- the cache -------------------------------------------------------------------------


def never() -> nn.Module:
    raise AssertionError("the network was built although it is in the cache")


def test_a_second_start_does_not_build_the_network(fresh_cache: Path) -> None:
    first = build(small_network, "kept")
    pixels = check_images(SIZE, SIZE)
    np.testing.assert_array_equal(build(never, "kept")(pixels), first(pixels))


def test_another_key_is_another_network(fresh_cache: Path) -> None:
    build(small_network, "one")
    with pytest.raises(AssertionError, match="although it is in the cache"):
        build(never, "two")


def test_a_second_start_does_not_import_torch(fresh_cache: Path) -> None:
    build(small_network, "kept")
    code = (
        "import sys, numpy as np\n"
        "from tellapart.engines.choice import build_engine\n"
        "from tellapart.engines.parity import check_images\n"
        f"run = build_engine(None, key='kept', height={SIZE}, width={SIZE},\n"
        "                   device='cpu')\n"
        f"print(run(check_images({SIZE}, {SIZE})).shape, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(4, 5) False"


# --- falling back ----------------------------------------------------------------------


def test_an_engine_that_disagrees_is_not_used(
    fresh_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Wrong(OpenVinoEngine):
        def __call__(self, pixels: np.ndarray) -> np.ndarray:
            return -super().__call__(pixels)

    monkeypatch.setattr(choice, "OpenVinoEngine", Wrong)
    told = Notes()
    run = build(small_network, "wrong", told)
    assert run.name.startswith("PyTorch")
    assert any("differs from float32 by 200" in note for note in told.notes)
    pixels = check_images(SIZE, SIZE)
    assert difference(run(pixels), eager(small_network(), pixels)).acceptable


def test_a_precision_without_kernels_here_is_passed_over(
    fresh_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class OnlyFloat32(OpenVinoEngine):
        def __init__(self, file: Path, precision: str, *size: int) -> None:
            if precision != "f32":
                raise RuntimeError("Exception from core.cpp:117:\n\nobject is not initialized")
            super().__init__(file, "f32", *size)

    monkeypatch.setattr(choice, "OpenVinoEngine", OnlyFloat32)
    monkeypatch.setattr(choice, "precisions_here", lambda: ("bf16", "f32"))
    told = Notes()
    assert build(small_network, "no bf16", told).name == "OpenVINO f32"
    assert told.notes == [
        "OpenVINO bf16 does not run here (object is not initialized); the next engine is tried."
    ]


def test_every_faster_engine_must_agree_before_float32_torch_is_left(
    fresh_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "precisions_here", lambda: ("f32",))  # every processor has it
    monkeypatch.setattr(choice, "fast_precision", lambda device: "bf16")
    monkeypatch.setattr(parity, "LEAST_COSINE", 1.1)
    told = Notes()
    assert build(small_network, "strict", told).name == "PyTorch f32 on cpu"
    tried = [note.split(" differs")[0] for note in told.notes]
    assert tried == ["OpenVINO f32", "PyTorch bf16 on cpu"]


def test_an_exact_engine_is_float32_throughout(fresh_cache: Path) -> None:
    network = small_network()
    pixels = check_images(SIZE, SIZE, 9)
    for key in ("kept", "kept"):  # made, then from the cache; a fast one must not be taken for it
        build(lambda: network, key)
        run = build_engine(lambda: network, key=key, height=SIZE, width=SIZE, exact=True)
        assert run.name == "OpenVINO f32"
        np.testing.assert_allclose(run(pixels), eager(network, pixels), rtol=1e-4, atol=1e-4)


def test_a_network_that_cannot_be_converted_runs_in_torch(
    fresh_cache: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    class Odd(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return torch.special.bessel_j0(images.mean((2, 3)))

    told = Notes()
    run = build(Odd, "odd", told)
    assert run.name.startswith("PyTorch")
    assert "OpenVINO cannot take this network" in told.notes[0]
    assert run(check_images(SIZE, SIZE)).shape == (4, 3)
    assert capfd.readouterr() == ("", "")  # the exporter would print the whole graph


def test_without_openvino_torch_runs(fresh_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "_is_here", lambda module: module != "openvino")
    assert build(small_network, "no openvino").name.startswith("PyTorch")


@pytest.mark.parametrize("features", ["pooled", "map"])
def test_the_default_backbone_agrees_with_float32(features: str) -> None:
    from tellapart.models.backbone import build_backbone
    from tellapart.models.network import Normalise

    backbone = build_backbone("tf_efficientnet_lite0", features=features)  # type: ignore[arg-type]
    network = nn.Sequential(Normalise([127 / 255] * 3, [128 / 255] * 3), backbone).eval()
    run = build_engine(lambda: network, key=f"lite0-{features}", height=96, width=96)
    assert run.name.startswith("OpenVINO")
    data = pytest.importorskip("skimage.data")
    pictures = [data.chelsea()[:288, :288], data.coffee()[:384, :384], data.astronaut()[:480, :480]]
    pixels = np.stack([p[:: len(p) // 96, :: len(p) // 96][:96, :96] for p in pictures])
    assert difference(run(pixels), eager(network, pixels)).acceptable


# --- what says nothing of the network -----------------------------------------------------


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_not_taken_for_a_network_that_cannot_be_converted(
    fresh_cache: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def full(*given: object) -> None:
        raise OSError(number, "no room")

    told = Notes()
    with monkeypatch.context() as patch:
        patch.setattr(choice, "write_openvino", full)
        with pytest.raises(TellapartError, match=r"The disk of the cache folder .* is full"):
            build(small_network, "small", told)
    assert told.notes == []
    assert build(small_network, "small", told).name.startswith("OpenVINO")  # nothing was kept


def test_too_little_memory_is_said(fresh_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def short(*given: object) -> bytes:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 1 TB")

    monkeypatch.setattr(choice, "to_onnx", short)
    with pytest.raises(TellapartError, match="too little memory to prepare the network"):
        build(small_network, "small")


def test_the_engine_that_was_chosen_is_known_without_opening_it(
    fresh_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = {"height": SIZE, "width": SIZE, "device": "cpu"}
    assert recorded_engine("kept", **size) == ""
    name = build(small_network, "kept").name
    monkeypatch.setattr(choice, "OpenVinoEngine", None)
    assert recorded_engine("kept", **size) == name


def test_what_pytorch_must_run_is_not_tried_again(
    fresh_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(choice, "to_onnx", lambda *given: exec("raise ValueError('odd')"))
        first, again = Notes(), Notes()
        name = build(small_network, "odd", first).name
    assert name.startswith("PyTorch")
    assert build(small_network, "odd", again).name == name
    assert (
        again.notes == first.notes == ["OpenVINO cannot take this network (odd); PyTorch runs it."]
    )
