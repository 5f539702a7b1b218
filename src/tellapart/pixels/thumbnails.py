"""Small pictures for galleries, encoded so that hundreds fit into one page."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

THUMBNAIL_SIZE = 176
_QUALITY = 78


def make_thumbnail(source: Path | NDArray[np.uint8] | Any, *, size: int = THUMBNAIL_SIZE) -> bytes:
    """A WebP no larger than ``size`` pixels a side, its shape kept and never enlarged.

    ``source`` is a file (read upright, as everywhere), a uint8 array (H, W, 3) or (H, W),
    or a Pillow image.

    Raises ``tellapart.pixels.decode.UnreadableImage`` where a file cannot be read.
    """
    from PIL import Image

    if isinstance(source, Path):
        from tellapart.pixels.decode import open_upright

        picture = open_upright(source)
    elif isinstance(source, np.ndarray):
        picture = Image.fromarray(np.ascontiguousarray(source)).convert("RGB")
    else:
        picture = source.convert("RGB")
    if max(picture.size) > size:
        picture = picture.copy()
        picture.thumbnail((size, size), Image.Resampling.LANCZOS, reducing_gap=3.0)
    buffer = BytesIO()
    picture.save(buffer, "WEBP", quality=_QUALITY, method=2)
    return buffer.getvalue()
