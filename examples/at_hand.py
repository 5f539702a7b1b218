"""What the examples find at hand: pictures and pretrained weights.

Pictures of your own are taken from the folder that ``TELLAPART_EXAMPLES`` names, else from the
one that the examples are run in. Where a set is not there, a small one is drawn: coloured shapes
on grey, enough to see that everything runs, and of no meaning beyond that. Solar cells come with
the package elpv-dataset. The folders that are made lie in ``pictures/``.
"""

from __future__ import annotations

import colorsys
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

import tellapart as ta

#: Where made folders go.
MADE = Path("pictures")
CIFAR = (
    "000_airplane",
    "001_automobile",
    "002_bird",
    "003_cat",
    "004_deer",
    "005_dog",
    "006_frog",
    "007_horse",
    "008_ship",
    "009_truck",
)
#: Per part: images a class of the examples that take a part of CIFAR-10.
CARS = {"train": 400, "validation": 144}
ANIMALS = {"train": 200, "validation": 60, "test": 200}
#: Clean images a class that are spoilt, copies from test to train, and share of wrong labels.
SPOILT = {"train": 200, "validation": 80, "test": 150}
COPIES, WRONG = 0.3, 0.05


# --- the sets -------------------------------------------------------------------------------


def cifar10(per_class: int | None = None) -> Path:
    """CIFAR-10 as train1 ... train5 and test above class folders.

    Args:
        per_class: so many images of each class of each folder, copied; None: all of them.
    """
    found = _own("cifar10")
    if found is None:
        parts = dict.fromkeys(
            ("train1", "train2", "train3", "train4", "train5"), 6
        )
        return _drawn("cifar10", CIFAR, {**parts, "test": 12}, size=32)
    if per_class is None:
        return found
    folder = MADE / f"cifar10-{per_class}"
    for part in sorted(path.name for path in found.iterdir()):
        for name in CIFAR:
            _copy(
                sorted((found / part / name).iterdir())[:per_class],
                folder / part / name,
            )
    print(f"{per_class} images of each class of each folder, in {folder}")
    return folder


def dogs_vs_cats(per_class: int | None = None) -> Path:
    """Dogs vs. Cats with the book's parts: 2,000 train, 1,000 validation, 2,000 test images.

    Args:
        per_class: so many train and test images of each class, and half as many for validation,
            copied; None: all of them.
    """
    found = _own("dogs-vs-cats-small")
    if found is None:
        parts = {"train": 24, "validation": 12, "test": 16}
        return _drawn("dogs-vs-cats", ("cat", "dog"), parts, size=64)
    if per_class is None:
        return found
    folder = MADE / f"dogs-vs-cats-{per_class}"
    print(
        "\n".join(
            ta.subset(
                found,
                folder,
                train=per_class,
                validation=per_class // 2,
                test=per_class,
            ).lines()
        )
    )
    return folder


def cars() -> Path:
    """Car or other, in the folders train and validation: your folder, else from CIFAR-10."""
    if (found := _own("cars")) is not None:
        return found
    cifar, folder = _own("cifar10"), MADE / "cars"
    if cifar is None:
        return _drawn(
            "cars", ("car", "other"), {"train": 40, "validation": 20}, size=64
        )
    others = [name for name in CIFAR if name != "001_automobile"]
    for part, source in (("train", "train1"), ("validation", "test")):
        count = CARS[part]
        _copy(
            sorted((cifar / source / "001_automobile").iterdir())[:count],
            folder / part / "car",
        )
        each = -(-count // len(others))
        files = [
            f
            for n in others
            for f in sorted((cifar / source / n).iterdir())[:each]
        ]
        _copy(files[:count], folder / part / "other", numbered=True)
    print(
        "car or other: automobiles of CIFAR-10 against its nine other classes"
    )
    return folder


def animals() -> Path:
    """Five animals in train, validation and test: your folder, else from CIFAR-10."""
    if (found := _own("animals")) is not None:
        return found
    cifar, folder = _own("cifar10"), MADE / "animals"
    names = ("bird", "cat", "dog", "frog", "horse")
    if cifar is None:
        parts = {"train": 12, "validation": 8, "test": 10}
        return _drawn("animals", names, parts, size=48)
    for name in names:
        (numbered,) = (each for each in CIFAR if each.endswith(name))
        for part, source in (
            ("train", "train1"),
            ("validation", "train2"),
            ("test", "test"),
        ):
            files = sorted((cifar / source / numbered).iterdir())[
                : ANIMALS[part]
            ]
            _copy(files, folder / part / name)
    print("animals: five classes of CIFAR-10")
    return folder


def solar_cells() -> tuple[Path, Path]:
    """The table of solar cells with labels and parts, and the folder that its paths start from.

    Photographs of the package elpv-dataset (CC BY-NC-SA 4.0), split as published. With
    ``TELLAPART_EXAMPLES_SMALL`` set, every twelfth of them.
    """
    from tellapart.data.solar_cells import images_folder, write_solar_cells

    table = write_solar_cells(MADE / "solar-cells.csv")
    if os.environ.get("TELLAPART_EXAMPLES_SMALL"):
        head, *rows = table.read_text("utf-8").splitlines(keepends=True)
        table.write_text("".join([head, *rows[::12]]), "utf-8")
        print(
            "solar cells: every twelfth, to see that it runs; the numbers mean nothing"
        )
    return table, images_folder()


def copied(files: Sequence[Path], name: str) -> list[Path]:
    """Copies of pictures in ``MADE/name``, as if they had just come in."""
    _copy(files, MADE / name)
    return [MADE / name / file.name for file in files]


def spoilt() -> tuple[Path, set[str], set[str]]:
    """A folder with two faults planted in it, and where they are.

    Train holds copies of 30 % of the test images, every second one made smaller and compressed
    anew; 5 % of the train images lie in the wrong class.

    Returns:
        The folder, the test images that train has too, and the train images with wrong labels,
        as paths below the folder.
    """
    own = _own("dogs-vs-cats-small")
    parts = SPOILT
    if own is None:
        parts = {"train": 60, "validation": 20, "test": 20}
        own = _drawn("to-spoil", ("cat", "dog"), parts, size=96)
    folder = MADE / "spoilt"
    shutil.rmtree(folder, ignore_errors=True)
    for part, count in parts.items():
        for name in ("cat", "dog"):
            _copy(
                sorted((own / part / name).iterdir())[:count],
                folder / part / name,
            )
    random = np.random.default_rng(0)
    wrong = set()
    for name, other in (("cat", "dog"), ("dog", "cat")):
        files = sorted((folder / "train" / name).glob(f"{name}*")) or sorted(
            (folder / "train" / name).glob("0*")
        )
        for file in random.permutation(np.array(files))[
            : round(WRONG * len(files))
        ]:
            moved = folder / "train" / other / f"{name}-{Path(file).name}"
            Path(file).rename(moved)
            wrong.add(moved.relative_to(folder).as_posix())
    copied = set()
    for name in ("cat", "dog"):
        files = sorted((folder / "test" / name).iterdir())
        for number, file in enumerate(files[: round(COPIES * len(files))]):
            target = folder / "train" / name / f"again-{file.name}"
            if number % 2:
                with Image.open(file) as picture:
                    size = (
                        round(0.9 * picture.width),
                        round(0.9 * picture.height),
                    )
                    picture.resize(size).save(
                        target.with_suffix(".jpg"), quality=60
                    )
            else:
                shutil.copy(file, target)
            copied.add(file.relative_to(folder).as_posix())
    return folder, copied, wrong


# --- weights --------------------------------------------------------------------------------


def backbone(wanted: str, instead: str = "tf_efficientnet_lite0") -> str:
    """The pretrained network that is wanted, where its weights are on this machine.

    Else ``instead``, whose weights come as a package, and a sentence that says so.
    """
    (row,) = (row for row in ta.backbones(wanted) if row["name"] == wanted)
    if row["where"] != "hub":
        return wanted
    print(f"The weights of {wanted} are not on this machine; {instead} it is.")
    return instead


# --- making folders -------------------------------------------------------------------------


def _own(name: str) -> Path | None:
    folder = Path(os.environ.get("TELLAPART_EXAMPLES", ".")) / name
    if not folder.is_dir():
        return None
    print(f"{name}: your own folder")
    return folder


def _copy(
    files: Sequence[Path], folder: Path, *, numbered: bool = False
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, file in enumerate(files):
        name = f"{number:04d}{file.suffix}" if numbered else file.name
        if not (folder / name).exists():
            shutil.copy(file, folder / name)


def _drawn(
    name: str, classes: Sequence[str], parts: Mapping[str, int], *, size: int
) -> Path:
    """Draw ``MADE/name/part/class/0000.png``: a shape in the colour of its class, anywhere."""
    folder = MADE / name
    print(
        f"{name} is not here: small pictures are drawn; the numbers mean nothing"
    )
    for part, count in parts.items():
        for index, each in enumerate(classes):
            (folder / part / each).mkdir(parents=True, exist_ok=True)
            for number in range(count):
                random = np.random.default_rng([index, number, *part.encode()])
                picture = _picture(index / len(classes), index, random, size)
                Image.fromarray(picture).save(
                    folder / part / each / f"{number:04d}.png"
                )
    return folder


def _picture(
    hue: float, kind: int, random: np.random.Generator, size: int
) -> np.ndarray:
    """One picture, uint8 (size, size, 3): disc, square or diamond before an uneven ground."""
    y, x = np.mgrid[0:size, 0:size] / size
    ground = random.uniform(60, 190) + 80 * (
        random.uniform(-1, 1) * x + random.uniform(-1, 1) * y
    )
    picture = np.repeat(ground[..., None], 3, axis=2)
    radius = random.uniform(0.2, 0.35)
    across, down = (
        abs(axis - random.uniform(radius, 1 - radius)) for axis in (x, y)
    )
    distance = (
        np.hypot(across, down),
        np.maximum(across, down),
        across + down,
    )[kind % 3]
    colour = colorsys.hsv_to_rgb((hue + random.normal(0, 0.04)) % 1, 0.7, 0.8)
    picture[distance < radius] = 255 * np.array(colour)
    return np.clip(
        picture + random.normal(0, 14, picture.shape), 0, 255
    ).astype(np.uint8)
