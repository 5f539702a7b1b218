"""Changes of files: random ones, as disks and cleaners make them, and well-formed ones.

Every change takes the bytes of a file and a generator of random numbers, and gives other bytes
(None: the file is deleted) with a word for what it did. Well-formed changes keep the format
readable, so that only a digest or a check of the content can notice them.
"""

from __future__ import annotations

import copy
import csv
import io
import json
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import yaml

Random = np.random.Generator
Change = Callable[[bytes, Random], bytes | None]

#: Values that are put where something else stood.
ODD_VALUES: tuple[Any, ...] = (
    None, True, False, "", "text", "NaN", "../../outside", "\x1b[31mred", -1, 0, 1, 2, 0.5, 1e308,
    10**30, [], {}, [[]], ["a"], {"a": 1}, "x" * 5000,
)  # fmt: skip


# --- random changes -------------------------------------------------------------------------


def flip_bits(content: bytes, random: Random) -> bytes:
    """One to eight bits."""
    changed = bytearray(content)
    for _ in range(int(random.integers(1, 9))):
        if changed:
            changed[int(random.integers(len(changed)))] ^= 1 << int(random.integers(8))
    return bytes(changed)


def truncate(content: bytes, random: Random) -> bytes:
    """Cut off somewhere."""
    return content[: int(random.integers(0, max(1, len(content))))]


def zero_block(content: bytes, random: Random) -> bytes:
    """A block of zeros, as a disk leaves that wrote nothing there."""
    size = int(random.choice([64, 512, 4096]))
    start = int(random.integers(0, max(1, len(content)))) // size * size
    block = content[start : start + size]
    return content[:start] + bytes(len(block)) + content[start + size :]


def half(content: bytes, random: Random) -> bytes:
    """The first half."""
    return content[: len(content) // 2]


def grown_back(content: bytes, random: Random) -> bytes:
    """The first half, and zeros to the old length: what a power cut leaves."""
    return content[: len(content) // 2] + bytes(len(content) - len(content) // 2)


def emptied(content: bytes, random: Random) -> bytes:
    """Nothing left but the name."""
    return b""


def all_zeros(content: bytes, random: Random) -> bytes:
    """The old length in zeros."""
    return bytes(len(content))


def appended(content: bytes, random: Random) -> bytes:
    """More at the end."""
    return content + random.bytes(int(random.integers(1, 600)))


def deleted(content: bytes, random: Random) -> None:
    """No file."""


RANDOM: dict[str, Change] = {
    "bits flipped": flip_bits,
    "truncated": truncate,
    "block zeroed": zero_block,
    "half": half,
    "half, grown back": grown_back,
    "emptied": emptied,
    "zeros": all_zeros,
    "appended": appended,
    "deleted": deleted,
}


# --- well-formed changes --------------------------------------------------------------------


def _places(value: Any, found: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """Every container of a tree with a key of it."""
    keys = value.keys() if isinstance(value, dict) else range(len(value))
    for key in keys:
        found.append((value, key))
        if isinstance(value[key], dict | list):
            _places(value[key], found)
    return found


def change_tree(tree: Any, random: Random) -> Any:
    """A JSON-like tree with one thing changed."""
    places = _places(tree, []) if isinstance(tree, dict | list) else []
    if not places:
        return ODD_VALUES[int(random.integers(len(ODD_VALUES)))]
    container, key = places[int(random.integers(len(places)))]
    value = container[key]
    way = int(random.integers(6))
    if way == 0 and isinstance(value, list) and len(value) > 1:
        value[0], value[-1] = value[-1], value[0]  # for example class names
    elif way == 1 and isinstance(value, bool):
        container[key] = not value
    elif way <= 2 and isinstance(value, int | float):
        container[key] = value * 2 + 1 if random.integers(2) else -value - 1
    elif way <= 3 and isinstance(value, str) and value:
        container[key] = value[::-1] if random.integers(2) else value + "x"
    elif way == 4:
        del container[key]
    else:
        container[key] = copy.deepcopy(ODD_VALUES[int(random.integers(len(ODD_VALUES)))])
    return tree


def change_json(content: bytes, random: Random) -> bytes:
    """A value of other type or range, a key gone, a list in another order."""
    changed = change_tree(json.loads(content), random)
    return json.dumps(changed, indent=1, ensure_ascii=False).encode("utf-8", "replace")


def swap_classes(content: bytes, random: Random) -> bytes:
    """The names of the classes, which stand in the data folder, exchanged everywhere."""
    text = content.decode("utf-8")
    text = re.sub(r"\bcat\b", "\0", text)
    return re.sub(r"\bdog\b", "cat", text).replace("\0", "dog").encode("utf-8")


def change_yaml(content: bytes, random: Random) -> bytes:
    """As for JSON."""
    return yaml.safe_dump(change_tree(yaml.safe_load(content), random)).encode("utf-8")


def change_csv(content: bytes, random: Random) -> bytes:
    """Rows removed, doubled, exchanged; columns removed; a cell of another kind."""
    rows = list(csv.reader(io.StringIO(content.decode("utf-8"))))
    body = range(1, len(rows))
    if not len(body):
        return content + b"odd,row\n"
    row = int(random.choice(body))
    column = int(random.integers(len(rows[row])))
    way = int(random.integers(7))
    if way == 0:
        del rows[row]
    elif way == 1:
        rows.insert(row, rows[row])
    elif way == 2:
        other = int(random.choice(body))
        rows[row][column], rows[other][column] = rows[other][column], rows[row][column]
    elif way == 3:
        rows = [cells[:column] + cells[column + 1 :] for cells in rows]
    elif way == 4:
        rows = rows[: len(rows) // 2 + 1]
    elif way == 5:
        rows[0][column], rows[0][-1] = rows[0][-1], rows[0][column]
    else:
        rows[row][column] = str(ODD_VALUES[int(random.integers(len(ODD_VALUES)))])
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode("utf-8", "replace")


def _tensors(content: bytes) -> tuple[dict[str, Any], bytes]:
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def _joined(header: dict[str, Any], data: bytes) -> bytes:
    text = json.dumps(header).encode("utf-8", "replace")
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def change_tensors(content: bytes, random: Random) -> bytes:
    """Inside valid safetensors: a tensor zeroed, made larger, of other shape or name; a header."""
    header, data = _tensors(content)
    names = [name for name in header if name != "__metadata__"]
    changed = bytearray(data)
    way = int(random.integers(7)) if names else 6
    name = names[int(random.integers(len(names)))] if names else ""
    row = header.get(name, {})
    start, end = row.get("data_offsets", (0, 0))
    if way == 0:
        changed[start:end] = bytes(end - start)
    elif way == 1 and row["dtype"] == "F32":
        values = np.frombuffer(data[start:end], "<f4") * np.float32(random.choice([-1, 3, 1e20]))
        changed[start:end] = values.astype("<f4").tobytes()
    elif way == 2:
        row["shape"] = row["shape"][::-1] if len(set(row["shape"])) > 1 else [*row["shape"], 1]
    elif way == 3 and row["dtype"] == "F32":
        row["dtype"] = "I32"
    elif way == 4:
        header[f"{name}.other"] = header.pop(name)
    elif way == 5 and len(names) > 1:
        other = names[int(random.integers(len(names)))]
        header[name], header[other] = header[other], header[name]
    elif "__metadata__" in header:
        facts = header["__metadata__"]
        key = sorted(facts)[int(random.integers(len(facts)))]
        try:
            facts[key] = json.dumps(change_tree(json.loads(facts[key]), random))
        except ValueError:
            facts[key] = facts[key][::-1]
    else:
        header["__metadata__"] = {"odd": "text"}
    return _joined(header, bytes(changed))


def change_array(content: bytes, random: Random) -> bytes:
    """A .npy of other shape or type, with rows in another order or fewer of them, or all zero."""
    array = np.load(io.BytesIO(content), allow_pickle=False)
    way = int(random.integers(6))
    if way == 0:
        array = array.reshape(-1)
    elif way == 1:
        array = array.astype(np.float64 if array.dtype != np.float64 else np.float32)
    elif way == 2:
        array = array.astype(np.int32)
    elif way == 3:
        array = np.flip(array, axis=max(0, array.ndim - 2))
    elif way == 4:
        array = array[..., : array.shape[-1] // 2]
    else:
        array = np.zeros_like(array)
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def roll_bytes(content: bytes, random: Random) -> bytes:
    """The second half before the first: pixels of other images, weights of other layers."""
    middle = len(content) // 2
    return content[middle:] + content[:middle]


def change_numbers(content: bytes, random: Random) -> bytes:
    """One number of a text, for example a shape in a network's description."""
    text = content.decode("utf-8", "surrogateescape")
    found = list(re.finditer(r"\d+", text))
    if not found:
        return content + b"1"
    at = found[int(random.integers(len(found)))]
    text = f"{text[: at.start()]}{int(at[0]) + 1}{text[at.end() :]}"
    return text.encode("utf-8", "surrogateescape")


#: ending of a file's name -> its well-formed changes
WELL_FORMED: dict[str, dict[str, Change]] = {
    ".json": {"value changed": change_json, "classes exchanged": swap_classes},
    ".yaml": {"value changed": change_yaml},
    ".csv": {"table changed": change_csv, "classes exchanged": swap_classes},
    ".safetensors": {"tensors changed": change_tensors},
    ".npy": {"array changed": change_array},
    ".raw": {"halves exchanged": roll_bytes},
    ".bin": {"halves exchanged": roll_bytes},
    ".xml": {"number changed": change_numbers},
    ".html": {"number changed": change_numbers},
    ".svg": {"number changed": change_numbers},
    "": {"number changed": change_numbers},
}


def well_formed_of(file: Path) -> dict[str, Change]:
    """The well-formed changes that fit a file; empty for pictures."""
    return (
        WELL_FORMED.get(file.suffix if file.suffix in WELL_FORMED else "", {})
        if (file.suffix not in (".png", ".jpg"))
        else {}
    )


def kind_of(file: Path, case: Path) -> str:
    """What a file is, by its place: ``runs: model.safetensors``, ``cache: features: .npy``."""
    pieces = file.relative_to(case).parts
    if pieces[0] == "runs":
        inside = "/".join(pieces[2:-1])
        name = pieces[-1] if not inside.startswith("figures") else f"*{file.suffix}"
        return f"{pieces[1]}: {inside + '/' if inside else ''}{name}"
    name = re.sub(r"[0-9a-f]{16,}", "#", pieces[-1])
    if pieces[1] == "archives" and file.suffix in (".png", ".jpg"):
        name = f"*{file.suffix}"
    return f"cache: {re.sub(r'-.*', '', pieces[1])}: {name}"
