"""One NumPy array in one file, written so that a full disk is said to be one."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def save_array(file: Path, array: NDArray[Any]) -> None:
    """Write an array as ``.npy``.

    Raises:
        OSError: the disk is full, with its number. (``np.save`` gives none, and writing
            through a memory map to a full disk ends the process.)
    """
    save_rows(file, array.shape, array.dtype, [array])


def save_rows(
    file: Path, shape: tuple[int, ...], dtype: np.dtype[Any], blocks: Iterable[NDArray[Any]]
) -> None:
    """Write an array as ``.npy`` that is given in blocks of its rows; see :func:`save_array`."""
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    with file.open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, header)
        for block in blocks:
            stream.write(np.ascontiguousarray(block, dtype).reshape(-1).view(np.uint8).data)


def open_array(file: Path) -> NDArray[Any]:
    """An array of a ``.npy`` file, mapped into memory and read-only; empty ones are read."""
    array: NDArray[Any] = np.load(file, mmap_mode="r", allow_pickle=False)
    return array
