"""A service under load, against a plain FastAPI handler around the same model.

    python benchmarks/serving.py RUN FOLDER [--seconds 5] [--rounds 2] [--clients 1 8 64]
                                 [--json results.json]

Starts ``tellapart serve RUN`` and the plain handler beside each other, each warm, and asks them in
turns with pictures of ``FOLDER``, each by so many clients at a time that ask again as soon as they
are answered. Where the package litserve is installed, the same model is asked through it, too.
The processor time of the services is told as well, which other work on the machine changes little.
Every answer is compared with what ``tellapart predict`` says of the file. Clients run on the same
machine: what they cost is the same for all.

Ends with 1 where an answer is wrong or missing, or where ours answers less than twice as many
requests a second as the plain handler from 64 clients, or fewer than it from one: the pass marks.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
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
    parser.add_argument("run", type=Path)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plain", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.plain:
        plain(str(given.run), given.port)
        return 0
    files = pictures(given.folder)
    right = expected(given.run, files)
    requests = [post(multipart(file.read_bytes()), kind=BOUNDARY) for file in files]
    services = started(given.run)
    found: dict[str, dict[int, dict[str, list[float]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(list))
    )
    faults: Counter[str] = Counter()
    compared = 0
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
                        compared += 1
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
    rows = {
        name: {
            str(clients): {
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
            for clients, cell in cells.items()
        }
        for name, cells in found.items()
    }
    cheaper = {
        str(clients): round(
            rows["plain"][str(clients)]["processor_ms_a_request"]
            / rows["tellapart"][str(clients)]["processor_ms_a_request"], 2,
        )
        for clients in given.clients
    }  # fmt: skip
    ratios = {
        str(clients): round(
            rows["tellapart"][str(clients)]["requests_a_second"]
            / rows["plain"][str(clients)]["requests_a_second"], 2,
        )
        for clients in given.clients
    }  # fmt: skip
    result = {"seconds": given.seconds, "rounds": given.rounds, "pictures": len(files),
              "compared": compared, "faults": dict(faults), "ratios": ratios,
              "processor_ratios": cheaper, **rows}  # fmt: skip
    print(json.dumps(result, indent=1))
    if given.json:
        given.json.write_text(json.dumps(result, indent=1) + "\n")
    slow = ratios.get("64", 2.0) < 2.0 or ratios.get("1", 1.0) < NO_WORSE
    return int(bool(faults) or slow)


def started(run: Path) -> dict[str, Service]:
    """All services that are compared, ready."""
    programs = {
        "tellapart": ["-m", "tellapart", "serve", str(run)],
        "plain": [__file__, str(run), "--plain"],
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
