"""Where ``open_upright`` is also found: code written for the first version imports it from here."""

from tellapart.pixels.decode import UnreadableImage, decode, open_upright

__all__ = ["UnreadableImage", "decode", "open_upright"]
