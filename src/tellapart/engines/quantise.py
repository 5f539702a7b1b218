"""int8 by NNCF: weights and activations in 8 bits, with ranges that are taken from images.

Post-training quantisation (Jacob et al. 2018, "Quantization and Training of Neural Networks for
Efficient Integer-Arithmetic-Only Inference"): nothing is trained. What it costs is measured by
whoever calls this, on images that it has not seen.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Training images that the ranges are taken from: NNCF's own default.
CALIBRATION_IMAGES = 300


def quantised(model: Any, images: Sequence[dict[str, NDArray[np.generic]]]) -> Any:
    """A model of ONNX or OpenVINO in int8.

    Args:
        images: what the model takes, one picture each.

    Raises:
        ValueError: NNCF cannot quantise this network; the text is why.
    """
    with _quiet_nncf() as nncf:
        try:
            return nncf.quantize(model, nncf.Dataset(images), subset_size=len(images))
        except (MemoryError, OSError):
            raise
        except Exception as error:  # NNCF and the runtimes below it raise many kinds
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise ValueError(lines[0][:200]) from error


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
