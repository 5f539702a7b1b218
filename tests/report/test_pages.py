"""The pages as text: right pictures under right captions, harmless names, nothing loaded."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections import Counter
from dataclasses import dataclass, field, replace
from hashlib import sha256
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
from made_reports import (
    HOSTILE,
    HOSTILE_QUOTES,
    SVG,
    comparison_report,
    data_report,
    drift_report,
    explanation_report,
    read_stamp,
    run_report,
    stamp,
    stamped,
)

from tellapart.errors import FileError
from tellapart.files import write_text
from tellapart.number import Number
from tellapart.report.content import (
    Column,
    ComparisonReport,
    DataReport,
    ExplanationReport,
    Figure,
    Gallery,
    Headline,
    KeyNumber,
    Picture,
    RunReport,
    Table,
)
from tellapart.report.page import data_uri, figure_uri, limit_galleries
from tellapart.report.render import render_report

VOID = {"meta", "link", "img", "input", "br", "hr"}


@dataclass
class Element:
    tag: str
    attributes: dict[str, str | None]
    children: list[Element] = field(default_factory=list)
    text: str = ""

    def all(self, tag: str) -> list[Element]:
        found = [self] if self.tag == tag else []
        return found + [element for child in self.children for element in child.all(tag)]

    def words(self) -> str:
        return " ".join([self.text, *(child.words() for child in self.children)])


class _Parser(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.root = Element("root", {})
        self.open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, dict(attrs))
        self.open[-1].children.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open[-1].children.append(Element(tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1].tag == tag, f"</{tag}> closes <{self.open[-1].tag}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].text += data


def parse(text: str) -> Element:
    parser = _Parser()
    parser.feed(text)
    parser.close()
    assert parser.open == [parser.root], "an element is not closed"
    return parser.root


def every_element(element: Element) -> list[Element]:
    return [element, *(found for child in element.children for found in every_element(child))]


def pages(name: str) -> dict[str, str]:
    return {
        "run": render_report(run_report((name, "bee"))),
        "comparison": render_report(comparison_report(name)),
        "data": render_report(data_report(name)),
        "drift": render_report(drift_report(name)),
        "explanation": render_report(explanation_report(name)),
    }


KINDS = ("run", "comparison", "data", "drift", "explanation")


def test_each_caption_stands_under_its_own_picture() -> None:
    wrong = [stamped(number, f"true {number}", f"said {number}") for number in (901, 17, 512, 300)]
    page = parse(render_report(run_report(mistakes=wrong)))
    (gallery,) = (e for e in page.all("div") if e.attributes.get("id") == "gallery-mistakes")
    seen = []
    for figure in gallery.all("figure"):
        (image,) = figure.all("img")
        source = image.attributes["src"] or ""
        number = read_stamp(b64decode(source.partition("base64,")[2]))
        seen.append(number)
        words = figure.words()
        for expected in (f"test/{number}.png", f"true {number}", f"said {number}"):
            assert expected in words
            assert expected in (image.attributes["alt"] or "")
        assert figure.attributes["data-true"] == f"true {number}"
        assert figure.attributes["data-confidence"] == str(number / 1000)
        assert f"{number / 10:.1f}\u2009%" in words
    assert seen == [901, 17, 512, 300]


@pytest.mark.parametrize("name", [HOSTILE, HOSTILE_QUOTES, "a & b", "{{ 7 * 7 }}", "</script>"])
@pytest.mark.parametrize("kind", KINDS)
def test_names_are_text_and_nothing_else(kind: str, name: str) -> None:
    hostile, plain = parse(pages(name)[kind]), parse(pages("ant")[kind])
    assert name in hostile.words()

    def shape(page: Element) -> Counter[tuple[str, tuple[str, ...]]]:
        return Counter((e.tag, tuple(sorted(e.attributes))) for e in every_element(page))

    # The same elements with the same attributes as with a harmless name.
    assert shape(hostile) == shape(plain)


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_loads_nothing_and_allows_only_its_own_script(kind: str) -> None:
    page = parse(pages(HOSTILE_QUOTES)[kind])
    for element in every_element(page):
        for attribute in ("src", "href", "srcset", "action", "poster", "data"):
            address = element.attributes.get(attribute)
            assert address is None or address.startswith(("data:", "#")), address
        assert not [name for name in element.attributes if name.startswith("on")]
    (style,) = page.all("style")
    assert "@import" not in style.text and "url(" not in style.text
    (script,) = page.all("script")
    digest = b64encode(sha256(script.text.encode()).digest()).decode()
    (policy,) = (e for e in page.all("meta") if "http-equiv" in e.attributes)
    assert policy.attributes["http-equiv"] == "Content-Security-Policy"
    rules = policy.attributes["content"] or ""
    assert "default-src 'none'" in rules
    assert f"script-src 'sha256-{digest}'" in rules
    assert "http" not in rules


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_can_be_read_without_seeing_it(kind: str) -> None:
    page = parse(pages("ant")[kind])
    elements = every_element(page)
    ids = [e.attributes["id"] for e in elements if "id" in e.attributes]
    assert len(ids) == len(set(ids))
    for link in page.all("a"):
        assert (link.attributes["href"] or "")[1:] in ids
    for label in page.all("label"):
        assert label.attributes["for"] in ids
    levels = [int(e.tag[1]) for e in elements if re.fullmatch("h[1-6]", e.tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    shown = [image for image in page.all("main")[0].all("img")]
    assert shown and all(image.attributes.get("alt") for image in shown)
    for table in page.all("table"):
        assert table.all("caption")[0].text.strip()
        assert all(head.attributes.get("scope") for head in table.all("th"))
    assert page.all("html")[0].attributes["lang"] == "en"
    for tag in ("header", "nav", "main", "footer"):
        assert len(page.all(tag)) == 1


def test_every_number_comes_with_its_interval_or_the_reason_why_there_is_none() -> None:
    words = parse(render_report(run_report())).words()
    assert "90.0\u2009%" in words and "85.0–94.0\u2009%" in words
    assert "only ant is there" in words


def test_what_should_be_known_about_a_number_stands_under_it() -> None:
    """A macro precision of one class only, without its note, looks like that of all."""
    note = "averaged over 1 of 2 classes: ant never predicted"
    number = KeyNumber("Precision, macro", Number(0.987, note=note))
    table = Table(
        "Runs",
        [Column("Run"), Column("Precision", "share")],
        [("first", Number(0.987, note=note))],
    )
    report = replace(run_report(), numbers=[number], tables=[table])
    assert parse(render_report(report)).words().count(note) == 2


def test_the_best_of_a_column_is_marked_at_its_right_end() -> None:
    page = parse(render_report(comparison_report("first")))
    best = [
        cell.words().split()[0]
        for cell in page.all("td")
        if "best" in (cell.attributes["class"] or "").split()
    ]
    assert best == ["90.0", "0.200"]  # the highest accuracy and the lowest loss


def test_confusion_matrix_keeps_rows_true_and_columns_predicted() -> None:
    report = run_report(("ant", "bee", "cow"))
    page = parse(render_report(report))
    (matrix,) = (t for t in page.all("table") if "matrix" in (t.attributes["class"] or ""))
    heads = [head.attributes["title"] for head in matrix.all("thead")[0].all("th")[1:]]
    assert heads == ["ant", "bee", "cow"]
    rows = [[int(cell.words()) for cell in row.all("td")] for row in matrix.all("tr")[1:]]
    assert rows == [[90, 2, 0], [0, 90, 2], [2, 0, 90]]


def test_a_hundred_classes_and_thousands_of_pictures_stay_under_20_megabytes() -> None:
    classes = [f"Class {k} with a long name {'x' * 40}" for k in range(100)]
    picture = stamp(1) + bytes(9_000)  # as heavy as a photograph
    wrong = [
        Picture(picture, f"test/{k}.jpg", classes[k % 100], classes[(k + 1) % 100], 0.9)
        for k in range(4000)
    ]
    report = run_report(classes, wrong)
    counts = [[k % 7 for k in range(100)] for _ in range(100)]
    assert report.confusion is not None
    report = replace(report, confusion=replace(report.confusion, counts=counts))
    text = render_report(report)
    assert len(text.encode()) < 20_000_000
    page = parse(text)
    (gallery,) = (e for e in page.all("div") if e.attributes.get("id") == "gallery-mistakes")
    assert 500 < len(gallery.all("figure")) < 4000
    assert "999" in gallery.words() and "the rest is elsewhere" in gallery.words()


def test_galleries_over_budget_lose_their_last_pictures_and_say_how_many_there_were() -> None:
    heavy = [Picture(bytes(100), path=str(k)) for k in range(8)]
    first, second = limit_galleries(
        [Gallery("a", "A", heavy), Gallery("b", "B", heavy[:2], total=50)], budget_bytes=600
    )
    assert [picture.path for picture in first.pictures] == ["0", "1", "2", "3"]
    assert (first.total, second.total) == (8, 50)
    assert len(second.pictures) == 2


def test_long_tables_are_cut_and_say_so() -> None:
    rows = [[f"file {k}"] for k in range(2500)]
    report = replace(data_report(), problems=Table("Left out", [Column("File")], rows))
    words = parse(render_report(report)).words()
    assert "file 999" in words and "file 1000 " not in words
    assert "The first 1,000 of 2,500 rows." in words


def test_what_is_empty_says_so_instead_of_leaving_a_hole() -> None:
    words = parse(render_report(run_report())).words()
    assert "There is nothing to show." in words
    nothing = DataReport("t", Table("Counts", [Column("Class")], [], empty="No class at all."))
    words = parse(render_report(nothing)).words()
    assert "No class at all." in words and "Nothing stands out" in words


def test_pages_with_the_least_content() -> None:
    nothing = Table("", [Column("Run")], [])
    for text in (
        render_report(RunReport("t", Headline("Accuracy", Number(None, reason="no image")))),
        render_report(ComparisonReport("t", nothing)),
        render_report(ExplanationReport("t")),
    ):
        page = parse(text)
        assert page.all("h1")[0].text == "t"
    assert "no image" in render_report(
        RunReport("t", Headline("Accuracy", Number(None, reason="no image")))
    )


def test_a_figure_too_large_to_draw_is_replaced_by_its_png() -> None:
    small = Figure("a", "A", SVG, "r", png=stamp(3))
    large = replace(small, image=SVG + " " * 700_000)
    assert figure_uri(small).startswith("data:image/svg+xml")
    assert figure_uri(large) == data_uri(stamp(3))


def test_a_picture_that_no_browser_shows_is_refused() -> None:
    with pytest.raises(ValueError, match="must be PNG, JPEG, WebP or GIF"):
        data_uri(b"BM not for the web")


def test_a_report_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "new" / "report.html"
    write_text(target, "one")
    write_text(target, "two \udcff")  # from a file name that is no valid Unicode
    assert target.read_text(encoding="utf-8") == r"two \udcff"
    folder = tmp_path / "folder.html"
    folder.mkdir()
    with pytest.raises(FileError, match="is a folder"):
        write_text(folder, "three")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.html", "new"]
    assert [path.name for path in target.parent.iterdir()] == ["report.html"]
