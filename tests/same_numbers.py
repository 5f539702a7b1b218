"""What is promised of an image alone and among others: the same bits, a tolerance on AMX."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.engines.engine import Precision
from tellapart.engines.openvino import PROMISED
from tellapart.machine import has_amx


def assert_same_numbers(
    ours: NDArray[Any],
    theirs: NDArray[Any],
    precision: Precision = "f32",
    *,
    amx: bool | None = None,
) -> None:
    """Fail where an engine's outputs differ by more than it promises on this processor."""
    if has_amx() if amx is None else amx:
        largest = PROMISED[precision] * float(np.abs(theirs).max())
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=largest)
    else:
        np.testing.assert_array_equal(ours, theirs)
