"""classify.py of a bundle: 30 lines that need nothing from tellapart.

The lines are put together for the bundle: those of its runtime, and those that bring a picture
to its size as :mod:`tellapart.pixels.decode` does. What they leave out stands in the bundle's
card: pictures of more than 8 bits a colour or in CMYK are refused, damaged ones may be answered.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tellapart.pixels.preprocessing import Preprocessing

#: Lines of code, empty ones not counted; with ``--fit pad`` or ``--float`` two more.
MOST_LINES = 30


@dataclass(frozen=True)
class Runtime:
    """The lines that are a runtime's own."""

    #: The packages to install and to import.
    packages: tuple[str, ...]
    #: Opens the model that lies beside the script as ``model``.
    opens: str
    #: Gives probabilities, decision and probability of ``pixels``, each an array a picture.
    runs: str
    #: What comes before the imports.
    first: tuple[str, ...] = ()


RUNTIMES: Mapping[str, Runtime] = {
    "onnx": Runtime(
        ("onnxruntime",),
        'model = onnxruntime.InferenceSession(Path(__file__).with_name("{file}"))',
        'model.run(None, {"pixels": pixels})',
    ),
    "openvino": Runtime(
        ("openvino",),
        'model = openvino.compile_model(Path(__file__).with_name("{file}"), "CPU", '
        '{{"INFERENCE_PRECISION_HINT": "f32"}})',
        "[model(pixels)[number] for number in range(3)]",
        ('sys.modules["openvino_telemetry"] = None  # with it, openvino reports that it is used',),
    ),
    "torch": Runtime(
        ("torch",),
        'model = torch.export.load(Path(__file__).with_name("{file}")).module()',
        "[output.detach().numpy() for output in model(torch.tensor(pixels))]",
    ),
    "timm": Runtime(
        ("timm", "torch"),
        'model = timm.create_model(f"local-dir:{{Path(__file__).parent}}", pretrained=True).eval()',
        "[p := model(torch.tensor(pixels)).softmax(1).detach().numpy(), p.argmax(1), p.max(1)]",
    ),
}


def script(
    runtime: str,
    file: str,
    answers: Sequence[str],
    preprocessing: Preprocessing,
    *,
    float_input: bool = False,
) -> str:
    """The text of classify.py.

    Args:
        runtime: a key of :data:`RUNTIMES`.
        file: the model's, which lies beside the script.
        answers: what the decisions of the model stand for, in their order.
        preprocessing: how pictures come to the network's size.
        float_input: the model takes normalised pixels.
    """
    row = RUNTIMES[runtime]
    before, after = _fitted(preprocessing)
    lines = [
        '"""Say which class pictures are of: python classify.py FILE ..."""',
        "import sys",
        "from pathlib import Path", "",
        *row.first,
        *sorted(f"import {name}" for name in ("numpy as np", *row.packages)),
        "from PIL import Image, ImageOps", "",
        f"answers = {json.dumps(list(answers))}",
        row.opens.format(file=file), "",
        "def classify(file):",
        '    """Probabilities, decision and its probability, each of one picture."""',
        "    image = Image.open(file)",
        '    if image.mode in ("I", "F", "CMYK") or ";16" in f"{image.mode} {image.tile}":',
        '        raise ValueError("pictures in CMYK or of more than 8 bits are not read here")',
        *(f"    {line}" for line in before),
        "    image = ImageOps.exif_transpose(image)",
        "    if image.has_transparency_data:",
        '        white = Image.new("RGBA", image.size, "white")',
        '        image = Image.alpha_composite(white, image.convert("RGBA"))',
        *(f"    {line}" for line in after),
        *_as_input(preprocessing, float_input),
        f"    return {row.runs}", "",
        'if __name__ == "__main__":',
        "    for file in sys.argv[1:]:",
        "        try:",
        "            _, decision, probability = classify(file)",
        '            print(file, answers[decision[0]], f"{probability[0]:.4f}", sep="\\t")',
        "        except (OSError, ValueError) as error:",
        '            print(file, "cannot be read", error, sep="\\t")',
    ]  # fmt: skip
    if sum(map(bool, lines)) > MOST_LINES:  # what explains goes first
        lines.remove('    """Probabilities, decision and its probability, each of one picture."""')
    return "\n".join(lines) + "\n"


def _fitted(rule: Preprocessing) -> tuple[list[str], list[str]]:
    """Lines before a picture is decoded, which may make it smaller, and lines that fit it."""
    size = (rule.width, rule.height)
    how = f"Image.Resampling.{rule.interpolation.upper()}"
    drafted = rule.interpolation != "nearest"
    if rule.fit == "squash":
        before = [f"image.draft(None, {(2 * rule.width, 2 * rule.height)})"]
        return before * drafted, [f'image = image.convert("RGB").resize({size}, {how})']
    choose = "max" if rule.fit == "crop" else "min"
    scale = f"scale = {choose}({rule.width} / image.width, {rule.height} / image.height)"
    # Twice the least whole number that is not below.
    before = [scale, "image.draft(None, [-2 * int(-scale * side // 1) for side in image.size])"]
    if rule.fit == "crop":
        after = [f'image = ImageOps.fit(image.convert("RGB"), {size}, {how})']
        return before * drafted, after
    scale = scale.removeprefix("scale = ")
    after = [
        f"size = [max(1, round({scale} * side)) for side in image.size]",
        f'page = Image.new("RGB", {size}, {rule.padding_colour()})',
        f'page.paste(image.convert("RGB").resize(size, {how}), '
        f"(({rule.width} - size[0]) // 2, ({rule.height} - size[1]) // 2))",
    ]
    return before * drafted, after


def _as_input(rule: Preprocessing, float_input: bool) -> list[str]:
    image = "page" if rule.fit == "pad" else "image"
    if not float_input:
        return [f"    pixels = np.asarray({image})[None]"]
    mean, std = (f"np.float32({[float(x) for x in values]})" for values in (rule.mean, rule.std))
    return [
        f"    scaled = (np.asarray({image}, np.float32) / 255 - {mean}) / {std}",
        "    pixels = np.ascontiguousarray(scaled.transpose(2, 0, 1)[None])",
    ]
