"""The pages in headless Chromium: harmless, silent, usable by keyboard, fitting every screen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made_reports import (
    HOSTILE,
    comparison_report,
    data_report,
    drift_report,
    explanation_report,
    run_report,
    stamped,
)

from browser import CONTRAST, require_names
from tellapart.files import write_text
from tellapart.report.content import Confusion, RunReport
from tellapart.report.render import render_report

LONG = [
    HOSTILE,
    *(f"Class {k:03d}, as long as guides have it (Genus species {k})" for k in range(99)),
]


def run_page(folder: Path, report: RunReport) -> Path:
    page = folder / "report.html"
    write_text(page, render_report(report))
    return page


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    texts = {
        "run": render_report(run_report((HOSTILE, "bee"))),
        "many": render_report(run_report(LONG)),
        "comparison": render_report(comparison_report(HOSTILE)),
        "data": render_report(data_report(HOSTILE)),
        "drift": render_report(drift_report(HOSTILE)),
        "explanation": render_report(explanation_report(HOSTILE)),
    }
    for name, text in texts.items():
        write_text(folder / f"{name}.html", text)
    return {name: folder / f"{name}.html" for name in texts}


@pytest.fixture(scope="module")
def shaded(tmp_path_factory: pytest.TempPathFactory, pages: dict[str, Path]) -> dict[str, Path]:
    """The pages, that of a run with a confusion matrix of every shade."""
    shares = [0, 1, 3, 8, 15, 25, 40, 56, 76, 100]
    counts = [[100 - share if i == j else share if j == (i + 1) % 10 else 0 for j in range(10)]
              for i, share in enumerate(shares)]  # fmt: skip
    names = [f"class {i}" for i in range(10)]
    report = replace(run_report(names), confusion=Confusion(names, counts))
    page = run_page(tmp_path_factory.mktemp("shaded"), report)
    return {**pages, "run": page}


@pytest.mark.parametrize("kind", ["run", "many", "comparison", "data", "drift", "explanation"])
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (400, "dark")])
def test_quiet_harmless_and_fitting(
    browser: Any, pages: dict[str, Path], kind: str, width: int, scheme: str
) -> None:
    browser.open(pages[kind], width=width, scheme=scheme)
    # An alert would make the next command fail; a foreign picture would be broken.
    state = browser.run(
        """
        const images = [...document.images].filter((image) => image.src);
        return {
          broken: images.filter((image) => image.complete && !image.naturalWidth).length,
          images: images.length,
          width: document.documentElement.scrollWidth,
          text: document.body.innerText,
          script: !document.querySelector(".theme").hidden,
          paper: getComputedStyle(document.body).backgroundColor,
        };
        """
    )
    assert state["images"] and not state["broken"]
    assert state["width"] <= width
    assert HOSTILE in state["text"]
    assert state["script"], "the page's own script did not run"
    dark = state["paper"] == "rgb(20, 23, 26)"
    assert dark == (scheme == "dark")
    assert browser.console() == []
    assert browser.requests() == [pages[kind].as_uri()]


def test_a_script_that_gets_in_all_the_same_does_not_run(
    browser: Any, pages: dict[str, Path]
) -> None:
    browser.open(pages["run"])
    browser.run(
        """
        document.body.insertAdjacentHTML("beforeend",
          '<img src="x" onerror="window.hit = 1"><img src="https://example.org/spy.png">');
        const script = document.createElement("script");
        script.textContent = "window.hit = 1";
        document.body.append(script);
        """
    )
    assert browser.run("return window.hit === undefined")
    assert browser.requests() == [pages["run"].as_uri()]
    refused = browser.console()
    assert refused and all("Content Security Policy" in message for message in refused)


def first_column(browser: Any, table: str) -> list[str]:
    return browser.run(
        "return [...document.querySelectorAll(`#${arguments[0]} tbody th`)]"
        ".filter((cell) => cell.checkVisibility()).map((cell) => cell.textContent.trim())",
        table,
    )


def test_tables_sort_by_keyboard_with_missing_numbers_last(browser: Any, tmp_path: Path) -> None:
    names = ["c10", "c9", "a", "B"]
    browser.open(run_page(tmp_path, run_report(names)))
    browser.run("document.querySelector('#classes .sub').open = true")
    browser.run("document.querySelectorAll('#table-classes .sort')[0].focus()")
    state = "return [...document.querySelectorAll('#table-classes thead th')].map(h => h.ariaSort)"
    assert browser.run(state) == ["none"] * 3
    browser.press("Enter")
    assert first_column(browser, "table-classes") == ["a", "B", "c9", "c10"]
    assert browser.run(state) == ["ascending", "none", "none"]
    browser.press("Tab", "Tab", "Enter")  # recall: c10 has none, then 0.25, 0.5, 0.75
    assert first_column(browser, "table-classes") == ["B", "a", "c9", "c10"]
    assert browser.run(state) == ["none", "none", "descending"]
    browser.press("Enter")
    assert first_column(browser, "table-classes") == ["c9", "a", "B", "c10"]


def test_tables_filter_by_what_is_typed(browser: Any, pages: dict[str, Path]) -> None:
    browser.open(pages["many"])
    browser.run("document.querySelector('#classes .sub').open = true")
    browser.run("document.querySelector('#table-classes-filter').focus()")
    browser.press("species 42)")
    assert first_column(browser, "table-classes") == [LONG[43]]
    shown = "return document.querySelector('#table-classes-filter ~ output').textContent"
    assert browser.run(shown) == "1 of 100 rows"


def shown_paths(browser: Any) -> list[str]:
    return browser.run(
        "return [...document.querySelectorAll('#gallery-mistakes .picture')]"
        ".filter((item) => !item.hidden).map((item) => item.dataset.path)"
    )


def test_galleries_filter_by_class_and_confidence(browser: Any, tmp_path: Path) -> None:
    wrong = [
        stamped(990, "ant", HOSTILE), stamped(800, HOSTILE, "ant"), stamped(600, "ant", HOSTILE),
    ]  # fmt: skip
    browser.open(run_page(tmp_path, run_report(("ant", HOSTILE), wrong)))
    choose = """
        const [id, value] = arguments;
        const control = document.getElementById(id);
        control.value = value;
        control.dispatchEvent(new Event("input", { bubbles: true }));
    """
    browser.run(choose, "mistakes-predicted", HOSTILE)
    assert shown_paths(browser) == ["test/990.png", "test/600.png"]
    browser.run(choose, "mistakes-most", "90")
    assert shown_paths(browser) == ["test/600.png"]
    browser.run(choose, "mistakes-true", HOSTILE)
    assert shown_paths(browser) == []
    message = "return document.querySelector('#gallery-mistakes > .shown').textContent"
    assert "No image here fits" in browser.run(message)


def test_a_number_in_the_confusion_matrix_shows_its_images(browser: Any, tmp_path: Path) -> None:
    names = ("ant", "bee", "cow")
    wrong = [stamped(900, "ant", "bee"), stamped(800, "bee", "cow"), stamped(700, "cow", "ant")]
    browser.open(run_page(tmp_path, run_report(names, wrong)))
    browser.run("document.querySelector('.matrix td button').focus()")
    browser.press("ArrowRight")  # from ant taken for ant to ant taken for bee
    readout = "return document.querySelector('.readout').textContent"
    assert browser.run(readout) == "2 images labelled ant, called bee (2.2 % of that class)."
    browser.press("Enter")
    assert shown_paths(browser) == ["test/900.png"]
    assert "now shows 1 of them" in browser.run(readout)
    stops = "return document.querySelectorAll('.matrix button[tabindex=\"0\"]').length"
    assert browser.run(stops) == 1


def test_a_picture_opens_larger_with_what_is_known_of_it(browser: Any, tmp_path: Path) -> None:
    wrong = [stamped(900, "ant", HOSTILE), stamped(800, HOSTILE, "ant")]
    browser.open(run_page(tmp_path, run_report(("ant", HOSTILE), wrong)))
    browser.run("document.querySelector('#gallery-mistakes .thumb').focus()")
    browser.press("Enter")
    opened = """
        const viewer = document.querySelector(".viewer");
        const source = viewer.querySelector("img").src;
        const shown = [...document.querySelectorAll("#gallery-mistakes .picture")]
          .find((item) => item.querySelector("img").src === source);
        return [viewer.open, shown?.dataset.path, viewer.innerText];
    """
    is_open, path, text = browser.run(opened)
    assert is_open and path == "test/900.png"
    assert HOSTILE in text and "90.0 %" in text and "test/900.png" in text
    browser.press("ArrowRight")
    assert browser.run(opened)[1] == "test/800.png"
    browser.press("Escape")
    assert browser.run(opened)[0] is False
    focused = "return document.activeElement.className"
    assert browser.run(focused) == "thumb"
    assert browser.console() == []


def test_light_and_dark_can_be_chosen(browser: Any, pages: dict[str, Path]) -> None:
    browser.open(pages["run"], scheme="light")
    paper = "return getComputedStyle(document.body).backgroundColor"
    assert browser.run(paper) == "rgb(255, 255, 255)"
    browser.run("document.querySelector('.theme').click()")
    assert browser.run(paper) == "rgb(20, 23, 26)"
    assert browser.run("return document.querySelector('.theme').innerText").endswith("Light")
    browser.run("localStorage.removeItem('tellapart-theme')")


def test_long_galleries_show_more_when_asked(browser: Any, pages: dict[str, Path]) -> None:
    browser.open(pages["run"])
    assert len(shown_paths(browser)) == 12
    browser.run("document.querySelector('#gallery-mistakes .more').focus()")
    browser.press("Enter")
    assert len(shown_paths(browser)) == 30
    focused = "return document.activeElement.closest('.picture').dataset.path"
    assert browser.run(focused) == "test/888.png"  # the first of the new ones


def test_figures_open_larger_with_their_sentence(browser: Any, pages: dict[str, Path]) -> None:
    browser.open(pages["run"], width=400, scheme="dark")
    browser.run("document.querySelector('#statistics details').open = true")
    browser.run("document.querySelector('.enlarge').focus()")
    browser.press("Enter")
    text, image_width, page_width = browser.run(
        """
        const viewer = document.querySelector("dialog[open]");
        const width = viewer.querySelector("img").getBoundingClientRect().width;
        return [viewer.innerText, width, document.documentElement.scrollWidth];
        """
    )
    assert f"Reads {HOSTILE}." in text
    assert image_width > 400 >= page_width  # it scrolls inside the viewer, the page does not
    assert browser.console() == []


@pytest.mark.parametrize("kind", ["run", "many", "comparison", "data", "drift", "explanation"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_words_stand_out_from_what_is_behind_them(
    browser: Any, shaded: dict[str, Path], kind: str, scheme: str
) -> None:
    """By the rule of WCAG 2.2 for small letters, 4.5 to 1, as the browser paints them."""
    browser.open(shaded[kind], scheme=scheme)
    assert browser.run(CONTRAST) == {}


@pytest.mark.parametrize("kind", ["run", "many", "comparison", "data", "drift", "explanation"])
def test_every_control_says_what_it_does(browser: Any, pages: dict[str, Path], kind: str) -> None:
    """As a screen reader has it: what is named, in words and not only a number or a sign."""
    browser.open(pages[kind])
    browser.run("for (const each of document.querySelectorAll('details')) each.open = true;")
    require_names(browser)


def test_the_first_screen_holds_number_light_classes_and_what_next(
    browser: Any, pages: dict[str, Path]
) -> None:
    browser.open(pages["run"], width=1280, height=800)
    bottom = browser.run("return document.querySelector('#verdict').getBoundingClientRect().bottom")
    assert bottom <= 800
    folded = browser.run("return document.querySelectorAll('main details:not([open])').length")
    assert folded >= 5
    browser.run("dispatchEvent(new Event('beforeprint'))")
    assert browser.run("return document.querySelectorAll('details:not([open])').length") == 0
