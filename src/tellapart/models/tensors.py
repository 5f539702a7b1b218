"""Tensors in a safetensors file that says what they are, and is held to it when it is read.

The file's header has, beside a text that describes the tensors, the digest of that text and
the digest of the tensors: of their names, types, shapes and values.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.errors import RunError
from tellapart.files import write_bytes
from tellapart.machine import num_cores

#: Where a header keeps its text, and the digests of text and tensors behind one another.
TEXT, DIGEST = "tellapart", "tellapart-digest"

State = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Header:
    """What a file of tensors says of itself, held against the digest of its text."""

    text: str
    #: Of text and tensors; "" in files of the first version, which had none.
    digest: str


def tensor_digests(state: State) -> dict[str, str]:
    """The digest of each tensor's name, type, shape and values."""

    def one(item: tuple[str, NDArray[Any]]) -> tuple[str, str]:
        name, value = item
        digest = hashlib.sha256(f"{name}\n{value.dtype.str}\n{value.shape}\n".encode())
        digest.update(np.ascontiguousarray(value).reshape(-1).view(np.uint8).data)
        return name, digest.hexdigest()

    with ThreadPoolExecutor(num_cores()) as pool:  # hashing gives up Python's lock
        return dict(pool.map(one, state.items()))


def joint_digest(digests: Mapping[str, str]) -> str:
    """One digest for many tensors, whatever their order."""
    return _text_digest("\n".join(f"{name} {digests[name]}" for name in sorted(digests)))


def write_tensors(file: Path, state: State, text: str) -> str:
    """Write tensors and a text that describes them; the file appears whole or not at all.

    Returns:
        The digest that the file's header now has.
    """
    from safetensors.numpy import save

    contiguous = {name: np.ascontiguousarray(value) for name, value in state.items()}
    digest = _text_digest(text) + joint_digest(tensor_digests(contiguous))
    content = _with_sorted_header(save(contiguous, metadata={TEXT: text, DIGEST: digest}))
    # Not by safetensors' own save_file, which makes files that nobody else can read.
    write_bytes(file, content)
    return digest


def _with_sorted_header(content: bytes) -> bytes:
    """The same file, whose metadata safetensors puts into another order each time."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # what follows is aligned
    return len(text).to_bytes(8, "little") + text + content[8 + length :]


def read_header(file: Path) -> Header:
    """The text of a file of tensors ("" where it has none), without reading the tensors.

    Raises:
        RunError: the file is damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="numpy") as content:
            metadata = content.metadata() or {}
    except (SafetensorError, OSError, ValueError, UnicodeDecodeError) as error:
        raise RunError(f"{file} is damaged: {error}.") from error
    if metadata.keys() not in (set(), {TEXT}, {TEXT, DIGEST}):
        raise RunError(f"{file} is damaged: its header has entries that are not tellapart's.")
    text, digest = metadata.get(TEXT, ""), metadata.get(DIGEST, "")
    if digest and digest[:64] != _text_digest(text):
        raise RunError(
            f"{file} is damaged: its description is not the one it was written with; train again."
        )
    return Header(text, digest)


def read_tensors(file: Path, digest: str) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """All tensors of a file, and the digest of each, held against the header's.

    Args:
        digest: that of :func:`read_header`.

    Raises:
        RunError: the tensors are not those that the file was written with.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        state: dict[str, NDArray[Any]] = dict(load_file(file))
    except FileNotFoundError as error:
        raise RunError(f"{file} is missing.") from error
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{file} is damaged: {error}.") from error
    digests = tensor_digests(state)
    if digest and digest[64:] != joint_digest(digests):
        raise RunError(
            f"{file} is damaged: its weights are not those it was written with; train again."
        )
    return state, digests


def _text_digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
