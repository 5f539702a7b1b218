"""Told to schemathesis by SCHEMATHESIS_HOOKS: what the schema calls a picture is one."""

from __future__ import annotations

import sys
from base64 import b64encode
from pathlib import Path

import schemathesis
from hypothesis import strategies

sys.path.insert(0, str(Path(__file__).parent))

from fakes import picture

PICTURES = strategies.sampled_from([picture(red, size) for red in (0, 200) for size in (1, 8, 33)])

schemathesis.openapi.format("binary", PICTURES)
schemathesis.openapi.format("byte", PICTURES.map(lambda p: b64encode(p).decode()))
for media_type in ("image/*", "application/octet-stream"):
    schemathesis.openapi.media_type(media_type, PICTURES)
