"""The card of a bundle: README.md as Hugging Face reads it, for people and for its index."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tellapart.exporting.graph import input_name
from tellapart.number import Number
from tellapart.run_info import WeightsOrigin
from tellapart.wording import percent, plural, shown

#: Classes that the table of classes has at most.
MOST_CLASSES = 50


@dataclass(frozen=True)
class CardFacts:
    """What a card tells."""

    name: str
    #: What people call the images.
    data: str
    library: str
    #: For people: "ONNX, float32".
    format: str
    classes: tuple[str, ...]
    answers: tuple[str, ...]
    #: The rules, a sentence each; none: the likeliest class.
    rules: tuple[str, ...]
    #: Images of each class, by part.
    counts: Mapping[str, Mapping[str, int]]
    #: Entry of ``metrics.json`` of the part that the numbers are of, and its name.
    metrics: Mapping[str, Any]
    part: str
    recipe: str
    version: str
    created: str
    preprocessing: Mapping[str, Any]
    float_input: bool
    test_time: str
    weights: tuple[WeightsOrigin, ...]
    #: Sentences on what was measured when it was exported.
    checked: tuple[str, ...]
    package: str
    #: Preprocessings of the inputs behind the first.
    more_inputs: tuple[Mapping[str, Any], ...] = ()
    notes: tuple[str, ...] = field(default_factory=tuple)


def card(facts: CardFacts) -> str:
    """The text of README.md."""
    import yaml

    header = yaml.safe_dump(_header(facts), sort_keys=False, allow_unicode=True)
    return f"---\n{header}---\n\n" + "\n".join(_body(facts)).rstrip() + "\n"


def _header(facts: CardFacts) -> dict[str, Any]:
    accuracy = _number(facts.metrics, "accuracy")
    header: dict[str, Any] = {
        "license": _licence(facts.weights),
        "library_name": facts.library,
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "tellapart"],
    }
    if facts.weights:
        header["base_model"] = facts.weights[0].name
    if accuracy is not None and accuracy.value is not None:
        header["metrics"] = ["accuracy"]
        limits = accuracy.limits(2)
        header["model-index"] = [{
            "name": shown(facts.name),
            "results": [{
                "task": {"type": "image-classification"},
                "dataset": {"name": shown(facts.data), "type": "private", "split": facts.part},
                "metrics": [{
                    "type": "accuracy",
                    "value": round(accuracy.value, 4),
                    "name": f"accuracy (95 %: {limits})" if limits else "accuracy",
                }],
            }],
        }]  # fmt: skip
    return header


def _licence(weights: Sequence[WeightsOrigin]) -> str:
    """The licence of the weights that it builds on, where it has one that the hub knows."""
    licence = weights[0].licence.lower() if weights else ""
    return licence if licence in _LICENCES else "other"


#: Of the licences that Hugging Face knows by name, those that come with timm's weights.
_LICENCES = ("apache-2.0", "mit", "bsd-3-clause", "cc-by-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0")


def _body(facts: CardFacts) -> Iterator[str]:
    yield f"# {_text(facts.name)}"
    yield ""
    several = ", ".join(_text(name) for name in facts.classes[:20])
    more = " and more" if len(facts.classes) > 20 else ""
    yield (
        f"Tells {len(facts.classes)} classes of pictures apart: {several}{more}. {facts.format}; "
        f"trained with tellapart {facts.version} on the images of {_text(facts.data)}."
    )
    yield from ("", "## How to use it", "")
    yield "```"
    yield f"pip install {facts.package} numpy pillow"
    yield "python classify.py photo.jpg another.png"
    yield "```"
    yield ""
    yield "It prints a line a file: path, decision, probability. " + _input_sentence(facts)
    yield from ("", "## What it answers", "")
    yield _rule_sentence(facts)
    yield from ("", "## How good it is", "")
    yield from _numbers(facts)
    yield from ("", "## What it learned from", "")
    yield from _data(facts)
    yield from ("", "## Is it the same model?", "")
    for sentence in facts.checked:
        yield f"- {sentence}"
    yield from ("", "## Limits", "")
    yield from _limits(facts)
    yield from ("", "## Licences", "")
    yield from _licences(facts)


def _input_sentence(facts: CardFacts) -> str:
    rule = facts.preprocessing
    size = f"{rule['height']} x {rule['width']}"
    views = "" if facts.test_time == "none" else (
        f" It averages the views '{facts.test_time}' of every picture itself."
    )  # fmt: skip
    if facts.float_input:
        return (
            f"The model takes `pixels`, float32 (N, 3, {rule['height']}, {rule['width']}), RGB "
            f"scaled to 0..1, less {rule['mean']}, divided by {rule['std']}; pictures are "
            f"resized to {size} ({rule['fit']}, {rule['interpolation']}) before.{views}"
        )
    if facts.more_inputs:
        sizes = [f"`{input_name(number)}` {own['height']} x {own['width']}"
                 for number, own in enumerate((rule, *facts.more_inputs))]  # fmt: skip
        return (
            f"Several networks answer together, and the model takes every picture in "
            f"{len(sizes)} sizes: {', '.join(sizes)}, each uint8 (N, height, width, 3), RGB, for "
            f"any N ({rule['fit']}); all else is the model's own work.{views}"
        )
    return (
        f"The model takes `pixels`, uint8 (N, {rule['height']}, {rule['width']}, 3), RGB, for any "
        f"N; pictures are resized to {size} ({rule['fit']}, {rule['interpolation']}) before, and "
        f"all else is the model's own work.{views}"
    )


def _rule_sentence(facts: CardFacts) -> str:
    outputs = (
        "`probabilities` has one column a class, in this order; `decision` counts the answers from "
        "0; `probability` is that of the class that is answered"
        + (", or would be." if len(facts.answers) > len(facts.classes) else ".")
    )
    names = ", ".join(_text(name) for name in facts.answers[:MOST_CLASSES])
    more = f" and {len(facts.answers) - MOST_CLASSES:,} more (model.json has all)" if (
        len(facts.answers) > MOST_CLASSES
    ) else ""  # fmt: skip
    rules = "; ".join(map(_text, facts.rules))
    rule = f"The rule: {rules}." if rules else "The likeliest class is answered."
    return f"{names}{more}. {outputs} {rule}"


def _numbers(facts: CardFacts) -> Iterator[str]:
    if not facts.metrics:
        yield "No part of the images was kept apart to measure it on."
        return
    images = facts.metrics.get("images", 0)
    yield (
        f"On {plural(int(images), 'image')} of the {facts.part} part, which "
        + (
            "taught and chose nothing"
            if facts.part == "test"
            else "chose between models, so that new images will do worse"
        )
        + ", as the run's engine answered them. In brackets what chance leaves open (95 %)."
    )
    yield from ("", "| number | value |", "| --- | --- |")
    for key, title in (
        ("accuracy", "accuracy"),
        ("balanced_accuracy", "balanced accuracy"),
        ("roc_auc", "area under the ROC curve"),
        ("log_loss", "log loss"),
        ("calibration_error", "calibration error"),
    ):
        number = _number(facts.metrics, key)
        if number is not None:
            yield f"| {title} | {_written(number, key)} |"
    classes = facts.metrics.get("per_class")
    if isinstance(classes, Mapping):
        yield from ("", "| class | images | found (recall) | right when said (precision) |",
                    "| --- | --- | --- | --- |")  # fmt: skip
        for name, values in list(classes.items())[:MOST_CLASSES]:
            cells = [
                _written(number, "") if (number := _number(values, key)) is not None else "-"
                for key in ("recall", "precision")
            ]
            yield f"| {_text(name)} | {values.get('support', '-')} | {' | '.join(cells)} |"
        if len(classes) > MOST_CLASSES:
            yield f"| and {len(classes) - MOST_CLASSES:,} more | | | |"


def _written(number: Number, key: str) -> str:
    if number.value is None:
        return f"- ({_text(number.reason)})"
    share = key not in ("log_loss", "roc_auc", "calibration_error")
    if share:
        limits = number.limits(2)
        return f"{percent(number.value, 2)}{f' ({limits})' if limits else ''}"
    limits = f" ({number.low:.4f} to {number.high:.4f})" if (
        number.low is not None and number.high is not None
    ) else ""  # fmt: skip
    return f"{number.value:.4f}{limits}"


def _data(facts: CardFacts) -> Iterator[str]:
    parts = [part for part in ("train", "validation", "test") if part in facts.counts]
    parts += [part for part in facts.counts if part not in parts]
    yield f"Images of {_text(facts.data)}; recipe '{_text(facts.recipe)}', {facts.created[:10]}."
    yield from ("", f"| class | {' | '.join(parts)} |", f"| --- |{' --- |' * len(parts)}")
    for name in facts.classes[:MOST_CLASSES]:
        cells = [f"{facts.counts[part].get(name, 0):,}" for part in parts]
        yield f"| {_text(name)} | {' | '.join(cells)} |"
    if len(facts.classes) > MOST_CLASSES:
        yield f"| and {len(facts.classes) - MOST_CLASSES:,} more |{' |' * len(parts)}"


def _limits(facts: CardFacts) -> Iterator[str]:
    doubtful = len(facts.answers) > len(facts.classes)
    yield (
        f"- It answers one of its classes{f' or {_text(facts.answers[-1])}' if doubtful else ''} "
        "for every picture, also for pictures of nothing that it knows."
    )
    yield (
        "- The numbers hold for pictures like those above. Other cameras, places or times can be "
        "worse; measure on pictures of your own before you rely on it."
    )
    yield (
        "- `classify.py` reads JPEG, PNG, WebP, BMP and GIF (its first frame) of 8 bits a colour, "
        "turns them upright by their EXIF data, and lays transparent ones on white. It refuses "
        "more bits and CMYK; colour profiles are not applied; a file that is cut off may be "
        "answered by what is left of it."
    )
    for note in facts.notes:
        yield f"- {_text(note)}"


def _licences(facts: CardFacts) -> Iterator[str]:
    if not facts.weights:
        yield "- The network began with random weights: no licence but that of your images."
    for origin in facts.weights:
        learned = f"; they learned from {_text(origin.trained_on)}" if origin.trained_on else ""
        yield (
            f"- Weights: {_text(origin.name)}, licence {_text(origin.licence or 'of that run')} "
            f"({_text(_place(origin.source))}){learned}."
        )
    yield (
        f"- Images of {_text(facts.data)}: tellapart does not know their licence; state it here "
        "before you pass the model on."
    )
    yield "- tellapart itself, with `classify.py`: Apache-2.0."


def _place(source: str) -> str:
    """Where weights are from, without a path of the machine that trained."""
    return "a file" if source.startswith("file ") else source.partition(" (/")[0]


def _number(content: Mapping[str, Any], key: str) -> Number | None:
    try:
        return Number.from_json(content[key])
    except (KeyError, TypeError):
        return None


def _text(text: str) -> str:
    """A name inside Markdown: nothing in it is read as markup."""
    plain = shown(text)
    return "".join(f"\\{c}" if c in "\\`*_[]<>#|" else c for c in plain)
