"""The page of the service in headless Chromium: pictures in, answers seen, by hand and by keyboard.

The service behind it is the real one, with real runs of a small network.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.request import urlopen

import pytest

from browser import CONTRAST, require_names

sys.path.insert(0, str(Path(__file__).parents[1] / "verbs"))

from trained import quick_run

from tellapart.evaluation.decision import Decision
from tellapart.prediction.answers import RowForm
from tellapart.run import Run
from tellapart.service.app import create_app
from tellapart.service.settings import ServiceSettings, served_runs

#: A class and a file that would be noticed if a page took them for HTML.
HOSTILE = "<img src=x onerror=alert(1)>&amp; 'it'"
CLASSES = ("blue", HOSTILE, "red")
#: The picture in detail is answered, and shown where the network looked.
EXPLAINED = (
    "return document.querySelector('.panel .answer') && "
    "[...document.querySelectorAll('.looked img')].filter((i) => i.naturalWidth).length > 1"
)
ANSWERED = "return document.querySelector('#save') && !document.querySelector('#save').disabled"
#: Each row of the table: its cells as texts.
ROWS = (
    "return [...document.querySelectorAll('#list tbody tr')]"
    ".map((row) => [...row.cells].map((cell) => cell.innerText.trim()))"
)


@contextmanager
def serving(settings: ServiceSettings) -> Iterator[str]:
    """The service at an address of its own."""
    import uvicorn

    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(create_app(settings), log_level="error"))
    thread = Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{listening.getsockname()[1]}/"
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            urlopen(f"{address}ready", timeout=10).close()
            break
        except OSError:
            time.sleep(0.05)
    try:
        yield address
    finally:
        server.should_exit = True
        thread.join(30)
        listening.close()


@pytest.fixture(scope="module")
def photos(image_folder: Callable[..., Path]) -> Path:
    return image_folder(classes=CLASSES, per_class=12)


@pytest.fixture(scope="module")
def run(photos: Path) -> Run:
    return quick_run(photos, photos.parent / "plain", epochs=2)


@pytest.fixture(scope="module")
def always(run: Run) -> Run:
    """The same network, by a rule that calls everything red."""
    copy = run.path.parent / "always"
    shutil.copytree(run.path, copy)
    return Run(copy).update(decision=Decision("red", 0.0).to_dict())


def mixed(photos: Path) -> list[Path]:
    """A picture of each class and another, in the order of their names."""
    return [sorted((photos / name).iterdir())[row] for row, name in enumerate(2 * CLASSES)]


@pytest.fixture(scope="module")
def inbox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("inbox")


@pytest.fixture(scope="module")
def address(browser: Any, run: Run, always: Run, inbox: Path) -> Iterator[str]:
    with serving(ServiceSettings(served_runs([run.path, always.path]), feedback=inbox)) as found:
        yield found


@pytest.fixture
def page(browser: Any, address: str) -> Any:
    """The browser with the page open; afterwards nothing was asked of another host."""
    browser.open(address)
    browser.until("return !document.querySelector('#try').hidden")
    yield browser
    asked = [url for url in browser.requests() if not url.startswith((address, f"blob:{address}"))]
    assert not asked


def choose_model(page: Any, box: str, name: str) -> None:
    page.run(
        "const box = document.getElementById(arguments[0]); box.value = arguments[1];"
        "box.dispatchEvent(new Event('change'));",
        box, name,
    )  # fmt: skip


def test_a_picture_that_is_dropped_gets_its_class_and_shows_where_it_looked(
    page: Any, run: Run, photos: Path
) -> None:
    picture = min((photos / "red").iterdir())
    (expected,) = run.predict([picture])
    page.drop("#drop", [picture])
    page.until(EXPLAINED)
    said = page.run(
        """
        const text = (selector) => document.querySelector(selector).innerText;
        return {
          name: text("#detail-name"), answer: text(".panel .answer strong"),
          share: text(".panel .answer-share"), why: text(".panel .reading"),
          bars: [...document.querySelectorAll(".bars li")].map((bar) => bar.innerText.split("\\n")),
          near: [...document.querySelectorAll(".near figcaption")].map((each) => each.innerText),
          looked: document.querySelectorAll(".looked .caption")[1].innerText,
          spoken: text("#said"),
        };
        """
    )
    best = expected.probabilities[expected.prediction]
    assert (said["name"], said["answer"]) == (picture.name, expected.prediction)
    assert float(said["share"].split()[0].strip("<> ")) == pytest.approx(100 * best, abs=0.051)
    assert said["why"] == "The likeliest of 3 classes."
    assert [name for name, _ in said["bars"]] == sorted(
        expected.probabilities, key=lambda name: -expected.probabilities[name]
    )
    assert len(said["near"]) == 6 and set(said["near"]) <= set(CLASSES)
    assert said["looked"].startswith(f"Where it looked for {expected.prediction}")
    assert said["spoken"].startswith(f"{picture.name}: {expected.prediction}, ")
    assert page.console() == []


def test_several_pictures_become_a_table_that_is_saved_as_predict_writes_it(
    page: Any, run: Run, photos: Path, tmp_path: Path
) -> None:
    pictures = mixed(photos)
    text = tmp_path / 'notes, "old".txt'
    text.write_text("no picture")
    saved = tmp_path / "saved"
    saved.mkdir()
    page.devtools("Page.setDownloadBehavior", behavior="allow", downloadPath=str(saved))
    page.drop("#drop", [*pictures, text])
    page.until(ANSWERED)
    rows = {row[0]: row[1:] for row in page.run(ROWS)}
    answers = run.predict(pictures)
    for picture, answer in zip(pictures, answers, strict=True):
        assert rows[picture.name][0] == answer.prediction
    assert "not a picture" in rows[text.name][0]
    page.run("document.querySelector('#save').click()")
    file = saved / "answers.csv"
    end = time.monotonic() + 20
    while not file.exists():
        assert time.monotonic() < end
        time.sleep(0.05)
    found = list(csv.reader(io.StringIO(file.read_bytes().decode(), newline="")))
    form = RowForm(run.classes, run.policy, model=run.path.name)
    assert found[0] == list(form.columns)
    for row, picture, answer in zip(found[1:], pictures, answers, strict=False):
        assert row == [picture.name, *form.cells(answer)[1:]]
    assert found[-1][0] == text.name and "not a picture" in "".join(found[-1])
    assert page.console() == []


def test_a_text_file_alone_is_answered_with_a_sentence(page: Any, tmp_path: Path) -> None:
    file = tmp_path / "shopping.txt"
    file.write_text("milk")
    page.drop("#drop", [file])
    sentence = page.until("return document.querySelector('.panel .refused')?.innerText")
    assert len(sentence.split()) > 3
    page.until("return document.querySelector('#said').innerText.startsWith('shopping.txt: ')")
    assert page.console() == []


def test_pictures_are_pasted_and_text_is_not(page: Any) -> None:
    paste = """
        const data = new DataTransfer();
        const done = (file) => {
          if (file) data.items.add(file); else data.setData("text/plain", "https://example.org/a");
          document.body.dispatchEvent(
            new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true }));
        };
        if (!arguments[0]) { done(null); return; }
        const canvas = document.createElement("canvas");
        canvas.width = 60; canvas.height = 40;
        return new Promise((finished) => canvas.toBlob((blob) => {
          done(new File([blob], "image.png", { type: "image/png" }));
          finished();
        }));
    """
    page.run(paste, False)
    assert "no picture" in page.run("return document.querySelector('#note').innerText")
    page.run(paste, True)
    page.until(EXPLAINED)
    assert page.run("return document.querySelector('#detail-name').innerText") == "pasted 1.png"
    assert page.run("return document.querySelector('#note').innerText") == ""


def test_the_camera_takes_a_picture(page: Any) -> None:
    page.run("document.querySelector('#photograph').click()")
    page.until("return document.querySelector('#video').videoWidth > 0")
    page.run("document.querySelector('#take').click()")
    page.until(EXPLAINED)
    assert page.run("return document.querySelector('#detail-name').innerText") == "camera 1.png"
    assert page.run("return document.querySelector('#video').srcObject === null")
    assert page.console() == []


def test_everything_by_keyboard(page: Any, photos: Path) -> None:
    focused = "return document.activeElement.id || document.activeElement.className"
    seen = []
    while "choose" not in seen:
        page.press("Tab")
        seen.append(page.run(focused))
        assert len(seen) < 12
    assert seen[0] == "skip" and {"theme", "model", "beside"} <= set(seen)
    root = page.devtools("DOM.getDocument")["root"]["nodeId"]
    node = page.devtools("DOM.querySelector", nodeId=root, selector="#files")["nodeId"]
    pictures = mixed(photos)[:3]
    page.devtools("DOM.setFileInputFiles", nodeId=node, files=[str(file) for file in pictures])
    page.until(ANSWERED)
    page.until(EXPLAINED)
    while "pick" not in page.run(focused):
        page.press("Tab")
        seen.append(page.run(focused))
        assert len(seen) < 60
    page.press("Tab", "Enter")  # the second picture
    name = "return document.querySelector('#detail-name').innerText"
    assert page.run(name) == pictures[1].name
    assert page.run(focused) == "detail"
    page.press("Tab", "Tab")
    assert page.run("return document.activeElement.ariaLabel") == "Next picture"
    page.press("Enter")
    assert page.run(name) == pictures[2].name
    assert page.run("return document.activeElement.ariaLabel") == "Next picture"
    page.until(EXPLAINED)
    page.press("Tab", "Enter")  # the picture opens larger
    assert page.run("return document.querySelector('dialog[open] img').naturalWidth > 0")
    page.press("Escape")
    assert page.run("return document.querySelector('dialog[open]')") is None


def test_two_models_stand_beside_each_other(page: Any, run: Run, photos: Path) -> None:
    choose_model(page, "beside", "always")
    page.drop("#drop", mixed(photos))
    page.until(ANSWERED)
    page.until("return document.querySelectorAll('.looked img').length === 3")
    names = "return [...document.querySelectorAll(arguments[0])].map((each) => each.innerText)"
    assert page.run(names, ".panel-name") == ["plain", "always"]
    assert page.run(names, ".trust-name") == ["plain", "always"]
    expected = [answer.prediction for answer in run.predict(mixed(photos))]
    rows = page.run(ROWS)
    assert [row[1] for row in rows] == expected and {row[3] for row in rows} == {"red"}
    differ = ["they differ" if name != "red" else "" for name in expected]
    assert [row[5] for row in rows] == differ and any(differ)
    why = page.run("return [...document.querySelectorAll('.panel .reading')][1].innerText")
    assert why.startswith("It says 'red' from 0\N{NO-BREAK SPACE}% on")
    assert page.console() == []


def test_names_are_data(page: Any, photos: Path, tmp_path: Path) -> None:
    file = tmp_path / f"{HOSTILE}.jpg"
    shutil.copy(min((photos / "red").iterdir()), file)
    page.drop("#drop", [file])
    page.until(EXPLAINED)
    page.run("document.querySelector('#about details').open = true")
    # An alert would make the next command fail.
    text = page.run("return document.querySelector('main').innerText")
    assert text.count(HOSTILE) >= 3  # the file, a bar, the training images
    assert page.run("return document.querySelectorAll('img[src=\"x\"]').length") == 0
    assert page.console() == []


def test_a_correction_is_kept_in_the_inbox(page: Any, photos: Path, inbox: Path) -> None:
    picture = max((photos / "blue").iterdir())
    page.drop("#drop", [picture])
    page.until(EXPLAINED)
    answer = page.run("return document.querySelector('.panel .answer strong').innerText")
    right = "blue" if answer == "red" else "red"
    correct = "const form = document.querySelector('.correct'); form.querySelector('select').value"
    page.run(f"{correct} = arguments[0]; form.querySelector('button').click();", right)
    kept = page.until("return document.querySelector('.kept')?.innerText")
    assert kept == f"Kept as {right}. The next training can learn from it."
    (file,) = (inbox / right).iterdir()
    assert file.read_bytes() == picture.read_bytes()
    # A class that no folder can be called after is refused, and the page says why.
    choose_model(page, "beside", "always")  # so that every class can be chosen
    page.drop("#drop", [min((photos / "blue").iterdir())])
    page.until("return document.querySelector('.correct')")
    page.until(EXPLAINED)
    # The form of the picture before may still be there: it is asked until the answer is right.
    page.until(
        "const said = document.querySelector('.correct .reading')?.innerText;"
        "if (said?.includes('folder')) return true;"
        "const form = document.querySelector('.correct'); if (!form) return false;"
        f"form.querySelector('select').value = {json.dumps(HOSTILE)};"
        "form.querySelector('button').click(); return false;"
    )


def test_a_service_that_is_gone_is_said_and_asked_again(page: Any, photos: Path) -> None:
    picture = min((photos / "red").iterdir())
    page.devtools("Network.enable")
    gone = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    page.devtools("Network.emulateNetworkConditions", offline=True, **gone)
    page.drop("#drop", [picture])
    sentence = page.until("return document.querySelector('.panel .refused')?.innerText")
    assert sentence == "The service does not answer. Is it still running?"
    page.devtools("Network.emulateNetworkConditions", offline=False, **gone)
    page.run("document.querySelector('.panel button').click()")
    page.until(EXPLAINED)


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (400, "dark")])
def test_it_fits_stands_out_and_says_what_every_control_does(
    browser: Any, address: str, photos: Path, tmp_path: Path, width: int, scheme: str
) -> None:  # fmt: skip
    text = tmp_path / f"{'long' * 30}.txt"
    text.write_text("milk")
    browser.open(address, width=width, scheme=scheme)
    browser.devtools("Emulation.setEmulatedMedia", media="", features=[
        {"name": "prefers-color-scheme", "value": scheme},
        {"name": "prefers-reduced-motion", "value": "reduce"},
    ])  # fmt: skip
    browser.until("return !document.querySelector('#try').hidden")
    assert browser.run(CONTRAST) == {}
    choose_model(browser, "beside", "always")
    browser.drop("#drop", [*mixed(photos), text])
    assert browser.run("return document.getAnimations().length") == 0
    browser.until(ANSWERED)
    browser.until(EXPLAINED)
    browser.run("for (const each of document.querySelectorAll('details')) each.open = true;")
    assert browser.run("return document.documentElement.scrollWidth") <= width
    assert browser.run(CONTRAST) == {}
    require_names(browser)
    paper = browser.run("return getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(20, 23, 26)") == (scheme == "dark")
    assert browser.console() == []


def test_a_token_is_asked_for_and_then_used(browser: Any, run: Run, photos: Path) -> None:
    token = "0123456789abcdef-right"
    with serving(ServiceSettings(served_runs([run.path]), token=token)) as address:
        browser.open(address)
        browser.until("return document.activeElement.id === 'token-text'")
        assert browser.run("return document.querySelector('main').innerText.includes('%')") is False
        assert browser.console() == []
        browser.press("wrong", "Enter")
        note = "return document.querySelector('#token-note').innerText"
        assert browser.until(note) == "That is not the token of this service."
        browser.console()  # the browser itself notes the refusal
        browser.run("document.querySelector('#token-text').value = ''")
        browser.press(token, "Enter")
        browser.until("return !document.querySelector('#try').hidden")
        browser.drop("#drop", [min((photos / "red").iterdir())])
        browser.until(EXPLAINED)
        assert browser.run("return document.querySelector('.correct')") is None  # not switched on
        assert browser.run("return document.querySelector('#choosing').hidden")  # only one model
        assert browser.console() == []
        browser.run("sessionStorage.clear()")


WORDS = "return import('/page/words.js').then((words) => words[arguments[0]](...arguments[1]))"
SPACE = "\N{NO-BREAK SPACE}"


@pytest.mark.parametrize(
    ("answer", "policy", "sentence"),
    [
        ({"prediction": "b"}, {}, "The likeliest of 3 classes."),
        (
            {"prediction": "a"}, {"decision": {"positive": "a", "threshold": 0.15}},
            "It says 'a' from 15 % on; here that has 20.0 %.",
        ),
        (
            {"prediction": "b"}, {"decision": {"positive": "a", "threshold": 0.25}},
            "It says 'a' from 25 % on; here that has only 20.0 %.",
        ),
        (
            {"prediction": "uncertain", "uncertain": True},
            {"abstention": {"above": 0.831, "at_most_wrong": 0.02}},
            "No answer: 'b' has 70.0 %, and it answers above 83.1 % only, so that at most 2 % of "
            "its answers are wrong.",
        ),
        (
            {"prediction": "unknown", "unknown": True}, {"unknown": True},
            "It is unlike the pictures that this classifier was trained on. The nearest of its "
            "classes is 'b', with 70.0 %.",
        ),
        (
            {"prediction": "b", "set": ["b", "a"]}, {"sets": {"coverage": 0.9}},
            "The likeliest of 3 classes. For 90 % of such pictures the true class is in the set; "
            "here that is 'b' or 'a'.",
        ),
        (
            {"prediction": "b", "set": ["b"]}, {"sets": {"coverage": 0.995}},
            "The likeliest of 3 classes. Nothing but 'b' is in the set that holds the true class "
            "for 99.5 % of such pictures.",
        ),
    ],
)  # fmt: skip
def test_the_decision_is_told_in_words(
    browser: Any, address: str, answer: dict[str, Any], policy: dict[str, Any], sentence: str
) -> None:
    if browser.run("return document.URL") != address:
        browser.open(address)
    whole = {"probabilities": {"a": 0.2, "b": 0.7, "c": 0.1}, **answer}
    said = browser.run(WORDS, "reason", [whole, policy])
    assert said.replace(SPACE, " ") == sentence


def test_csv_cells_are_quoted_as_python_quotes_them(browser: Any, address: str) -> None:
    if browser.run("return document.URL") != address:
        browser.open(address)
    names = ['a "b", c', "=1+1", "new\nline", "plain", "carriage\rreturn"]
    model = {"name": "m", "classes": ["x"], "rule": "",
             "columns": ["path", "prediction", "x", "set", "error", "model"]}  # fmt: skip
    answer = {"prediction": "x", "probabilities": {"x": 1 / 3}, "set": ["x", 'y"']}
    rows = [{"path": name, "answer": answer, "model": model} for name in names]
    text = browser.run(WORDS, "csv", [rows])
    assert list(csv.reader(io.StringIO(text, newline="")))[1:] == [
        [name, "x", "0.333333", '["x", "y\\""]', "", "m"] for name in names
    ]
