"""The service: pictures in, the answers of `tellapart predict` out, whatever way they are sent."""

from __future__ import annotations

import gc
import json
import logging
import shutil
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import asdict, replace
from io import BytesIO
from pathlib import Path
from time import monotonic, sleep
from typing import Any
from weakref import ref

import pytest
from fakes import picture
from PIL import Image
from starlette.testclient import TestClient

from tellapart.evaluation.abstention import Abstention
from tellapart.evaluation.decision import Decision
from tellapart.folders import exchange
from tellapart.run import Run
from tellapart.run_info import write_info

#: As `Service` of conftest.py.
Service = Callable[..., Any]
JPEG = {"content-type": "image/jpeg"}


def said(response: Any) -> list[tuple[str, dict[str, float]]]:
    assert response.status_code == 200, response.text
    return [(a["prediction"], a["probabilities"]) for a in response.json()["answers"]]


def refused(response: Any, status: int, *words: str) -> None:
    """It is refused, in a sentence with these words."""
    assert response.status_code == status, (response.status_code, response.text)
    assert list(response.json()) == ["error"]
    for word in words:
        assert word in response.json()["error"]


# --- answers ---------------------------------------------------------------------------------


def test_every_way_of_sending_gets_the_answers_of_predict(
    client: TestClient, run: Run, photos: Path
) -> None:
    files = sorted(photos.rglob("*.jpg"))[:3]
    expected = [(a.prediction, a.probabilities) for a in run.predict(files)]
    contents = [file.read_bytes() for file in files]
    parts = [("images", (file.name, file.read_bytes())) for file in files]
    sent = client.post("/v1/predict", files=parts)
    assert said(sent) == expected
    assert [a["name"] for a in sent.json()["answers"]] == [file.name for file in files]
    texts = [{"content": b64encode(content).decode()} for content in contents]
    assert said(client.post("/v1/predict", json={"images": texts})) == expected
    for content, answer in zip(contents, expected, strict=True):
        for kind in ("image/jpeg", "application/octet-stream"):
            raw = client.post("/v1/predict", content=content, headers={"content-type": kind})
            assert said(raw) == [answer]


def test_top_ranks_the_likeliest_classes(client: TestClient, photos: Path) -> None:
    content = next(photos.rglob("*.jpg")).read_bytes()
    (answer,) = client.post("/v1/predict", content=content, headers=JPEG).json()["answers"]
    ranked = sorted(answer["probabilities"].items(), key=lambda item: -item[1])
    assert [(row["class"], row["probability"]) for row in answer["likeliest"]] == ranked
    one = client.post("/v1/predict?top=1", content=content, headers=JPEG).json()["answers"][0]
    assert [row["class"] for row in one["likeliest"]] == [ranked[0][0]]
    refused(client.post("/v1/predict?top=0", content=content, headers=JPEG), 422, "top")


def test_the_rules_of_the_run_are_obeyed_and_told(
    run: Run, photos: Path, service: Service, tmp_path: Path
) -> None:
    """A threshold that nothing reaches, and an abstention from everything."""
    shutil.copytree(run.path, tmp_path / "ruled")
    ruled = Run(tmp_path / "ruled")
    first, second = run.classes
    ruled.update(decision=Decision(first, 2.0).to_dict())
    with service(ruled.path) as opened:
        about = opened.get("/v1/models").json()["models"][0]
        content = next(photos.rglob("*.jpg")).read_bytes()
        (answer,) = opened.post("/v1/predict", content=content, headers=JPEG).json()["answers"]
    assert answer["prediction"] == second
    assert about["policy"]["decision"]["positive"] == first and first in about["rules"][0]
    abstention = Abstention(above=1.0, at_most_wrong=0.01, images=9, answered=0.0)
    ruled.update(decision=None, policy={"abstention": abstention.to_dict()})
    with service(ruled.path) as opened:
        (answer,) = opened.post("/v1/predict", content=content, headers=JPEG).json()["answers"]
    assert (answer["prediction"], answer["uncertain"]) == ("uncertain", True)


def test_a_name_is_data_and_no_path(client: TestClient) -> None:
    names = ["../../etc/passwd", "a\x1b[31m.png", "<b>.png", "\u202egnp.png"]
    texts = [{"content": b64encode(picture(9)).decode(), "name": name} for name in names]
    answers = client.post("/v1/predict", json={"images": texts}).json()["answers"]
    assert [a["name"] for a in answers] == [
        "../../etc/passwd", "a\\x1b[31m.png", "<b>.png", "\\u202egnp.png",
    ]  # fmt: skip


def test_of_several_pictures_those_that_can_be_read_are_answered(client: TestClient) -> None:
    parts = [("images", ("a.png", picture(9))), ("images", ("b.png", b"text"))]
    good, bad = client.post("/v1/predict", files=parts).json()["answers"]
    assert good["prediction"] and "error" not in good
    assert list(bad) == ["name", "error"]
    refused(client.post("/v1/predict", files=parts[1:]), 422, "b.png", "cannot be read")


def test_who_prefers_it_gets_an_answer_for_every_picture(client: TestClient) -> None:
    parts = [("images", ("b.png", b"text"))]
    for prefer in ("handling=lenient", 'respond-async, Handling="lenient"; a=b'):
        told = client.post("/v1/predict", files=parts, headers={"prefer": prefer})
        assert told.status_code == 200 and told.headers["preference-applied"] == "handling=lenient"
        (answer,) = told.json()["answers"]
        assert list(answer) == ["name", "error"]
    for prefer in ("handling=strict", "lenient", "handling=lenientless", "x=handling=lenient"):
        refused(client.post("/v1/predict", files=parts, headers={"prefer": prefer}), 422, "b.png")
    good = client.post("/v1/predict", files=[("images", ("a.png", picture(9)))])
    assert "preference-applied" not in good.headers


# --- what is refused -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"", "image/png", 422),
        (picture(9)[:40], "image/png", 422),
        (picture(9), "text/plain", 415),
        (picture(9), "", 415),
        (b"{", "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b"[]", "application/json", 422),
        (b'{"images": []}', "application/json", 422),
        (b'{"images": [{"content": "*"}]}', "application/json", 422),
        (b'{"images": [{"content": 3}]}', "application/json", 422),
        (b'{"images": [{"content": "AAAA", "path": "/etc/passwd"}]}', "application/json", 422),
        (b"x", "multipart/form-data", 400),
        (b"x", "multipart/form-data; boundary=b", 400),
        (b'--b\r\nContent-Disposition: form-data; name="images"; filename="a"\r\n\r\nx',
         "multipart/form-data; boundary=b", 400),
        (b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nx\r\n--b--\r\n',
         "multipart/form-data; boundary=b", 422),
        (b'--b\r\nContent-Disposition: form-data; name="x"; filename="a"\r\n\r\nx\r\n--b--\r\n',
         "multipart/form-data; boundary=b", 422),
        (b"--b\r\n" + b"X: " + b"y" * 20_000 + b"\r\n\r\nx\r\n--b--\r\n",
         "multipart/form-data; boundary=b", 400),
    ],
)  # fmt: skip
def test_a_body_that_is_none_is_a_sentence(
    client: TestClient, body: bytes, kind: str, status: int
) -> None:
    refused(client.post("/v1/predict", content=body, headers={"content-type": kind}), status)


def test_what_is_too_large_is_refused_before_it_is_decoded(run: Run, service: Service) -> None:
    limits = {"request_bytes": 3000, "pixels": 10_000, "images": 2}
    with service(run.path, limits=limits) as opened:
        large = picture(9, size=101)
        assert len(large) < 3000
        refused(opened.post("/v1/predict", content=large, headers=JPEG), 413, "101 x 101")
        refused(opened.post("/v1/predict", content=b"x" * 3001, headers=JPEG), 413, "MiB")
        pieces = opened.post("/v1/predict", content=iter([b"x" * 2000] * 2), headers=JPEG)
        refused(pieces, 413, "MiB")
        three = [("images", ("a.png", picture(9)))] * 3
        refused(opened.post("/v1/predict", files=three), 422, "2 pictures")
        texts = {"images": [{"content": b64encode(picture(9)).decode()}] * 3}
        refused(opened.post("/v1/predict", json=texts), 422, "2 pictures")
        assert said(opened.post("/v1/predict", files=three[:2]))


def test_more_than_may_wait_is_told_when_to_come_again(run: Run, service: Service) -> None:
    with service(run.path, limits={"waiting_images": 3, "waiting_bytes": 2000}) as opened:
        work = opened.app.state.work  # type: ignore[attr-defined]
        work.waiting = 3
        late = opened.post("/v1/predict", content=picture(9), headers=JPEG)
        refused(late, 429, "Try again")
        assert int(late.headers["retry-after"]) >= 1
        work.waiting = 0
        late = opened.post("/v1/predict", content=b"x" * 2001, headers=JPEG)
        refused(late, 429, "Try again")
        assert said(opened.post("/v1/predict", content=picture(9), headers=JPEG))
        assert (work.waiting, work.memory.used) == (0, 0)


def test_without_the_token_nothing_is_answered(run: Run, service: Service) -> None:
    with service(run.path, token="0123456789abcdef") as opened:
        ask = {"content": picture(9), "headers": JPEG}
        for token in ("", "Bearer ", "Bearer 0123456789abcdeg", "Basic 0123456789abcdef"):
            headers = {**JPEG, **({"authorization": token} if token else {})}
            answer = opened.post("/v1/predict", content=picture(9), headers=headers)
            refused(answer, 401, "Authorization: Bearer")
            assert answer.headers["www-authenticate"] == "Bearer"
        for address in ("/v1/models", "/metrics"):
            refused(opened.get(address), 401)
        assert opened.get("/health").status_code == opened.get("/").status_code == 200
        opened.headers["authorization"] = "Bearer 0123456789abcdef"
        assert said(opened.post("/v1/predict", **ask))
        assert opened.get("/metrics").status_code == 200


def test_pages_of_other_sites_may_not_post(client: TestClient) -> None:
    headers = {**JPEG, "sec-fetch-site": "cross-site"}
    refused(client.post("/v1/predict", content=picture(9), headers=headers), 403, "other sites")


def test_headers_without_an_end_are_refused(client: TestClient) -> None:
    refused(client.get("/health", headers={"x": "y" * 70_000}), 431)


# --- explanations, corrections, models -------------------------------------------------------


def test_an_explanation_shows_the_picture_and_its_nearest_training_images(
    client: TestClient, run: Run, photos: Path
) -> None:
    train = next(image for image in run.images if image.part == "train")
    content = (photos / train.path).read_bytes()
    told = client.post("/v1/explain", content=content, headers=JPEG).json()
    predicted = said(client.post("/v1/predict", content=content, headers=JPEG))
    assert (told["answer"]["prediction"], told["answer"]["probabilities"]) == predicted[0]
    assert told["explained"] == told["answer"]["prediction"]
    assert [overlay["method"] for overlay in told["overlays"]] == ["grad-cam", "occlusion"]
    for overlay in told["overlays"]:
        assert Image.open(BytesIO(b64decode(overlay["png"]))).format == "PNG"
    nearest = told["neighbours"][0]
    assert nearest["path"] == train.path and nearest["distance"] < 1e-6  # it is itself
    assert any("This very picture is among the training images" in n for n in told["notes"])
    new = next(image for image in run.images if image.part == "test")
    other = (photos / new.path).read_bytes()
    told_of_other = client.post("/v1/explain", content=other, headers=JPEG).json()
    assert not any("very picture" in note for note in told_of_other["notes"])
    assert Image.open(BytesIO(b64decode(nearest["thumbnail"]))).format == "WEBP"
    first = client.post("/v1/explain?overlays=1", content=content, headers=JPEG).json()
    assert first["overlays"] == told["overlays"][:1]
    refused(client.post("/v1/explain?overlays=0", content=content, headers=JPEG), 422, "overlays")
    distances = [neighbour["distance"] for neighbour in told["neighbours"]]
    assert distances == sorted(distances) and len(distances) > 1
    other = next(name for name in run.classes if name != told["explained"])
    asked = client.post(f"/v1/explain?target={other}", content=content, headers=JPEG)
    assert asked.json()["explained"] == other
    unknown = client.post("/v1/explain?target=rde", content=content, headers=JPEG)
    refused(unknown, 404, "rde", "Did you mean 'red'")
    two = [("images", ("a.png", picture(9)))] * 2
    refused(client.post("/v1/explain", files=two), 422, "one picture")
    refused(client.post("/v1/explain", content=b"x", headers=JPEG), 422, "cannot be read")


def test_a_visit_of_the_page_prepares_explanations(run: Run, service: Service) -> None:
    with service(run.path) as opened:
        work = opened.app.state.work
        explainer = work._explainer(work.models.named(None))
        assert "_inside" not in vars(explainer)
        assert opened.get("/page/models").status_code == 200
        wait_for(lambda: vars(explainer), lambda there: {"_inside", "_training"} <= set(there))


def test_without_the_training_images_the_explanation_says_so(
    run: Run, photos: Path, service: Service, tmp_path: Path
) -> None:
    shutil.copytree(run.path, tmp_path / "moved")
    Run(tmp_path / "moved").update(source={**run.info.source, "folder": str(tmp_path / "gone")})
    with service(tmp_path / "moved") as opened:
        told = opened.post("/v1/explain", content=picture(9), headers=JPEG).json()
    assert told["neighbours"] == [] and "left out" in told["notes"][0]
    assert len(told["overlays"]) == 2


def test_a_correction_is_kept_once_under_what_it_is(
    client: TestClient, run: Run, service: Service
) -> None:
    folder: Path = client.app.state.settings.feedback  # type: ignore[attr-defined]
    content = picture(77)
    for label in ("red", "red", "blue"):
        kept = client.post(f"/v1/feedback?label={label}", content=content, headers=JPEG)
        assert (kept.status_code, kept.json()) == (201, {"kept": True, "label": label})
    files = [file for file in folder.rglob("*") if file.is_file()]
    assert [file.parent.name for file in files] == ["blue"]  # what was said last
    assert files[0].read_bytes() == content and files[0].suffix == ".png"
    for label, word in (("../red", "does not know"), ("green", "does not know")):
        wrong = client.post(f"/v1/feedback?label={label}", content=content, headers=JPEG)
        refused(wrong, 404, word)
    refused(client.post("/v1/feedback?label=red", content=b"x", headers=JPEG), 422, "read")
    refused(client.post("/v1/feedback", content=content, headers=JPEG), 422, "label")
    with service(run.path) as closed:
        off = closed.post("/v1/feedback?label=red", content=content, headers=JPEG)
        refused(off, 403, "--feedback")


def test_what_a_model_is_stands_in_the_run(client: TestClient, run: Run) -> None:
    told = client.get("/v1/models").json()
    (about,) = told["models"]
    accuracy = run.accuracy("test")
    assert (about["name"], about["classes"]) == (run.name, list(run.classes))
    assert about["accuracy"] == {
        "part": "test", "images": run.metrics["test"]["images"], "value": accuracy.value,
        "low": accuracy.low, "high": accuracy.high, "reason": "",
    }  # fmt: skip
    assert about["trained_on"] == run.info.data.counts["train"]
    assert (told["feedback"], told["limits"]["images"]) == (True, 64)


def test_several_runs_answer_side_by_side(
    run: Run, photos: Path, service: Service, tmp_path: Path
) -> None:
    shutil.copytree(run.path, tmp_path / "never")
    first, second = run.classes
    Run(tmp_path / "never").update(decision=Decision(first, 2.0).to_dict())
    files = sorted(photos.rglob("*.jpg"))
    content = next(f for f in files if run.predict(f)[0].prediction == first).read_bytes()
    with service(run.path, f"strict={tmp_path / 'never'}") as opened:
        ask = {"content": content, "headers": JPEG}
        names = [about["name"] for about in opened.get("/v1/models").json()["models"]]
        assert names == [run.name, "strict"]
        answers = {
            name: opened.post("/v1/predict", params={"model": name}, **ask).json() for name in names
        }
        assert opened.post("/v1/predict", **ask).json() == answers[run.name]
        refused(opened.post("/v1/predict?model=strcit", **ask), 404, "Did you mean 'strict'")
    assert [answers[name]["model"] for name in names] == names
    assert [answers[name]["answers"][0]["prediction"] for name in names] == [first, second]
    assert answers[names[0]]["version"] != answers[names[1]]["version"]


def test_a_run_that_is_replaced_takes_over_and_a_damaged_one_does_not(
    run: Run, photos: Path, service: Service, tmp_path: Path
) -> None:
    place, newer = tmp_path / "live", tmp_path / "newer"
    shutil.copytree(run.path, place)
    shutil.copytree(run.path, newer)
    first, second = run.classes
    Run(newer).update(decision=Decision(first, 2.0).to_dict())
    content = next(
        f for f in sorted(photos.rglob("*.jpg")) if run.predict(f)[0].prediction == first
    ).read_bytes()
    with service(place) as opened:

        def ask() -> tuple[str, str]:
            told = opened.post("/v1/predict", content=content, headers=JPEG).json()
            return told["version"], told["answers"][0]["prediction"]

        old = ask()
        assert old[1] == first
        assert opened.post("/v1/explain", content=content, headers=JPEG).status_code == 200
        replaced = ref(opened.app.state.work.models.named(None))
        exchange(newer, place)
        seen = wait_for(lambda: ask(), lambda found: found != old)
        assert seen[1] == second
        wait_for(lambda: (gc.collect(), replaced())[1], lambda kept: kept is None)  # none stays
        (place / "model.safetensors").write_bytes(b"damaged")
        info = replace(Run(place).info, seed=Run(place).info.seed)
        write_info(place / "run.json", asdict(info))  # which is when it is looked at again
        problem = wait_for(
            lambda: opened.get("/v1/models").json()["models"][0]["problem"], lambda text: text
        )
        assert "model.safetensors" in problem
        assert ask() == seen
        shutil.rmtree(place)
        sleep(0.2)
        assert ask() == seen


def wait_for(look: Callable[[], Any], wanted: Callable[[Any], Any]) -> Any:
    """What is seen once it is what is wanted."""
    until = monotonic() + 60
    while not wanted(found := look()):
        assert monotonic() < until, found
        sleep(0.02)
    return found


# --- operation -------------------------------------------------------------------------------


def test_metrics_count_requests_batches_and_answers(run: Run, service: Service) -> None:
    with service(run.path) as opened:
        parts = [("images", (f"{red}.png", picture(red))) for red in (0, 255)]
        answers = said(opened.post("/v1/predict", files=parts))
        opened.post("/v1/predict", content=b"x", headers=JPEG)
        lines = opened.get("/metrics").text.splitlines()
    numbers = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    of = {name: float(value) for name, value in numbers.items()}
    assert of['tellapart_requests_total{path="/v1/predict",status="200"}'] == 1
    assert of['tellapart_requests_total{path="/v1/predict",status="422"}'] == 1
    assert of[f'tellapart_batch_images_sum{{model="{run.name}"}}'] == 2
    counted = sum(v for name, v in of.items() if name.startswith("tellapart_answers_total"))
    assert counted == len(answers) == 2
    assert of["tellapart_waiting_images"] == 0


def test_the_log_holds_no_content_and_no_name_of_a_picture(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        client.post("/v1/predict", files=[("images", ("secret.png", picture(9)))])
        client.post("/v1/predict", files=[("images", ("secret.png", b"secret"))])
    ours = [r for r in caplog.records if not r.name.startswith(("httpx", "python_multipart"))]
    assert "secret" not in "\n".join(record.getMessage() for record in ours)


def test_every_address_and_status_is_in_the_schema(client: TestClient) -> None:
    schema = client.get("/openapi.json").json()
    assert schema["openapi"].startswith("3.1")
    predict = schema["paths"]["/v1/predict"]["post"]
    assert set(predict["requestBody"]["content"]) == {
        "multipart/form-data", "image/*", "application/octet-stream", "application/json",
    }  # fmt: skip
    assert {"200", "400", "401", "404", "408", "413", "415", "422", "429", "503"} <= set(
        predict["responses"]
    )
    (prefer,) = [p for p in predict["parameters"] if p["in"] == "header"]
    assert prefer["name"] == "prefer" and not prefer["required"]
    assert "handling=lenient" in prefer["description"]
    assert len({o["operationId"] for p in schema["paths"].values() for o in p.values()}) == 7
    assert json.dumps(schema).count("HTTPValidationError") == 0
