"""int8 by NNCF: weights and activations in 8 bits, ranges taken from training images.

Post-training quantisation (Jacob et al. 2018, "Quantization and Training of Neural Networks for
Efficient Integer-Arithmetic-Only Inference"): nothing is trained. What it costs is measured by
whoever calls this, on images that it has not seen.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from typing import TYPE_CHECKING, Any

from tellapart.errors import BundleError
from tellapart.prediction.bundle import named_inputs

if TYPE_CHECKING:
    from tellapart.exporting.job import Job

#: Training images that the ranges are taken from: NNCF's own default.
CALIBRATION_IMAGES = 300


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
    with _quiet_nncf() as nncf:
        try:
            return nncf.quantize(model, nncf.Dataset(images), subset_size=len(images))
        except (MemoryError, OSError):
            raise
        except Exception as error:  # NNCF and the runtimes below it raise many kinds
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
            raise BundleError(
                f"NNCF cannot quantise this network ({reason}); export it without --int8."
            ) from error


@contextmanager
def _quiet_nncf() -> Iterator[Any]:
    """NNCF, which reports its use to an analytics host unless ``openvino_telemetry`` is missing.

    It looks for that package when it is imported, and draws progress bars of its own.
    """
    from tellapart.engines.openvino import import_openvino

    import_openvino()
    name = "openvino_telemetry"
    there = sys.modules.get(name)
    if "nncf" not in sys.modules:
        sys.modules[name] = None  # type: ignore[assignment]  # "not installed"
    try:
        import nncf
        from nncf.common.logging import nncf_logger
    finally:
        if there is not None:
            sys.modules[name] = there
        else:
            sys.modules.pop(name, None)
    level = nncf_logger.level
    nncf_logger.setLevel(logging.ERROR)
    try:
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            yield nncf
    finally:
        nncf_logger.setLevel(level)
