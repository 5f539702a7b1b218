"""Opening what predicts, by its path."""

from __future__ import annotations

from pathlib import Path

from tellapart.errors import BundleError
from tellapart.prediction.bundle import is_bundle, open_bundle
from tellapart.prediction.predictor import Predictor
from tellapart.run import Run, RunGiven, open_run
from tellapart.wording import shown


def open_predictor(path: RunGiven, *, device: str = "auto", unknown: bool = False) -> Predictor:
    """The predictor of a run, or of an exported bundle, which needs no PyTorch.

    Args:
        path: a run or its folder, or the folder of a bundle.
        device: see :func:`tellapart.machine.resolve_device`; bundles run on the CPU.
        unknown: answer "unknown" for images unlike the training ones.

    Raises:
        RunError: the run cannot be used, or cannot answer "unknown".
        BundleError: the bundle cannot be used, or is asked for "unknown".
    """
    folder = path.path if isinstance(path, Run) else Path(path)
    _refuse_model_of_others(folder)
    if is_bundle(folder):
        if unknown:
            raise BundleError(
                f'{shown(folder)} is an export, which cannot answer "unknown"; ask its run.'
            )
        bundle = open_bundle(folder)
        return Predictor(bundle, bundle.policy)
    return open_run(path).predictor(device, unknown=unknown)


#: How files of networks end, whoever wrote them.
_MODEL_ENDINGS = (".onnx", ".xml", ".pt2", ".pt", ".pth", ".tflite", ".h5", ".keras")


def _refuse_model_of_others(path: Path) -> None:
    """A network alone says neither what its outputs mean nor how pictures come to it."""
    if path.suffix.lower() not in _MODEL_ENDINGS or not path.is_file():
        return
    if is_bundle(path.parent):
        raise BundleError(f"{shown(path)} is a part of an export; give its folder.")
    raise BundleError(
        f"{shown(path)} is a network without its classes, preprocessing and decision, so that no "
        "answer of it could be trusted; give a run, or the folder that 'tellapart export' made."
    )
