"""A page that can be sent: without pictures, paths and machine, and otherwise the same."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
from made_reports import (
    comparison_report,
    data_report,
    drift_report,
    explanation_report,
    run_report,
)

import tellapart as ta
from tellapart.errors import FileError
from tellapart.report.content import Callout, Facts
from tellapart.report.private import private_page, without_paths
from tellapart.report.render import Report, render_report

HOME = "/home/ann smith/brain scans"
HOST = "Linux-6.1-host-of-ann"


def with_secrets(report: Report) -> Report:
    """The report with paths and a machine in all its texts."""
    facts = [
        Facts("The images", [("Folder", HOME), ("Images", "12")]),
        Facts("Machine", [("System", HOST)], private=("System",)),
        Facts("Both", [("Seed", "31415"), ("Machine", HOST)], private=("Machine",)),
    ]
    changes = {
        "notes": [f"Read from {HOME}/train and /data/scans, 12 images a class, km/h and/or 3/4."],
        "callouts": [
            Callout("note", f"Look at '{HOME}/a.png'.", "C:\\Users\\ann\\scans is full."),
            Callout(
                "note", "40 are in train too, for example test/bob lee (3).jpg and x/bob lee.png."
            ),
            Callout("note", "1 file left out (red/carol(48).JPG, ...)."),
        ],
        "run_facts" if hasattr(report, "run_facts") else "facts": facts,
    }
    if hasattr(report, "command"):
        changes["command"] = f"tellapart train '{HOME}' --from /home/ann/runs/first"
    return replace(report, **changes)


def text_of(page: str) -> str:
    """All of a page but its style and script."""
    return re.sub(r"<(style|script).*?</\\1>", "", page, flags=re.DOTALL)


@pytest.mark.parametrize(
    "report",
    [run_report(), comparison_report(), data_report(), drift_report(), explanation_report()],
    ids=lambda report: type(report).__name__,
)  # fmt: skip
def test_no_page_keeps_a_picture_a_path_or_the_machine(report: Report) -> None:
    page = render_report(with_secrets(report))
    assert HOME in page and HOST in page and "test/" in page
    copy = private_page(page, [HOME])
    text = text_of(copy)
    for secret in ("/home", "smith", "/data", HOST, "C:", "Users", "image/png;base64", "test/",
                   "bob", "carol"):  # fmt: skip
        assert secret not in text, secret
    for kept in ("brain scans", "31415", "12 images a class, km/h and/or 3/4."):
        assert kept in text
    assert private_page(copy, [HOME]) == copy
    # Its script is the same to the byte, so that the page's own policy lets it run.
    assert copy.partition("<script>")[2] == page.partition("<script>")[2]


def test_what_is_left_out_leaves_no_link_to_it() -> None:
    copy = private_page(render_report(run_report()))
    assert 'href="#mistakes"' not in copy and "Mistakes" not in text_of(copy)
    for target in re.findall(r'href="#([^"]+)"', copy):
        assert f'id="{target}"' in copy


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("tellapart train /data/x --test 0.3", "tellapart train x --test 0.3"),
        ("'/a b/c d'", "'c d'"),
        ("file:/tmp/x", "x"),
        ("--recipe=~/mine.yaml", "--recipe=mine.yaml"),
        ("and/or, 3/4, km / h, runs/x, ../y", "and/or, 3/4, km / h, runs/x, ../y"),
        ("all are in predictions/test.csv", "all are in predictions/test.csv"),
        ("as cat (cat/1.jpg), as dog (dog/2(3).png).", "as cat (a file), as dog (a file)."),
    ],
)  # fmt: skip
def test_a_path_keeps_its_last_name(text: str, kept: str) -> None:
    assert without_paths(text) == kept


def test_the_command_finds_the_page_of_a_run_and_replaces_nothing(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    with pytest.raises(FileError, match="There is no page"):
        ta.private(tmp_path)
    page.write_text("<html>another page</html>")
    with pytest.raises(FileError, match="no page of this version"):
        ta.private(page)
    page.write_text(render_report(with_secrets(run_report())))
    with pytest.raises(FileError, match="is the page itself"):
        ta.private(page, out=page)
    (tmp_path / "run.json").write_text(json.dumps({"data": {"root": HOME}}))
    made = ta.private(tmp_path)
    assert made.page == tmp_path / "report-private.html"
    copy = text_of(made.page.read_text("utf-8"))
    assert "smith" not in copy and str(tmp_path) not in copy and os.uname().nodename not in copy
