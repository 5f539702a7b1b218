from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tellapart.arrays import open_array, save_array, save_rows


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.uint8])
@pytest.mark.parametrize("shape", [(3, 4, 2), (5,), (0, 7)])
def test_the_file_is_numpys(tmp_path: Path, dtype: type, shape: tuple[int, ...]) -> None:
    array = (np.arange(np.prod(shape)).reshape(shape) * 1.5).astype(dtype)
    save_array(tmp_path / "ours.npy", array)
    np.save(tmp_path / "theirs.npy", array)
    assert (tmp_path / "ours.npy").read_bytes() == (tmp_path / "theirs.npy").read_bytes()
    opened = open_array(tmp_path / "ours.npy")
    np.testing.assert_array_equal(opened, array)
    assert opened.dtype == array.dtype and not (opened.size and opened.flags.writeable)


def test_rows_come_in_blocks_of_any_order_in_memory(tmp_path: Path) -> None:
    array = np.arange(24, dtype=np.float32).reshape(6, 4)
    turned = np.asfortranarray(array)
    save_rows(tmp_path / "rows.npy", array.shape, array.dtype, [turned[:4], turned[4:]])
    np.testing.assert_array_equal(np.load(tmp_path / "rows.npy"), array)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a full device is Linux's")
def test_a_full_disk_has_its_number() -> None:
    with pytest.raises(OSError, match="No space left on device"):
        save_array(Path("/dev/full"), np.zeros(1_000_000))
