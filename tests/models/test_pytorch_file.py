"""Files of ``torch.save`` read without PyTorch: what PyTorch wrote, and nothing that runs."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tellapart.errors import WeightsError
from tellapart.models.pytorch_file import read_pytorch_file


def save(content: Any, file: Path) -> Path:
    """As the packages of weights were written."""
    torch.save(content, file, _use_new_zipfile_serialization=False)
    return file


def test_it_reads_what_pytorch_wrote(tmp_path: Path) -> None:
    whole = torch.arange(24, dtype=torch.float32).reshape(2, 3, 4)
    state = OrderedDict(
        kernels=whole.permute(2, 0, 1),  # lies in another order
        part=whole[1, 1:],  # begins in the middle of a storage that it shares
        count=torch.tensor(7),
        nothing=torch.zeros(0, 3),
    )
    found = read_pytorch_file(save(state, tmp_path / "weights.pth"))
    assert list(found) == list(state)
    for name, tensor in state.items():
        expected = tensor.numpy()
        assert found[name].dtype == expected.dtype and found[name].shape == expected.shape
        np.testing.assert_array_equal(found[name], expected)
        assert found[name].flags.c_contiguous


class Harmful:
    """Makes a file when it is unpickled by whoever runs what a pickle names."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return Path.touch, (self.file,)


def test_nothing_of_a_file_is_run(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    file = save({"weights": Harmful(trace)}, tmp_path / "weights.pth")
    with pytest.raises(WeightsError, match="cannot be read as weights without PyTorch"):
        read_pytorch_file(file)
    assert not trace.exists()
    pickle.loads(pickle.dumps(Harmful(trace)))  # noqa: S301  it would have been noticed
    assert trace.exists()


@pytest.mark.parametrize("content", [{"half": torch.zeros(2, dtype=torch.float16)}, {"n": 3}, [1]])
def test_what_is_no_state_dict_is_refused(content: Any, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"pip install 'tellapart\[train\]'"):
        read_pytorch_file(save(content, tmp_path / "weights.pth"))


@pytest.mark.parametrize("share", [0.0, 0.2, 0.9, 0.999])
def test_a_torn_file_is_refused(share: float, tmp_path: Path) -> None:
    file = save({"weights": torch.zeros(1000)}, tmp_path / "weights.pth")
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    with pytest.raises(WeightsError, match="cannot be read"):
        read_pytorch_file(file)


def test_a_tensor_that_reaches_beyond_its_storage_is_refused(tmp_path: Path) -> None:
    file = save({"weights": torch.zeros(1000)}, tmp_path / "weights.pth")
    # The shape is a pickled tuple of one number: M is "two bytes follow", 1000 is 0x03e8.
    file.write_bytes(file.read_bytes().replace(b"M\xe8\x03\x85", b"M\xe9\x03\x85"))
    with pytest.raises(WeightsError, match="ends behind its storage"):
        read_pytorch_file(file)


def test_the_newer_format_is_refused_in_a_sentence(tmp_path: Path) -> None:
    torch.save({"weights": torch.zeros(3)}, tmp_path / "weights.pth")
    with pytest.raises(WeightsError, match="cannot be read as weights without PyTorch"):
        read_pytorch_file(tmp_path / "weights.pth")
