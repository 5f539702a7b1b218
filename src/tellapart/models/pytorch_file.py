"""Tensors of a file that ``torch.save`` wrote, without PyTorch and without running anything.

Reads the format of PyTorch before 1.6, which the packages of weights have: five pickles (a magic
number, a version, the machine, the state dict, the order of the storages), then the storages.
Of what a pickle can name, four things are known here, and none of them is called as it is
there; any other name refuses the file.
"""

from __future__ import annotations

import io
import math
import pickle
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from tellapart.errors import WeightsError

_MAGIC = 0x1950A86A20F9469CFC6C
_STORAGES: Mapping[str, type[np.generic]] = {"FloatStorage": np.float32, "LongStorage": np.int64}


@dataclass(frozen=True)
class _Storage:
    """Numbers of one type that lie behind one another."""

    key: str
    type: type[np.generic]


@dataclass(frozen=True)
class _Tensor:
    """Which numbers of a storage a tensor has."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    #: Numbers from one place to the next along each axis.
    strides: tuple[int, ...]


def read_pytorch_file(file: Path) -> dict[str, NDArray[Any]]:
    """Its tensors by name, in its order: float32 and int64.

    Raises:
        WeightsError: it is not such a file, or holds anything else.
    """
    stream = io.BytesIO(file.read_bytes())
    try:
        if _Reader(stream).load() != _MAGIC:
            raise ValueError("it begins otherwise")
        _Reader(stream).load()  # the format's version
        _Reader(stream).load()  # of the machine that wrote it
        state = _Reader(stream).load()
        keys = _Reader(stream).load()
        if not isinstance(state, dict) or not all(isinstance(v, _Tensor) for v in state.values()):
            raise ValueError("it is no mapping of names to tensors")
        types = {tensor.storage.key: tensor.storage.type for tensor in state.values()}
        numbers = {key: _numbers(stream, types[key]) for key in keys}
        return {name: _array(tensor, numbers) for name, tensor in state.items()}
    except (ValueError, KeyError, TypeError, IndexError, EOFError, AttributeError,
            pickle.UnpicklingError, UnicodeDecodeError) as error:  # fmt: skip
        raise WeightsError(
            f"{file} cannot be read as weights without PyTorch ({error}); give the file that "
            "the package came with, or run pip install 'tellapart[train]'."
        ) from error


class _Reader(pickle.Unpickler):
    """Knows the names that a state dict of floats and integers needs, and no other."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuilt
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        self._refuse(f"{module}.{name}")

    def persistent_load(self, pid: Any) -> _Storage:
        kind, of_type, key, *_ = pid
        if kind != "storage" or of_type not in _STORAGES.values():
            self._refuse(str(kind))
        return _Storage(str(key), of_type)

    def _refuse(self, name: str) -> NoReturn:
        raise pickle.UnpicklingError(f"it names {name[:100]}")


def _rebuilt(
    storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any
) -> _Tensor:
    if not len(shape) == len(strides) or min((offset, *shape, *strides)) < 0:
        raise ValueError("a tensor has no such places")
    return _Tensor(storage, offset, shape, strides)


def _numbers(stream: io.BytesIO, of_type: type[np.generic]) -> NDArray[Any]:
    (number,) = np.frombuffer(stream.read(8), "<i8")
    content = stream.read(int(number) * np.dtype(of_type).itemsize)
    return np.frombuffer(content, np.dtype(of_type).newbyteorder("<"), count=int(number))


def _array(tensor: _Tensor, numbers: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    flat = numbers[tensor.storage.key]
    last = tensor.offset + sum(
        (size - 1) * step for size, step in zip(tensor.shape, tensor.strides, strict=True)
    )
    if math.prod(tensor.shape) and last >= len(flat):
        raise ValueError("a tensor ends behind its storage")
    # Kernels that came from TensorFlow lie in its order; what is handed on lies in ours.
    steps = tuple(step * flat.itemsize for step in tensor.strides)
    view = np.lib.stride_tricks.as_strided(flat[tensor.offset :], tensor.shape, steps)
    return np.array(view, tensor.storage.type, order="C")
