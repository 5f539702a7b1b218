"""Any classifier from its file, or from memory: one, or several that answer together."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from tellapart.models.tensors import State
from tellapart.prediction.classifier import (
    Classifier,
    Description,
    classifier_in_memory,
    described_in,
)
from tellapart.prediction.joint import JointClassifier, JointDescription

AnyClassifier = Classifier | JointClassifier
AnyDescription = Description | JointDescription


def open_classifier(
    file: Path,
    *,
    device: str = "auto",
    digest: str = "",
    classes: Sequence[str] = (),
) -> AnyClassifier:
    """Open whatever ``save_classifier`` wrote; its weights are read when they are first needed.

    Args:
        digest, classes: what ``run.json`` says they are; empty: they are not compared.

    Raises:
        RunError: as ``load_classifier``.
    """
    description, found = described_in(file, _any_description, digest=digest, classes=classes)
    if isinstance(description, JointDescription):
        return JointClassifier(file, description, device, found)
    return Classifier(file, description, device, found)


def any_in_memory(
    state: State, description: AnyDescription, *, device: str = "auto"
) -> AnyClassifier:
    """A classifier of weights that no file holds yet; answers as one that was saved and loaded."""
    if isinstance(description, JointDescription):
        return JointClassifier(None, description, device, weights=state)
    return classifier_in_memory(state, description, device=device)


def _any_description(text: str) -> AnyDescription:
    content = json.loads(text)
    if isinstance(content, dict) and "members" in content:
        return JointDescription.from_json(text)
    return Description.from_json(text)
