"""classify.py of a bundle: 30 lines that need nothing from tellapart.

The lines are put together for the bundle: those of its runtime, and those that bring a picture
to its size as :mod:`tellapart.pixels.decode` does. What they leave out stands in the bundle's
card: pictures of more than 8 bits a colour or in CMYK are refused, damaged ones may be answered.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tellapart.exporting.graph import input_name
from tellapart.pixels.preprocessing import Preprocessing

#: Lines of code, empty ones not counted; with ``--fit pad`` or ``--float`` two more, where
#: pictures are not square one, where networks look at them in several sizes four.
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
    #: The same of ``given``, pictures by the names of inputs; "" where a model has but one.
    runs_several: str = ""
    #: What comes before the imports.
    first: tuple[str, ...] = ()


RUNTIMES: Mapping[str, Runtime] = {
    "onnx": Runtime(
        ("onnxruntime",),
        'model = onnxruntime.InferenceSession(Path(__file__).with_name("{file}"))',
        'model.run(None, {"pixels": pixels})',
        "model.run(None, given)",
    ),
    "openvino": Runtime(
        ("openvino",),
        'model = openvino.compile_model(Path(__file__).with_name("{file}"), "CPU", '
        '{{"INFERENCE_PRECISION_HINT": "f32"}})',
        "list(model(pixels).values())",
        "list(model(given).values())",
        ('sys.modules["openvino_telemetry"] = None  # with it, openvino reports that it is used',),
    ),
    "torch": Runtime(
        ("torch",),
        'model = torch.export.load(Path(__file__).with_name("{file}")).module()',
        "[output.detach().numpy() for output in model(torch.tensor(pixels))]",
        "[output.detach().numpy() for output in model(*map(torch.tensor, given.values()))]",
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
    preprocessings: Sequence[Preprocessing],
    *,
    float_input: bool = False,
) -> str:
    """The text of classify.py.

    Args:
        runtime: a key of :data:`RUNTIMES`.
        file: the model's, which lies beside the script.
        answers: what the decisions of the model stand for, in their order.
        preprocessings: how pictures come to the size of each input; of several that are
            :func:`alike`.
        float_input: the model, of one input, takes normalised pixels.
    """
    row, rule = RUNTIMES[runtime], preprocessings[0]
    several = len(preprocessings) > 1
    square = all(each.width == each.height for each in preprocessings)
    before, after = _fitted(rule, _SEVERAL if several else _numbers(rule), square=square)
    body = [
        "image = Image.open(file)",
        'if image.mode in ("I", "F", "CMYK") or ";16" in f"{image.mode} {image.tile}":',
        '    raise ValueError("pictures in CMYK or of more than 8 bits are not read here")',
        *before,
        "image = ImageOps.exif_transpose(image)",
        "if image.has_transparency_data:",
        '    white = Image.new("RGBA", image.size, "white")',
        '    image = Image.alpha_composite(white, image.convert("RGBA"))',
        *after,
    ]
    if several:
        body = [
            "given = {}", "for name, width, height, how, colour in inputs:",
            *(f"    {line}" for line in body),
            f"    given[name] = np.asarray({_picture(rule)})[None]",
        ]  # fmt: skip
    else:
        body += _as_input(rule, float_input)
    lines = [
        '"""Say which class pictures are of: python classify.py FILE ..."""',
        "import sys",
        "from pathlib import Path", "",
        *row.first,
        *sorted(f"import {name}" for name in ("numpy as np", *row.packages)),
        "from PIL import Image, ImageOps", "",
        f"answers = {json.dumps(list(answers))}",
        *([f"inputs = [{', '.join(map(_input, range(len(preprocessings)), preprocessings))}]"]
          if several else []),
        row.opens.format(file=file), "",
        "def classify(file):",
        '    """Probabilities, decision and its probability, each of one picture."""',
        *(f"    {line}" for line in body),
        f"    return {row.runs_several if several else row.runs}", "",
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


def alike(preprocessings: Sequence[Preprocessing]) -> bool:
    """Whether one way of fitting pictures, at several sizes, is all that a script has to know."""
    return len({(rule.fit, rule.interpolation == "nearest") for rule in preprocessings}) == 1


@dataclass(frozen=True)
class _Words:
    """What lines about a size are written with: numbers, or the names of a loop."""

    width: str
    height: str
    how: str
    colour: str

    @property
    def size(self) -> str:
        return f"({self.width}, {self.height})"

    @property
    def doubled(self) -> str:
        if self.width.isdecimal():
            return f"({2 * int(self.width)}, {2 * int(self.height)})"
        return f"(2 * {self.width}, 2 * {self.height})"


_SEVERAL = _Words("width", "height", "how", "colour")


def _numbers(rule: Preprocessing) -> _Words:
    return _Words(
        str(rule.width), str(rule.height), _how(rule), str(rule.padding_colour())
    )  # fmt: skip


def _how(rule: Preprocessing) -> str:
    return f"Image.Resampling.{rule.interpolation.upper()}"


def _input(number: int, rule: Preprocessing) -> str:
    """What the loop over several inputs takes: a name, and what :data:`_SEVERAL` names."""
    name = json.dumps(input_name(number))
    return f"({name}, {rule.width}, {rule.height}, {_how(rule)}, {rule.padding_colour()})"


def _fitted(rule: Preprocessing, words: _Words, *, square: bool) -> tuple[list[str], list[str]]:
    """Lines before a picture is decoded, which may make it smaller, and lines that fit it."""
    drafted = rule.interpolation != "nearest"
    first, seen = [], words
    if not square:  # a picture that lies on its side in the file is decoded so
        turned = f"({words.height}, {words.width})"
        first = [f"w, h = {turned} if image.getexif().get(274, 1) > 4 else {words.size}"]
        seen = replace(words, width="w", height="h")
    if rule.fit == "squash":
        before = [*first, f"image.draft(None, {seen.doubled})"]
        after = [f'image = image.convert("RGB").resize({words.size}, {words.how})']
        return before * drafted, after
    choose = "max" if rule.fit == "crop" else "min"
    scale = f"{choose}({words.width} / image.width, {words.height} / image.height)"
    # Twice the least whole number that is not below.
    before = [
        *first,
        f"scale = {choose}({seen.width} / image.width, {seen.height} / image.height)",
        "image.draft(None, [-2 * int(-scale * side // 1) for side in image.size])",
    ]
    if rule.fit == "crop":
        after = [f'image = ImageOps.fit(image.convert("RGB"), {words.size}, {words.how})']
        return before * drafted, after
    after = [
        f"size = [max(1, round({scale} * side)) for side in image.size]",
        f'page = Image.new("RGB", {words.size}, {words.colour})',
        f'page.paste(image.convert("RGB").resize(size, {words.how}), '
        f"(({words.width} - size[0]) // 2, ({words.height} - size[1]) // 2))",
    ]
    return before * drafted, after


def _picture(rule: Preprocessing) -> str:
    """The name of the picture that :func:`_fitted` leaves."""
    return "page" if rule.fit == "pad" else "image"


def _as_input(rule: Preprocessing, float_input: bool) -> list[str]:
    if not float_input:
        return [f"pixels = np.asarray({_picture(rule)})[None]"]
    mean, std = (f"np.float32({[float(x) for x in values]})" for values in (rule.mean, rule.std))
    return [
        f"scaled = (np.asarray({_picture(rule)}, np.float32) / 255 - {mean}) / {std}",
        "pixels = np.ascontiguousarray(scaled.transpose(2, 0, 1)[None])",
    ]
