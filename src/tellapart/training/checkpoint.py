"""What resuming needs, in one file that is replaced as a whole after each epoch.

The file is safetensors: tensors by name, and everything else as JSON in its header, so
reading it executes nothing. It is written under another name and renamed: a kill leaves
the old file or the new one.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.optim import Optimizer

from tellapart.errors import RunError
from tellapart.files import replacing

FILE_NAME = "training.safetensors"


def save_checkpoint(folder: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Replace the checkpoint of ``folder``; ``facts`` is plain data for JSON."""
    kept = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    with replacing(folder / FILE_NAME) as unfinished:
        try:
            text = json.dumps(dict(facts))
            save_file(kept, unfinished, metadata={"facts": text, "digest": _digest(text, kept)})
        except SafetensorError as error:  # which hides what the system said in its text
            code = re.search(r"os error (\d+)", str(error))
            if code is None:
                raise
            raise OSError(int(code[1]), os.strerror(int(code[1]))) from error


def load_checkpoint(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Tensors and facts of the checkpoint in ``folder``; None if there is none.

    Raises:
        RunError: the file is damaged.
    """
    path = folder / FILE_NAME
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
            facts = json.loads(metadata["facts"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        # Checkpoints of older versions have no digest.
        if metadata.get("digest", "") not in ("", _digest(metadata["facts"], tensors)):
            raise ValueError("it is not as it was written")
        return tensors, facts
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise RunError(
            f"The checkpoint {path} cannot be read ({error}); delete its folder to train from "
            "the beginning."
        ) from error


def _digest(text: str, tensors: Mapping[str, Tensor]) -> str:
    """Of the facts' text, and of each tensor's name, type, shape and values."""
    state = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        value = tensors[name].contiguous()
        state.update(f"\n{name} {value.dtype} {tuple(value.shape)}\n".encode())
        state.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return state.hexdigest()


def with_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names with ``prefix`` in front."""
    return {f"{prefix}{name}": value for name, value in tensors.items()}


def without_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those whose names begin with ``prefix``, without it."""
    return {n.removeprefix(prefix): v for n, v in tensors.items() if n.startswith(prefix)}


def optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    """The state of an optimizer, as ``{"<number of the weight>.<name>": tensor}``."""
    state = optimizer.state_dict()["state"]
    return {
        f"{number}.{name}": value
        for number, values in state.items()
        for name, value in values.items()
        if isinstance(value, Tensor)
    }


def restore_optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what ``optimizer_tensors`` gave."""
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        number, _, name = key.partition(".")
        weight = weights[int(number)]
        if value.shape == weight.shape:
            # Fused kernels walk the memory of weight and state alike, so both need one layout.
            value = torch.empty_like(weight, requires_grad=False).copy_(value)
        state.setdefault(int(number), {})[name] = value
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
