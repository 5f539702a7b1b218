"""What a run keeps of its validation images."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from made_features import World

from tellapart.errors import RunError
from tellapart.models.tensors import write_tensors
from tellapart.monitoring.known import load_known


def test_what_is_loaded_is_what_was_there(tmp_path: Path) -> None:
    known = World.of(0).run()[1]
    known.save(tmp_path / "known.safetensors")
    loaded = load_known(tmp_path / "known.safetensors")
    assert (loaded.features == known.features).all()
    assert (loaded.probabilities == known.probabilities).all()
    assert loaded.trained.dtype == bool and (loaded.trained == known.trained).all()
    assert np.linalg.norm(loaded.features, axis=1) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    "arrays",
    [
        {"features": np.zeros((0, 4), np.float16), "probabilities": np.zeros((0, 2), np.float32),
         "trained": np.ones(5, np.uint8)},
        {"features": np.ones((3, 4), np.float32), "probabilities": np.ones((3, 2), np.float32),
         "trained": np.ones(5, np.uint8)},
        {"features": np.ones((3, 4), np.float16), "probabilities": np.ones((2, 2), np.float32),
         "trained": np.ones(5, np.uint8)},
        {"features": np.full((3, 4), np.nan, np.float16),
         "probabilities": np.ones((3, 2), np.float32), "trained": np.ones(5, np.uint8)},
        {"features": np.ones((3, 4), np.float16), "trained": np.ones(5, np.uint8)},
        {"features": np.ones((3, 4), np.float16), "probabilities": np.ones((3, 2), np.float32)},
        {"features": np.ones((3, 4), np.float16), "probabilities": np.ones((3, 2), np.float32),
         "trained": np.ones(5, np.float32)},
    ],
)  # fmt: skip
def test_a_damaged_file_is_said_to_be_one(arrays: dict, tmp_path: Path) -> None:
    file = tmp_path / "known.safetensors"
    write_tensors(file, arrays, "")
    with pytest.raises(RunError, match=r"known.safetensors is damaged: .*; train again"):
        load_known(file)
    file.write_bytes(b"nothing")
    with pytest.raises(RunError, match=r"known.safetensors"):
        load_known(file)
