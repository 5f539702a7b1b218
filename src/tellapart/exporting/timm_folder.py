"""A folder that ``timm.create_model("local-dir:FOLDER")`` opens, without tellapart.

timm's networks end in a linear layer on pooled features and know no temperature: that is worked
into the layer's numbers. What goes beyond (views, a decision rule) is for whoever runs it, and
is written in ``model.json``; so such runs are refused here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from tellapart.errors import BundleError
from tellapart.exporting.job import Job
from tellapart.files import write_bytes, write_text
from tellapart.models.weights import create_network
from tellapart.pixels.views import View
from tellapart.prediction.joint import JointClassifier
from tellapart.recipe import BackboneModel

#: What timm calls the ways in which a picture comes to its size.
CROP_MODES = {"squash": "squash", "crop": "center", "pad": "border"}


def write_timm(job: Job, folder: Path) -> None:
    """Write ``config.json`` and ``model.safetensors``.

    Raises:
        BundleError: the run's network is none that timm can build, or needs more than it.
    """
    from safetensors.numpy import save

    classifier = job.classifier
    if isinstance(classifier, JointClassifier):
        raise _refused("several networks answer together")
    description = classifier.description
    model = description.model
    if not isinstance(model, BackboneModel):
        raise _refused("its network is not one of timm's")
    linear = "head.output.weight" in classifier.state()
    if model.features != "pooled" or model.head or not linear:
        raise _refused("layers of its own lie between backbone and output")
    if job.around.views != (View(),):
        raise _refused(f"it averages views (test_time: {description.test_time})")
    if job.around.decision is not None or job.around.uncertain_up_to is not None:
        raise _refused("a decision rule is in force")
    rule = classifier.preprocessing
    network: Any = create_network(model.backbone, num_classes=len(job.around.classes))
    state = _state(job, network)
    config = {
        "architecture": model.backbone.partition(".")[0],
        "num_classes": len(job.around.classes),
        "num_features": int(network.num_features),
        "label_names": list(job.around.classes),
        "pretrained_cfg": {
            "input_size": [3, rule.height, rule.width],
            "fixed_input_size": False,
            "interpolation": rule.interpolation,
            "crop_pct": 1.0,
            "crop_mode": CROP_MODES[rule.fit],
            "mean": list(rule.mean),
            "std": list(rule.std),
            "num_classes": len(job.around.classes),
            "first_conv": network.pretrained_cfg.get("first_conv"),
            "classifier": network.pretrained_cfg.get("classifier"),
        },
    }
    write_text(folder / "config.json", json.dumps(config, indent=1, ensure_ascii=False) + "\n")
    write_bytes(folder / "model.safetensors", save(state, metadata={"format": "pt"}))


def _state(job: Job, network: Any) -> dict[str, Any]:
    """The run's weights by timm's names, temperature and sigmoid worked into the last layer."""
    ours = job.classifier.state()
    name = network.pretrained_cfg.get("classifier")
    wanted = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    weight, bias = ours["head.output.weight"], ours["head.output.bias"]
    if job.around.sigmoid:  # softmax of (0, x)
        weight, bias = np.concatenate([0 * weight, weight]), np.concatenate([0 * bias, bias])
    state = {
        key.removeprefix("backbone.network."): value
        for key, value in ours.items()
        if key.startswith("backbone.network.")
    }
    temperature = job.around.temperature
    # In a convolution that stands for a linear layer the weights have two more axes.
    shape = wanted.get(f"{name}.weight", weight.shape)
    if int(np.prod(shape)) != weight.size:
        raise _refused("the network's own classifier is of another form")
    state[f"{name}.weight"] = (weight / temperature).astype(np.float32).reshape(shape)
    state[f"{name}.bias"] = (bias / temperature).astype(np.float32)
    state = {
        key: value.reshape(wanted[key]) if key in wanted and value.size == 1 else value
        for key, value in state.items()
    }
    found = {key: tuple(value.shape) for key, value in state.items()}
    if found != wanted:
        raise _refused("the network's own classifier is of another form")
    return state


def _refused(why: str) -> BundleError:
    return BundleError(
        f"--to timm cannot hold this run: {why}; export it with --to onnx or --to torch."
    )
