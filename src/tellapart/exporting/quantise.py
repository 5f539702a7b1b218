"""An exported model in int8, its ranges taken from training images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tellapart.engines.quantise import quantised
from tellapart.errors import BundleError
from tellapart.prediction.bundle import named_inputs

if TYPE_CHECKING:
    from tellapart.exporting.job import Job


def quantised_onnx(job: Job) -> bytes:
    """The job's ONNX graph in int8.

    Raises:
        BundleError: NNCF cannot quantise this network.
    """
    import onnx

    made = _quantised(onnx.load_from_string(job.onnx), job)
    return bytes(made.SerializeToString())


def quantised_openvino(model: Any, job: Job) -> Any:
    """An OpenVINO model in int8.

    Raises:
        BundleError: NNCF cannot quantise this network.
    """
    return _quantised(model, job)


def _quantised(model: Any, job: Job) -> Any:
    images = [named_inputs(image) for image in job.calibration()]
    try:
        return quantised(model, images)
    except ValueError as error:
        raise BundleError(
            f"NNCF cannot quantise this network ({error}); export it without --int8."
        ) from error
