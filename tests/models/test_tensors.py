"""Files of tensors are held to their digests: whatever is changed in one is noticed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tellapart.errors import RunError
from tellapart.models.tensors import (
    joint_digest,
    read_header,
    read_tensors,
    tensor_digests,
    write_tensors,
)

STATE = {
    "b": np.arange(6, dtype=np.float32).reshape(2, 3),
    "a": np.array([1, 2], dtype=np.int64),
    "none": np.zeros((0, 4), np.float16),
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_tensors(tmp_path / "state.safetensors", STATE, "what it is")
    return tmp_path / "state.safetensors"


def read(file: Path) -> dict[str, np.ndarray]:
    return read_tensors(file, read_header(file).digest)[0]


def test_the_same_tensors_make_the_same_bytes(tmp_path: Path) -> None:
    # safetensors puts the header's entries into an order that differs from call to call
    written = {
        (write_tensors(tmp_path / "a", STATE, "text"), (tmp_path / "a").read_bytes())
        for _ in range(20)
    }
    assert len(written) == 1
    assert int.from_bytes((tmp_path / "a").read_bytes()[:8], "little") % 8 == 0  # aligned


def test_what_was_written_is_read(file: Path) -> None:
    found = read(file)
    assert read_header(file).text == "what it is"
    assert found.keys() == STATE.keys() == load_file(file).keys()
    for name, value in STATE.items():
        np.testing.assert_array_equal(found[name], value)
        assert found[name].dtype == value.dtype
    assert [path.name for path in file.parent.iterdir()] == ["state.safetensors"]


def test_every_changed_byte_is_noticed(file: Path) -> None:
    """Each byte of the file in turn; spaces that fill up the header mean nothing."""
    content = file.read_bytes()
    length = int.from_bytes(content[:8], "little")
    unnoticed = []
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 1
        file.write_bytes(changed)
        try:
            read(file)
        except RunError as error:
            assert str(file) in str(error)
        else:
            unnoticed.append(place)
    header = content[8 : 8 + length]
    assert all(header[place - 8 :].strip() == b"" for place in unnoticed)


@pytest.mark.parametrize("length", [0, 5, 8, 100, -1])
def test_a_file_cut_short_is_damaged(file: Path, length: int) -> None:
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(RunError, match="is damaged"):
        read(file)


@pytest.mark.parametrize(
    "other",
    [
        {"b": STATE["b"] + 1},
        {"b": STATE["b"].reshape(3, 2)},
        {"b": STATE["b"].view(np.int32)},
        {"more": np.zeros(1)},
    ],
)
def test_well_formed_changes_are_noticed(file: Path, other: dict[str, np.ndarray]) -> None:
    header = read_header(file)
    metadata = {"tellapart": header.text, "tellapart-digest": header.digest}
    save_file({**STATE, **other}, file, metadata)
    with pytest.raises(RunError, match="its weights are not those it was written with"):
        read(file)
    save_file(STATE, file, {**metadata, "tellapart": "another text"})
    with pytest.raises(RunError, match="its description is not the one it was written with"):
        read(file)


def test_the_digest_names_values_types_shapes_and_names_in_any_order() -> None:
    digest = joint_digest(tensor_digests(STATE))
    assert joint_digest(tensor_digests(dict(reversed(STATE.items())))) == digest
    others = [
        {**STATE, "b": STATE["b"].reshape(3, 2)},
        {**STATE, "b": STATE["b"].astype(np.float64)},
        {"c" if name == "b" else name: value for name, value in STATE.items()},
        {"a": STATE["a"], "b": STATE["b"]},
    ]
    assert digest not in {joint_digest(tensor_digests(other)) for other in others}


def test_a_file_can_be_read_by_all_whom_umask_lets(file: Path) -> None:
    plain = file.with_name("plain")
    plain.write_text("")
    assert file.stat().st_mode == plain.stat().st_mode


def test_the_header_is_plain_safetensors(file: Path) -> None:
    content = file.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert header["__metadata__"].keys() == {"tellapart", "tellapart-digest"}
