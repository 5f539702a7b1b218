"""A frozen backbone over all images once -> features that are kept in the cache.

Features belong to the weights, the pixels, the view, and the engine and precision that
computed them; a second call with the same ones opens them from the disk, and imports neither
PyTorch nor timm for the networks of :data:`tellapart.models.known.KNOWN`; those whose weights
come as packages never need them. Work is kept in parts, so a run that was stopped goes on where
it was.

Pooled features are float32. Spatial maps are stored as float16, half the space: the 4 x 4 x 512
of VGG16 at 128 pixels are 655 MB instead of 1.3 GB for 40,000 images. Rounding to float16 is
ten times finer than the difference that an engine is allowed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tellapart import cache
from tellapart.arrays import open_array, save_array, save_rows
from tellapart.data.pixels import PixelCache
from tellapart.engines.choice import build_engine, recorded_engine
from tellapart.engines.engine import Engine
from tellapart.engines.int8 import Int8Network, int8_engine_name, make_int8, open_int8
from tellapart.extras import require_pytorch
from tellapart.machine import processor_name
from tellapart.models.kept import backbone_digest, backbone_state, network_definition
from tellapart.models.lite_network import LiteNetwork, lite_backbone
from tellapart.models.weights import canonical_name
from tellapart.pixels.preprocessing import Preprocessing
from tellapart.pixels.views import VIEWS, show
from tellapart.progress import SILENT, Progress
from tellapart.recipe import AugmentationStep, BackboneModel

if TYPE_CHECKING:
    from torch import nn

Pixels = NDArray[np.uint8]
#: Rows [start, stop) of the images, as the engine is to see them.
ReadRows = Callable[[int, int], Pixels]

#: Images between two looks at the progress bar.
_BLOCK = 256
#: Images after which the work done so far is safe.
_PART = 4096

_FEATURES = "features.npy"


@dataclass(frozen=True)
class Extracted:
    """Features, and the engine and precision that computed them ("OpenVINO bf16")."""

    values: NDArray[Any]
    engine_name: str


def backbone_key(
    model: BackboneModel, preprocessing: Preprocessing, until: str = "", *, weights: str = ""
) -> str:
    """Names what a frozen backbone computes: weights, network, kind of features, mean and std.

    Equal keys mean equal features of equal pixels; the backbone's engine goes by it too.
    ``until`` names the unit before which the backbone is cut (``models.cut``), if it is.
    ``weights`` is the digest of the weights that are run
    (:func:`~tellapart.models.tensors.joint_digest`); "": the pretrained ones.

    Raises:
        WeightsError: weights are missing or damaged.
        RecipeError: the backbone cannot take images of this size.
        MissingPackageError: the network needs PyTorch, which is not installed.
    """
    name = canonical_name(model.backbone)
    normalisation = f"{preprocessing.mean}{preprocessing.std}"
    definition = network_definition(name)
    cut = [f"until {until}"] if until else []
    digest = weights or backbone_digest(model, preprocessing)
    return "backbone-" + cache.text_digest(
        digest, name, model.features, normalisation, definition, *cut
    )


def build_backbone_engine(
    model: BackboneModel,
    preprocessing: Preprocessing,
    *,
    until: str = "",
    device: str = "auto",
    progress: Progress = SILENT,
) -> Engine:
    """The engine of a frozen backbone: uint8 images (N, H, W, 3) to its features (N, ...).

    With ``until`` it stops before that unit and gives the map (N, D, h, w) that enters it.

    Raises:
        ValueError: the backbone cannot be cut there.
    """
    return build_engine(
        lambda: _backbone_module(model, preprocessing, until),
        plain=lambda: _plain_backbone(model, preprocessing, until),
        key=backbone_key(model, preprocessing, until),
        height=preprocessing.height,
        width=preprocessing.width,
        device=device,
        progress=progress,
    )


def quantise_backbone(
    model: BackboneModel,
    preprocessing: Preprocessing,
    calibration: Pixels,
    *,
    progress: Progress = SILENT,
) -> Int8Network:
    """A frozen backbone in int8, or the cached one of the same images.

    Args:
        calibration: uint8 (N, H, W, 3), training images.

    Raises:
        TellapartError: it cannot be quantised.
        MissingPackageError: a package is missing.
    """
    return make_int8(
        backbone_key(model, preprocessing),
        calibration,
        module=lambda: _backbone_module(model, preprocessing, ""),
        plain=lambda: _plain_backbone(model, preprocessing, ""),
        progress=progress,
    )


def _backbone_module(model: BackboneModel, preprocessing: Preprocessing, until: str) -> nn.Module:
    require_pytorch(f"The network '{model.backbone}'")
    from torch import nn

    from tellapart.models.backbone import build_backbone
    from tellapart.models.cut import cut_backbone
    from tellapart.models.network import Normalise

    normalise = Normalise(preprocessing.mean, preprocessing.std)
    backbone = build_backbone(
        model.backbone, model.weights, features=model.features,
        image_size=(preprocessing.height, preprocessing.width),
    )  # fmt: skip
    if not until:
        return nn.Sequential(normalise, backbone).eval()
    cut = cut_backbone(backbone, until, preprocessing.height, preprocessing.width)
    if cut is None:
        raise ValueError(f"{model.backbone} cannot be cut before {until}")
    return nn.Sequential(normalise, cut.still).eval()


def _plain_backbone(
    model: BackboneModel, preprocessing: Preprocessing, until: str
) -> LiteNetwork | None:
    if until:
        return None
    return lite_backbone(model, backbone_state(model, preprocessing), preprocessing)


def extract_features(
    model: BackboneModel,
    preprocessing: Preprocessing,
    images: PixelCache,
    *,
    views: Sequence[str] = ("original",),
    until: str = "",
    device: str = "auto",
    progress: Progress = SILENT,
) -> NDArray[Any]:
    """The values of :func:`extract`, without the engine's name."""
    return extract(
        model, preprocessing, images, views=views, until=until, device=device, progress=progress
    ).values


def extract(
    model: BackboneModel,
    preprocessing: Preprocessing,
    images: PixelCache,
    *,
    views: Sequence[str] = ("original",),
    until: str = "",
    int8: Int8Network | None = None,
    device: str = "auto",
    progress: Progress = SILENT,
) -> Extracted:
    """Features of every image, in the order of ``images``.

    Args:
        model: the backbone, and whether its features are pooled or a map.
        preprocessing: mean and std; height and width are those of the pixels.
        images: decoded, of which each row is one.
        views: names in :data:`tellapart.pixels.views.VIEWS`.
        until: the unit before which the backbone is cut; "": it runs to its end.
        int8: the same backbone in int8, which is run in its place.
        device: see :func:`tellapart.machine.resolve_device`.
        progress: gets a stage with the number of images.

    Returns:
        (V, N, D) float32 for pooled features, (V, N, D, h, w) float16 for maps; read-only and
        memory-mapped where there is one view.

    Raises:
        WeightsError: weights are missing, damaged or of another network.
        RecipeError: the backbone cannot take images of this size, or has no map.
    """
    run = _Extraction(model, preprocessing, until, device, progress, int8)

    def one(view: str) -> NDArray[Any]:
        shown = VIEWS[view]
        if shown.quarter_turns % 2 and images.pixels.shape[1] != images.pixels.shape[2]:
            raise ValueError(f"quarter turns need square images, not {images.pixels.shape[1:3]}")

        def read(start: int, stop: int) -> Pixels:
            return show(images.pixels[start:stop], shown)

        return run.features(images.key, view, len(images), read)

    return Extracted(_stacked([one(view) for view in views]), run.engine_name)


def extract_views(
    model: BackboneModel,
    preprocessing: Preprocessing,
    images: PixelCache,
    steps: Sequence[AugmentationStep],
    *,
    views: int,
    rows: NDArray[np.int64] | None = None,
    seed: int = 0,
    until: str = "",
    device: str = "auto",
    progress: Progress = SILENT,
) -> NDArray[Any]:
    """Features of ``views`` randomly augmented versions of every image.

    An epoch on a frozen backbone draws among them instead of running it again. Augmented
    pictures are rounded to whole pixel values, as the engine takes them. What an image
    becomes depends on the seed, the view and its row alone.

    Args:
        steps: the recipe's augmentation.
        views: how many versions of each image.
        rows: which images; all if None.
        seed: of the random draws.
        until: the unit before which the backbone is cut; "": it runs to its end.

    Returns:
        (views, number of rows, ...), types as for :func:`extract_features`.

    Raises:
        RecipeError: the steps do not go together; and as for :func:`extract_features`.
        WeightsError: as for :func:`extract_features`.
    """
    chosen = np.arange(len(images), dtype=np.int64) if rows is None else np.asarray(rows, np.int64)
    described = ";".join(step.model_dump_json() for step in steps)
    identity = cache.text_digest(images.key, cache.bytes_digest(chosen.tobytes()))
    run = _Extraction(model, preprocessing, until, device, progress)
    results = []
    for view in range(views):
        read = _augmented_reader(images.pixels, chosen, steps, seed, view)
        name = cache.text_digest("augmented", described, str(seed), str(view))
        results.append(run.features(identity, name, len(chosen), read))
    return _stacked(results)


class _Extraction:
    """What all views have in common; the engine is only made when a view is not there."""

    def __init__(
        self,
        model: BackboneModel,
        preprocessing: Preprocessing,
        until: str,
        device: str,
        progress: Progress,
        int8: Int8Network | None = None,
    ) -> None:
        self._model, self._preprocessing, self._until = model, preprocessing, until
        self._device = device
        self._progress = progress
        self._engine: Engine | None = None
        is_map = bool(until) or model.features == "map"
        self._type = np.float16 if is_map else np.float32
        self._key = backbone_key(model, preprocessing, until)
        self._int8 = int8
        if int8 is not None:
            self._key = int8.key(self._key)
            self.engine_name = int8_engine_name()
            return
        self.engine_name = recorded_engine(
            self._key, height=preprocessing.height, width=preprocessing.width, device=device
        )

    def features(self, pixels_key: str, view: str, number: int, read: ReadRows) -> NDArray[Any]:
        """Features of one view, from the cache or by running the engine."""
        if not self.engine_name:
            self._made_engine()
        kind = np.dtype(self._type).name
        key = cache.text_digest(
            self._key, self.engine_name, processor_name(), kind, pixels_key, view
        )

        def build(folder: Path) -> None:
            self._build(folder / _FEATURES, key, view, number, read)

        return cache.opened("features", key, build, lambda folder: open_array(folder / _FEATURES))

    def _build(self, file: Path, key: str, view: str, number: int, read: ReadRows) -> None:
        label = view if view in VIEWS else "augmented"
        with self._progress.stage(f"Features ({label})", number, "images") as stage:

            def blocks(start: int, stop: int) -> Iterator[NDArray[Any]]:
                engine = self._made_engine()
                for first in range(start, stop, _BLOCK):
                    last = min(first + _BLOCK, stop)
                    yield self._rounded(engine(read(first, last)))
                    stage.advance(last - first)

            if number <= _PART:
                # Run once even without images, so that the shape of the features is known.
                found = list(blocks(0, number)) or [self._no_features()]
                save_array(file, np.concatenate(found))
                return
            parts = []
            for start in range(0, number, _PART):
                stop = min(start + _PART, number)

                def build_part(folder: Path, start: int = start, stop: int = stop) -> None:
                    save_array(folder / _FEATURES, np.concatenate(list(blocks(start, stop))))

                part_key = cache.text_digest(key, str(start))
                was_there = cache.find("feature-parts", part_key) is not None
                parts.append(cache.entry("feature-parts", part_key, build_part))
                if was_there:
                    stage.advance(stop - start)
            _join(parts, file, number)

    def _made_engine(self) -> Engine:
        if self._engine is None and self._int8 is not None:
            size = self._preprocessing.height, self._preprocessing.width
            self._engine = open_int8(self._int8, self._key, *size)
        if self._engine is None:
            self._engine = build_backbone_engine(
                self._model,
                self._preprocessing,
                until=self._until,
                device=self._device,
                progress=self._progress,
            )
            self.engine_name = self._engine.name
        return self._engine

    def _rounded(self, features: NDArray[np.float32]) -> NDArray[Any]:
        if self._type is np.float32:
            return features
        largest = np.finfo(np.float16).max
        return np.clip(features, -largest, largest).astype(np.float16)

    def _no_features(self) -> NDArray[Any]:
        size = (0, self._preprocessing.height, self._preprocessing.width, 3)
        return self._rounded(self._made_engine()(np.zeros(size, np.uint8)))


def _join(parts: Sequence[Path], file: Path, number: int) -> None:
    """Write the parts behind one another into one array, then give their space back."""
    arrays = [open_array(part / _FEATURES) for part in parts]
    save_rows(file, (number, *arrays[0].shape[1:]), arrays[0].dtype, arrays)
    del arrays
    for part in parts:
        cache.discard(part)


def _augmented_reader(
    pixels: Pixels, rows: NDArray[np.int64], steps: Sequence[AugmentationStep], seed: int, view: int
) -> ReadRows:
    def read(start: int, stop: int) -> Pixels:
        import torch

        from tellapart.pixels.augmentation import augment_pixels, build_augmentation

        augmentation = build_augmentation(steps)
        images = np.array(pixels[rows[start:stop]])
        if augmentation is None:
            return images
        # Blocks always start at the same rows, so a resumed run draws the same numbers.
        draws = np.random.SeedSequence([seed, view, start]).generate_state(1, np.uint64)
        return augment_pixels(images, augmentation, torch.Generator().manual_seed(int(draws[0])))

    return read


def _stacked(views: list[NDArray[Any]]) -> NDArray[Any]:
    return views[0][None] if len(views) == 1 else np.stack(views)
