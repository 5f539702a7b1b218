"""The page at ``/``: one HTML file that asks no other host for anything."""

from __future__ import annotations


def page() -> str:
    """The page, whole; what it shows it asks of the service."""
    return (
        "<!doctype html><html lang=en><title>tellapart</title>"
        "<p>POST pictures to <code>/v1/predict</code>; see <a href=/openapi.json>/openapi.json</a>."
    )
