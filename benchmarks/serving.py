"""A service under load, against a plain FastAPI handler around the same model.

    python benchmarks/serving.py FOLDER RUN [RUN ...] [--seconds 5] [--rounds 2]
                                 [--clients 1 8 64] [--json results.json] [--page docs/serve.md]

For each run: starts ``tellapart serve RUN`` and the plain handler beside each other, each warm, and
asks them in turns with pictures of ``FOLDER``, each by so many clients at a time that ask again as
soon as they are answered. Where the package litserve is installed, the same model is asked through
it, too. Before that, ``predict`` over the same pictures, without any HTTP, says what could be
reached at most. The processor time of the services is told as well, which other work on the machine
changes little. Every answer is compared with what ``tellapart predict`` says of the file. Clients
run on the same machine: what they cost is the same for all. ``--page`` writes what was measured
into the place of the page that is marked for it.

Ends with 1 where an answer is wrong or missing, or where ours answers less than twice as many
requests a second as the plain handler from 64 clients, or fewer than it from one: the pass marks.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from collections import Counter, defaultdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "reliability"), str(HERE.parent / "src")]

from service import (  # noqa: E402
    Client,
    Lost,
    Service,
    expected,
    free_port,
    multipart,
    pictures,
    post,
    start,
)

BOUNDARY = "multipart/form-data; boundary=b"
#: How far apart from the plain handler one client may be: timings of seconds are noisy.
NO_WORSE = 0.95
MOST_SECONDS_OF_PREDICT = 3
#: What was measured stands between these in a page.
BEGIN, END = "<!-- measured by benchmarks/serving.py -->", "<!-- end of what was measured -->"
NAMES = {
    "tellapart": "`tellapart serve`",
    "plain": "plain FastAPI handler",
    "litserve": "LitServe, batches of up to 64",
}


def plain(run: str, port: int) -> None:
    """What one writes who has a model and FastAPI."""
    import uvicorn
    from fastapi import FastAPI, UploadFile

    from tellapart import open_predictor

    predictor = open_predictor(run)
    predictor.predict_one(np.zeros((64, 64, 3), np.uint8))
    app = FastAPI()

    @app.get("/ready")
    def ready() -> dict[str, str]:
        return {}

    def predict(images: UploadFile) -> dict[str, Any]:
        answer = predictor.predict_one(images.file.read())
        return {"answers": [answer.to_json()]}

    predict.__annotations__ = {"images": UploadFile, "return": dict[str, Any]}
    app.post("/v1/predict")(predict)
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", access_log=False)


def folder_path(run: str, files: list[Path]) -> dict[str, float]:
    """Pictures a second, and what one costs, where they are predicted as those of a folder."""
    from tellapart import open_predictor

    predictor = open_predictor(run)
    contents = [file.read_bytes() for file in files]
    predictor.predict(contents)
    begun, used, done = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - begun < MOST_SECONDS_OF_PREDICT:
        predictor.predict(contents * 4)
        done += 4 * len(contents)
    return {
        "images_a_second": round(done / (time.perf_counter() - begun), 1),
        "processor_ms_an_image": round(1000 * (time.process_time() - used) / done, 2),
    }


def processor_seconds(process: int) -> float:
    """What a process and those below it have used so far; other work on the machine counts not."""
    total = 0.0
    for number in [process, *children_of(process)]:
        fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def children_of(process: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{process}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            found += [child, *children_of(child)]
    return found


async def load(
    service: Service, requests: list[bytes], clients: int, seconds: float
) -> tuple[list[tuple[int, int, bytes]], list[float], float]:
    """(picture, status, body) of every answer, the seconds of each, and how long it all took."""
    answers: list[tuple[int, int, bytes]] = []
    times: list[float] = []
    until = time.perf_counter() + seconds

    async def client(number: int) -> None:
        asking, which = Client(service.port), number
        while time.perf_counter() < until:
            which = (which + 1) % len(requests)
            begun = time.perf_counter()
            status, body = await asking.ask(requests[which])
            times.append(time.perf_counter() - begun)
            answers.append((which, status, body))
        asking.close()

    begun = time.perf_counter()
    await asyncio.gather(*(client(number) for number in range(clients)))
    return answers, times, time.perf_counter() - begun


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--page", type=Path)
    parser.add_argument("--alone", choices=("plain", "predict"), help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.alone == "plain":
        plain(str(given.runs[0]), given.port)
        return 0
    if given.alone == "predict":
        print(json.dumps(folder_path(str(given.runs[0]), pictures(given.folder))))
        return 0
    results: dict[str, dict[str, Any]] = {}
    for run in given.runs:
        results[run.name] = compared(run, given)
        print(json.dumps({run.name: results[run.name]}, indent=1), flush=True)
        if given.json:
            given.json.write_text(json.dumps(results, indent=1) + "\n")
    if given.page:
        before, _, rest = given.page.read_text("utf-8").partition(BEGIN)
        _, _, after = rest.partition(END)
        given.page.write_text(f"{before}{BEGIN}{section(results)}{END}{after}", "utf-8")
    return int(not all(map(passed, results.values())))


def passed(result: dict[str, Any]) -> bool:
    """Whether nothing was wrong or lost, and the marks are reached."""
    ratios = result["ratios"]
    return (
        not result["faults"]
        and ratios.get("64", 2.0) >= 2.0 and ratios.get("1", 1.0) >= NO_WORSE
    )  # fmt: skip


def compared(run: Path, given: argparse.Namespace) -> dict[str, Any]:
    """All services of one run, measured."""
    files, busy = pictures(given.folder), os.getloadavg()[0]
    right = expected(run, files)
    alone = subprocess.run(
        [sys.executable, __file__, str(given.folder), str(run), "--alone", "predict"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    requests = [post(multipart(file.read_bytes()), kind=BOUNDARY) for file in files]
    services = started(run, given.folder)
    found: dict[str, dict[int, dict[str, list[float]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(list))
    )
    faults: Counter[str] = Counter()
    answered = 0
    try:
        for service in services.values():
            asyncio.run(load(service, requests, 8, 1))
        for _ in range(given.rounds):
            for clients in given.clients:
                for name, service in services.items():
                    used = processor_seconds(service.process.pid)
                    try:
                        answers, times, took = asyncio.run(
                            load(service, requests, clients, given.seconds)
                        )
                    except (Lost, OSError) as error:
                        faults[f"{name}: lost at {clients} clients ({error})"] += 1
                        continue
                    for which, status, body in answers:
                        answered += 1
                        if status != 200:
                            faults[f"{name}: status {status}"] += 1
                            continue
                        (answer,) = json.loads(body)["answers"]
                        if (answer["prediction"], answer["probabilities"]) != right[which]:
                            faults[f"{name}: wrong answer"] += 1
                    cell = found[name][clients]
                    cell["a_second"].append(len(answers) / took)
                    cell["times"] += times
                    cell["processor"].append(processor_seconds(service.process.pid) - used)
    finally:
        for service in services.values():
            service.process.terminate()
            service.process.wait()
    rows = {
        name: {str(clients): summary(cell) for clients, cell in cells.items()}
        for name, cells in found.items()
    }

    def ratio(numerator: str, denominator: str, what: str) -> dict[str, float]:
        return {
            str(n): round(rows[numerator][str(n)][what] / rows[denominator][str(n)][what], 2)
            for n in given.clients
        }

    return {
        "seconds": given.seconds, "rounds": given.rounds, "pictures": len(files),
        "load_before": round(busy, 1),
        "compared": answered, "faults": dict(faults),
        "ratios": ratio("tellapart", "plain", "requests_a_second"),
        "processor_ratios": ratio("plain", "tellapart", "processor_ms_a_request"),
        "predict": json.loads(alone.stdout), **rows,
    }  # fmt: skip


def section(results: dict[str, dict[str, Any]]) -> str:
    """What was measured, as Markdown."""
    lines: list[str] = []
    for name, result in results.items():
        alone = result["predict"]
        lines += [
            "",
            f"`{name}`, beside a load of {result['load_before']:.1f} of other work:",
            "",
            "| | clients | processor ms a request | requests a second | median ms | 95 % ms "
            "| 99 % ms |",
            "| --- | --- | --- | --- | --- | --- | --- |",
        ]
        for service, title in NAMES.items():
            lines += [
                f"| {title} | {clients} | {cell['processor_ms_a_request']:.1f} "
                f"| {cell['requests_a_second']:,.1f} | {cell['p50_ms']:,.0f} "
                f"| {cell['p95_ms']:,.0f} | {cell['p99_ms']:,.0f} |"
                for clients, cell in result.get(service, {}).items()
            ]
        ratios, cheaper = (
            ", ".join(f"{ratio:.2f} from {clients}" for clients, ratio in result[key].items())
            for key in ("ratios", "processor_ratios")
        )
        faults = ", ".join(result["faults"]) or "none was wrong or lost"
        lines += [
            f"| `predict`, without HTTP | - | {alone['processor_ms_an_image']:.1f} "
            f"| {alone['images_a_second']:,.1f} | - | - | - |",
            "",
            f"Requests a second as a multiple of the plain handler's: {ratios}. Processor time of "
            f"the plain handler as a multiple of the service's: {cheaper}. Of "
            f"{result['compared']:,} answers {faults}.",
        ]
    return "\n".join([*lines, "", ""])


def summary(cell: dict[str, list[float]]) -> dict[str, float]:
    """What so many clients saw of one service."""
    return {
        "requests_a_second": round(float(np.mean(cell["a_second"])), 1),
        **{
            f"p{q}_ms": round(1000 * float(np.percentile(cell["times"], q)), 1)
            for q in (50, 95, 99)
        },
        "processor_ms_a_request": round(
            1000 * sum(cell["processor"]) / max(1, len(cell["times"])), 2
        ),
        "requests": len(cell["times"]),
    }


def started(run: Path, folder: Path) -> dict[str, Service]:
    """All services that are compared, ready."""
    programs = {
        "tellapart": ["-m", "tellapart", "serve", str(run)],
        "plain": [__file__, str(folder), str(run), "--alone", "plain"],
    }
    if find_spec("litserve") is not None:
        programs["litserve"] = [str(HERE / "serving_litserve.py"), str(run)]
    found: dict[str, Service] = {}
    try:
        for name, arguments in programs.items():
            port = free_port()
            found[name] = start([sys.executable, *arguments, "--port", str(port)], port)
    except BaseException:
        for service in found.values():
            service.process.terminate()
        raise
    return found


if __name__ == "__main__":
    sys.exit(main())
