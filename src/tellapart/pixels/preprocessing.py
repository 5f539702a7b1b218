"""Preprocessing: what happens to a picture between its file and the network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

FITS = ("squash", "crop", "pad")
INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos")


@dataclass(frozen=True)
class Preprocessing:
    """Size, shape rule, interpolation and normalisation of a network's input.

    ``fit`` says what becomes of a picture whose shape is not height x width:

    - ``squash``: stretched; every part of the picture is kept, its shape is not.
    - ``crop``: the largest middle part of the right shape.
    - ``pad``: made to fit inside; the rest is filled with ``mean``, which a network sees
      as 0, the least it can be told.

    ``mean`` and ``std`` belong to pixels scaled to 0..1, in RGB order.
    """

    height: int
    width: int
    fit: str = "squash"
    interpolation: str = "bicubic"
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1:
            raise ValueError(f"height and width must be positive: {self.height} x {self.width}")
        if self.fit not in FITS:
            raise ValueError(f"fit must be one of {', '.join(FITS)}: {self.fit!r}")
        if self.interpolation not in INTERPOLATIONS:
            raise ValueError(
                f"interpolation must be one of {', '.join(INTERPOLATIONS)}: {self.interpolation!r}"
            )
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise ValueError(f"mean and std are three numbers each: {self.mean}, {self.std}")

    def padding_colour(self) -> tuple[int, int, int]:
        """What ``pad`` fills with, 0..255."""
        red, green, blue = (min(255, max(0, round(255 * value))) for value in self.mean)
        return red, green, blue

    def resize_rule(self) -> str:
        """All that changes the uint8 picture: two equal rules give equal pixels."""
        rule = f"{self.height}x{self.width}-{self.fit}-{self.interpolation}"
        if self.fit == "pad":
            rule += "-" + "".join(f"{value:02x}" for value in self.padding_colour())
        return rule

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; :meth:`from_dict` reads it back."""
        return asdict(self) | {"mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Preprocessing:
        """The Preprocessing that :meth:`to_dict` wrote.

        Raises:
            TypeError, ValueError: keys or values are not those of a Preprocessing.
        """
        mean, std = (tuple(float(value) for value in content[key]) for key in ("mean", "std"))
        return cls(**{**content, "mean": mean, "std": std})
