"""What was done otherwise in one run than in another: settings, weights, images, versions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tellapart.recipe import ProbeSettings, TrainingStage
from tellapart.run import Run

#: Keys of a recipe that say what it is, not what it does.
_WORDS = ("title", "teaches", "differs", "reported", "measured", "document", "num_classes")
#: What stands where a run has no such setting.
NOT_THERE = "-"


@dataclass(frozen=True)
class DifferingSetting:
    """One setting that is not the same in all runs; ``values`` by the name of the run."""

    key: str
    values: Mapping[str, str]


def differing_settings(runs: Mapping[str, Run]) -> tuple[DifferingSetting, ...]:
    """The settings in which runs differ, under the keys that ``--set`` takes.

    What is no setting of the recipe comes last: the run that training started from, the
    images, the machine, the version.
    """
    found = {name: {**_flat(_recipe(run)), **_beside(run)} for name, run in runs.items()}
    keys = list(dict.fromkeys(key for values in found.values() for key in values))
    usual = _usual()
    in_recipe = [key for key in keys if " " not in key]
    rows = []
    for key in (*in_recipe, *(key for key in keys if " " in key)):
        values = {name: found[name].get(key, NOT_THERE) for name in runs}
        # What only one way of training knows is news where it is not as it usually is.
        told = set(values.values()) - {NOT_THERE} != {usual.get(key)}
        if len(set(values.values())) > 1 and told:
            rows.append(DifferingSetting(key, values))
    return tuple(rows)


def _recipe(run: Run) -> dict[str, Any]:
    """The recipe's settings that had a part in this run."""
    recipe = run.recipe
    content = recipe.model_dump(mode="json", exclude=set(_WORDS))
    # A probe is trained by its own settings; gradient descent by those of its stages.
    others = ("probe", "ensemble") if recipe.method == "fit" else (
        "training", "fine_tuning", "augmentation", "probe", "model", "test_time"
    ) if recipe.method == "ensemble" else ("training", "fine_tuning", "ensemble")  # fmt: skip
    for key in others:
        content.pop(key, None)
    return content


def _usual() -> dict[str, str]:
    """The settings of each way of training, as they are where nobody says otherwise."""
    stage = TrainingStage().model_dump(mode="json")
    probe = ProbeSettings().model_dump(mode="json")
    return _flat({"training": stage, "fine_tuning": stage, "probe": probe})


def _flat(content: Mapping[str, Any], above: str = "") -> dict[str, str]:
    """Nested settings as one level of dotted keys; lists are one value."""
    flat: dict[str, str] = {}
    for key, value in content.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{above}{key}.")
        else:
            flat[f"{above}{key}"] = _written(value)
    return flat


def _written(value: Any) -> str:
    if isinstance(value, list):
        return "; ".join(map(_written, value)) or "none"
    if isinstance(value, Mapping):  # a step of the augmentation, named first
        first, *others = [f"{key} {_written(each)}" for key, each in value.items()]
        return ", ".join([first.removeprefix("transform "), *others])
    return value if isinstance(value, str) else json.dumps(value)


def _beside(run: Run) -> dict[str, str]:
    info = run.info
    engine = info.prediction
    size = f"{info.preprocessing.get('width')} x {info.preprocessing.get('height')}"
    return {
        "started from": str(info.parent or "pretrained or random weights"),
        "images in": str(run.source.folder),
        "images left out by": str(run.source.exclude or NOT_THERE),
        "images a part": ", ".join(
            f"{part} {sum(counts.values()):,}" for part, counts in info.data.counts.items()
        ),
        "pixels seen": size,
        "predicted by": f"{engine.engine} {engine.precision}" if engine else "not known",
        "trained on": info.machine.device_name,
        "version of tellapart": info.tellapart,
    }
