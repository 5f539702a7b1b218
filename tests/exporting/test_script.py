"""classify.py brings a picture to the same pixels as the rest of the product, in 30 lines."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tellapart.exporting.script import MOST_LINES, RUNTIMES, alike, script
from tellapart.pixels.decode import decode
from tellapart.pixels.preprocessing import FITS, INTERPOLATIONS, Preprocessing

ALLOWED = {"sys", "pathlib", "numpy", "PIL", "onnxruntime", "openvino", "torch", "timm"}


def photo(width: int, height: int, seed: int = 0) -> Image.Image:
    random = np.random.default_rng(seed)
    small = random.integers(0, 256, (height // 8 + 2, width // 8 + 2, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, format: str, **options: Any) -> bytes:
    content = BytesIO()
    image.save(content, format, **options)
    return content.getvalue()


def turned(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(photo(300, 200), "JPEG", exif=exif)


def with_alpha(mode: str) -> Image.Image:
    image = photo(90, 70).convert("RGBA")
    image.putalpha(photo(90, 70, 1).convert("L"))
    return image.convert(mode)


#: Kinds of files that the script promises to read as the product does.
FILES: dict[str, Callable[[], bytes]] = {
    "jpeg": lambda: encoded(photo(200, 150), "JPEG", quality=90),
    "jpeg, reduced in decoding": lambda: encoded(photo(1100, 700), "JPEG"),
    "jpeg, progressive": lambda: encoded(photo(500, 333), "JPEG", progressive=True),
    "jpeg, grey": lambda: encoded(photo(301, 200).convert("L"), "JPEG"),
    "jpeg, portrait": lambda: encoded(photo(225, 448), "JPEG", subsampling=0),
    "jpeg, narrow": lambda: encoded(photo(37, 400), "JPEG"),
    "jpeg, exact size": lambda: encoded(photo(48, 48), "JPEG"),
    **{f"jpeg, orientation {n}": (lambda n=n: turned(n)) for n in range(1, 9)},
    "png": lambda: encoded(photo(97, 61), "PNG"),
    "png, grey": lambda: encoded(photo(97, 61).convert("L"), "PNG"),
    "png, black and white": lambda: encoded(photo(97, 61).convert("1"), "PNG"),
    "png, palette": lambda: encoded(photo(97, 61).convert("P"), "PNG"),
    "png, palette with one clear colour": lambda: encoded(
        photo(97, 61).convert("P"), "PNG", transparency=3
    ),
    "png, RGBA": lambda: encoded(with_alpha("RGBA"), "PNG"),
    "png, LA": lambda: encoded(with_alpha("LA"), "PNG"),
    "webp": lambda: encoded(photo(120, 80), "WebP"),
    "webp, RGBA": lambda: encoded(with_alpha("RGBA"), "WebP"),
    "gif": lambda: encoded(photo(120, 80), "GIF"),
    "bmp": lambda: encoded(photo(120, 80), "BMP"),
}


def functions(
    monkeypatch: pytest.MonkeyPatch, *rules: Preprocessing, float_input: bool = False
) -> Any:
    """The script's names, its model giving back the pixels that it is given."""
    one = len(rules) == 1
    model = SimpleNamespace(run=lambda outputs, given: given["pixels"] if one else given)
    runtime = SimpleNamespace(InferenceSession=lambda file: model)
    monkeypatch.setitem(sys.modules, "onnxruntime", runtime)
    names: dict[str, Any] = {"__file__": "classify.py", "__name__": "script"}
    text = script("onnx", "model.onnx", ["a", "b"], rules, float_input=float_input)
    exec(compile(text, "classify.py", "exec"), names)
    return SimpleNamespace(**names)


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("kind", FILES)
def test_script__same_pixels(
    fit: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "picture"
    file.write_bytes(FILES[kind]())
    rule = Preprocessing(48, 48, fit)
    found = functions(monkeypatch, rule).classify(file)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, decode(file, rule)[None])


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("size", [(224, 224), (31, 57)])
def test_script__same_pixels_at_any_size(
    interpolation: str, size: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "picture.jpg"
    for fit in FITS:
        rule = Preprocessing(*size, fit, interpolation)
        for width, height in ((640, 427), (225, 448), (500, 499)):
            file.write_bytes(encoded(photo(width, height), "JPEG"))
            found = functions(monkeypatch, rule).classify(file)
            np.testing.assert_array_equal(found, decode(file, rule)[None], f"{fit} {width}")
        for orientation in (1, 6):
            file.write_bytes(turned(orientation))
            found = functions(monkeypatch, rule).classify(file)
            np.testing.assert_array_equal(found, decode(file, rule)[None], f"{fit} turned")


@pytest.mark.parametrize("fit", FITS)
def test_script__the_same_picture_in_several_sizes(
    fit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = [
        Preprocessing(48, 48, fit, "bicubic"),
        Preprocessing(31, 57, fit, "lanczos", mean=(0.1, 0.2, 0.3)),
        Preprocessing(96, 64, fit, "bilinear"),
    ]
    assert alike(rules) and not alike([*rules, Preprocessing(9, 9, fit, "nearest")])
    names = functions(monkeypatch, *rules)
    for kind in ("jpeg, reduced in decoding", "jpeg, orientation 6", "jpeg, orientation 3",
                 "png, RGBA"):  # fmt: skip
        file = tmp_path / "picture"
        file.write_bytes(FILES[kind]())
        found = names.classify(file)
        assert list(found) == ["pixels", "pixels_2", "pixels_3"]
        for rule, pixels in zip(rules, found.values(), strict=True):
            np.testing.assert_array_equal(pixels, decode(file, rule)[None])
    text = script("torch", "model.pt2", ["a", "b"], rules)
    assert len([line for line in text.splitlines() if line]) <= MOST_LINES + 5


def test_script__float_input_is_normalised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "picture.png"
    file.write_bytes(encoded(photo(60, 40), "PNG"))
    rule = Preprocessing(48, 40, mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 0.125))
    found = functions(monkeypatch, rule, float_input=True).classify(file)
    pixels = decode(file, rule).astype(np.float64) / 255
    expected = ((pixels - (0.1, 0.2, 0.3)) / (0.5, 0.25, 0.125)).transpose(2, 0, 1)[None]
    assert found.dtype == np.float32 and found.shape == (1, 3, 48, 40)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("mode", ["I;16", "CMYK"])
def test_script__refuses_what_it_would_read_otherwise(
    mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = photo(40, 30).convert("CMYK")
    if mode == "I;16":
        image = Image.fromarray(np.arange(1200, dtype=np.uint16).reshape(30, 40) * 50)
    file = tmp_path / "picture"
    file.write_bytes(encoded(image, "PNG" if mode == "I;16" else "JPEG"))
    with pytest.raises(ValueError, match="not read here"):
        functions(monkeypatch, Preprocessing(48, 48)).classify(file)


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("float_input", [False, True])
def test_script__is_short_and_needs_nothing_else(runtime: str, fit: str, float_input: bool) -> None:
    text = script(
        runtime, "model.x", ["cat", 'a "quoted" \\ name\n'], [Preprocessing(224, 224, fit)],
        float_input=float_input,
    )  # fmt: skip
    lines = [line for line in text.splitlines() if line]
    asked_for_more = fit == "pad" or float_input or runtime == "timm"
    assert len(lines) <= MOST_LINES + 2 * asked_for_more
    tree = ast.parse(text)
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module]
        )
    }
    assert imported <= ALLOWED and set(RUNTIMES[runtime].packages) <= imported
    assert 'a "quoted" \\ name\n' in [
        node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)
    ]
