"""FittedHead: what fitting a head on features gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tellapart.models.feature_heads import FeatureHead


@dataclass(frozen=True)
class FittedHead:
    """A head on features, and how its settings were chosen, as ``run.json`` says it."""

    head: FeatureHead
    facts: Mapping[str, Any]
