"""Every image decoded once: order, reuse, change and memory."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tellapart.data.pixels import load_pixels
from tellapart.data.reading import read_table
from tellapart.pixels import store
from tellapart.pixels.decode import decode, read_picture
from tellapart.pixels.preprocessing import Preprocessing

RULE = Preprocessing(16, 20)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Counts the pictures that are decoded from here on."""
    sizes: list[int] = []

    def counted(source, preprocessing):
        sizes.append(len(source))
        return read_picture(source, preprocessing)

    monkeypatch.setattr(store, "read_picture", counted)
    return sizes


def test_row_i_is_path_i(image_folder, fresh_cache) -> None:
    table = read_table(image_folder(per_class=40))
    order = np.random.default_rng(0).permutation(len(table))
    cache = load_pixels(table.select(order), RULE)
    assert cache.pixels.shape == (80, 16, 20, 3)
    assert cache.pixels.dtype == np.uint8
    assert not cache.pixels.flags.writeable
    assert cache.table.paths == tuple(table.paths[i] for i in order)
    for i in range(80):
        assert np.array_equal(cache.pixels[i], decode(cache.table.file(i), RULE))


def test_the_second_run_decodes_and_reads_nothing(
    image_folder, fresh_cache, decoded, monkeypatch
) -> None:
    table = read_table(image_folder())
    first = load_pixels(table, RULE)
    assert len(decoded) == 24

    def fail(file: Path) -> bytes:
        raise AssertionError(f"{file} was read again")

    monkeypatch.setattr(store, "read_image_file", fail)
    second = load_pixels(table, RULE)
    assert len(decoded) == 24
    assert second.key == first.key
    assert second.digests == first.digests
    assert np.array_equal(second.pixels, first.pixels)


def test_a_copy_elsewhere_is_not_decoded_again(image_folder, fresh_cache, decoded, tmp_path):
    root = image_folder()
    first = load_pixels(read_table(root), RULE)
    shutil.copytree(root, tmp_path / "moved")
    second = load_pixels(read_table(tmp_path / "moved"), RULE)
    assert len(decoded) == 24
    assert second.key == first.key


def test_a_part_of_the_images_is_not_decoded_again(image_folder, fresh_cache, decoded) -> None:
    table = read_table(image_folder())
    whole = load_pixels(table, RULE)
    part = load_pixels(table.select([5, 2, 9]), RULE)
    assert len(decoded) == 24
    assert np.array_equal(part.pixels, whole.pixels[[5, 2, 9]])
    assert part.key != whole.key


def test_a_changed_file_is_seen_even_with_its_old_size_and_date(
    image_folder, fresh_cache, decoded
) -> None:
    root = image_folder(extension="bmp")  # every file has the same size
    table = read_table(root)
    load_pixels(table, RULE)
    file, other = table.file(3), table.file(20)
    before = file.stat()
    file.write_bytes(other.read_bytes())
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.stat().st_size == before.st_size
    cache = load_pixels(table, RULE)
    assert np.array_equal(cache.pixels[3], cache.pixels[20])
    assert cache.digests[3] == cache.digests[20]


def test_another_size_or_fit_is_another_array(image_folder, fresh_cache) -> None:
    table = read_table(image_folder(size=(60, 30)))
    rules = (RULE, Preprocessing(16, 20, fit="crop"), Preprocessing(16, 20, fit="pad"))
    arrays = [load_pixels(table, rule) for rule in rules]
    assert len({a.key for a in arrays}) == 3
    for rule, cache in zip(rules, arrays, strict=True):
        assert np.array_equal(cache.pixels[7], decode(table.file(7), rule))


def test_a_killed_run_leaves_no_array_that_looks_whole(image_folder, fresh_cache) -> None:
    root = image_folder()
    program = (
        "import os, signal, sys\n"
        "from tellapart.data.pixels import load_pixels\n"
        "from tellapart.pixels import store\n"
        "from tellapart.pixels.preprocessing import Preprocessing\n"
        "from tellapart.data.reading import read_table\n"
        "real, count = store.read_picture, []\n"
        "def slow(source, rule):\n"
        "    count.append(1)\n"
        "    if len(count) > 10: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return real(source, rule)\n"
        "store.read_picture = slow\n"
        "load_pixels(read_table(sys.argv[1]), Preprocessing(16, 20))\n"
    )
    ended = subprocess.run([sys.executable, "-c", program, str(root)], check=False, timeout=60)
    assert ended.returncode == -signal.SIGKILL
    cache = load_pixels(read_table(root), RULE)
    assert np.array_equal(cache.pixels[23], decode(cache.table.file(23), RULE))


@pytest.mark.parametrize("damage", ["short", "no facts", "broken facts"])
def test_a_damaged_array_is_made_again(damage: str, image_folder, fresh_cache) -> None:
    table = read_table(image_folder())
    expected = np.array(load_pixels(table, RULE).pixels)
    (raw,) = fresh_cache.glob("pixels-*/*/pixels.raw")
    facts = raw.with_name("facts.json")
    if damage == "short":
        os.truncate(raw, 1000)
    elif damage == "no facts":
        facts.unlink()
    else:
        facts.write_text('{"digests": [')
    with pytest.warns(RuntimeWarning, match="is damaged: it is thrown away and made again"):
        assert np.array_equal(load_pixels(table, RULE).pixels, expected)
    assert not list(fresh_cache.glob(".building*"))


def test_an_empty_table_gives_an_empty_array(image_folder, fresh_cache) -> None:
    cache = load_pixels(read_table(image_folder()).select([]), RULE)
    assert cache.pixels.shape == (0, 16, 20, 3)


def test_progress_counts_every_image(image_folder, fresh_cache) -> None:
    from contextlib import contextmanager

    from tellapart.progress import SilentProgress

    counts: dict[str, int] = {}

    class Counting(SilentProgress):
        @contextmanager
        def stage(self, name, total, unit=""):
            counts["total"] = total

            class One:
                def advance(self, amount=1):
                    counts["done"] = counts.get("done", 0) + amount

                def status(self, text):
                    return None

            yield One()

    load_pixels(read_table(image_folder(per_class=50)), RULE, progress=Counting())
    assert counts == {"total": 100, "done": 100}
