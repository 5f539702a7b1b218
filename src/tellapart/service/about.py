"""What a model is and how far to trust it, as the service tells."""

from __future__ import annotations

import json
from typing import Any

from tellapart import cache
from tellapart.prediction.predictor import Predictor
from tellapart.run import Run

#: Hexadecimal digits of a version.
_VERSION_DIGITS = 16
_UNKNOWN_RULE = "unknown for images unlike the training ones"


def version_of(predictor: Predictor) -> str:
    """Names the model and the rules by which it answers."""
    rules = json.dumps(policy_to_json(predictor))
    return cache.text_digest(predictor.model.digest, rules)[:_VERSION_DIGITS]


def policy_to_json(predictor: Predictor) -> dict[str, Any]:
    """The rules in force, for programs; empty: the likeliest class."""
    policy = predictor.policy
    decision = {"decision": policy.decision.to_dict()} if policy.decision is not None else {}
    unknown = {"unknown": True} if predictor.detector is not None else {}
    return {**decision, **(policy.extras_to_dict() or {}), **unknown}


def about_model(name: str, predictor: Predictor, run: Run | None) -> dict[str, Any]:
    """A :class:`~tellapart.service.schema.ModelAbout`, but for when it was loaded."""
    unknown = predictor.detector is not None
    rules = predictor.policy.rules
    return {
        "name": name,
        "version": version_of(predictor),
        "classes": list(predictor.classes),
        "rules": [*rules, *([_UNKNOWN_RULE] if unknown and _UNKNOWN_RULE not in rules else [])],
        "policy": policy_to_json(predictor),
        "unknown": unknown,
        "explains": run is not None,
        "accuracy": _accuracy(run) if run is not None else None,
        "created": run.info.created if run is not None else "",
        "trained_on": dict(run.info.data.counts.get("train", {})) if run is not None else {},
        "recipe": run.recipe.name if run is not None else "",
    }


def _accuracy(run: Run) -> dict[str, Any] | None:
    part = next((part for part in ("test", "validation") if part in run.metrics), None)
    if part is None:
        return None
    number = run.accuracy(part)
    return {
        "part": part, "images": int(run.metrics[part]["images"]),
        "value": number.value, "low": number.low, "high": number.high, "reason": number.reason,
    }  # fmt: skip
