"""Where the processor time of a request goes, by thread, in the service and in the plain handler.

    python benchmarks/serving_threads.py FOLDER RUN [--clients 64] [--seconds 6] [--plain]

The service (or with ``--plain`` the handler of ``serving.py``) runs in this process, the clients in
another. Threads without a name are OpenVINO's. Linux only.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "reliability"), str(HERE.parent / "src")]

from service import Service, free_port, multipart, pictures, post  # noqa: E402
from serving import BOUNDARY, load, plain  # noqa: E402

#: Threads by the beginning of their names; "ThreadPoolExecutor" hands images to OpenVINO.
KINDS = {
    "serving": "HTTP, bodies, JSON (the loop)",
    "AnyIO": "the plain handler's own threads: decoding, waiting for the network",
    "tellapart-decode": "decoding and scaling",
    "tellapart-network": "gathering, answers",
    "ThreadPoolExecutor": "images into and out of OpenVINO",
    "": "the network (OpenVINO)",
}


def processor_seconds() -> Counter[str]:
    """Of each kind of thread, so far."""
    names = {thread.native_id: thread.name for thread in threading.enumerate()}
    found: Counter[str] = Counter()
    for task in Path("/proc/self/task").iterdir():
        name = names.get(int(task.name), "")
        kind = next((kind for kind in KINDS if kind and name.startswith(kind)), "")
        if kind or not name:
            found[kind] += int((task / "schedstat").read_text().split()[0])
        else:
            found["others"] += int((task / "schedstat").read_text().split()[0])
    return Counter({kind: value / 1e9 for kind, value in found.items()})


def serve(run: str, port: int) -> None:
    """The service, without signals, which only a main thread can have."""
    import uvicorn

    from tellapart.service.app import create_app
    from tellapart.service.server import _config, _listening, _settle
    from tellapart.service.settings import ServiceSettings, served_runs

    settings = ServiceSettings(served_runs([run]))
    app = create_app(settings, on_change=_settle)
    uvicorn.Server(_config(app, settings, 1)).run(sockets=[_listening("127.0.0.1", port)])


def ask(folder: Path, port: int, clients: int, seconds: float) -> int:
    """Ask until the time is over; how many were answered."""
    files = pictures(folder)
    requests = [post(multipart(file.read_bytes()), kind=BOUNDARY) for file in files]
    service = Service(None, port)  # type: ignore[arg-type]
    answers, _, _ = asyncio.run(load(service, requests, clients, seconds))
    assert all(status == 200 for _, status, _ in answers)  # noqa: S101
    return len(answers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("run")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--ask", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.ask is not None:
        print(ask(given.folder, given.ask, given.clients, given.seconds))
        return
    port = free_port()
    start = plain if given.plain else serve
    threading.Thread(target=start, args=(given.run, port), name="serving", daemon=True).start()
    asking = [sys.executable, __file__, str(given.folder), given.run, "--ask", str(port)]
    options = ["--clients", str(given.clients), "--seconds"]
    wait_until_ready(port)
    subprocess.run([*asking, *options, "1"], check=True, capture_output=True)
    before = processor_seconds()
    done = subprocess.run(
        [*asking, *options, str(given.seconds)], check=True, capture_output=True, text=True
    )
    used = processor_seconds()
    used.subtract(before)
    number = int(done.stdout)
    told = {KINDS.get(kind, kind): round(1000 * value / number, 2) for kind, value in used.items()}
    print(json.dumps({"requests": number, "processor_ms_a_request": {
        **dict(sorted(told.items(), key=lambda item: -item[1])),
        "all": round(1000 * sum(used.values()) / number, 2),
    }}, indent=1), flush=True)  # fmt: skip
    os._exit(0)  # the server is in a thread that nobody stops


def wait_until_ready(port: int) -> None:
    from urllib.error import URLError
    from urllib.request import urlopen

    while True:
        try:
            urlopen(f"http://127.0.0.1:{port}/ready", timeout=10).close()
            return
        except (URLError, OSError):
            time.sleep(0.1)


if __name__ == "__main__":
    main()
