"""Attack a running service: malformed requests, a stop under load, a run exchanged under load.

    python benchmarks/reliability/service.py RUN FOLDER [--malformed 1000] [--seconds 6]
                                             [--other RUN] [--json results.json]

Starts ``tellapart serve RUN`` on loopback and asks it with pictures of ``FOLDER``; what it must say
is what ``tellapart predict`` says of the same files.

- **malformed**: so many requests that are none (pictures cut off, bombs, wrong types, damaged
  multipart and JSON, huge headers, slow bodies, path tricks, garbage in the place of HTTP). Each
  must be answered 4xx; in between, good requests must be answered as before, and the peak of memory
  must not grow by more than 200 MiB.
- **stop**: SIGTERM while 16 clients ask. Every request that the service took must be answered in
  full, and right: it says how many it took when it ends.
- **replace**: the folder of the run is exchanged with that of another (``--other``) again and again
  while 8 clients ask. Every answer must be wholly that of the one or of the other.

Ends with 1 where one of them fails.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

HERE = Path(__file__).resolve().parent
SOURCE = HERE.parents[1] / "src"
sys.path.insert(0, str(SOURCE))

from tellapart.folders import exchange  # noqa: E402

#: More than this above a warm service is not bounded.
MOST_GROWTH = 200 << 20
#: Until a run that was exchanged answers.
MOST_SECONDS = 120
#: For slow bodies; short, so that they need not be waited for.
SLOW_SECONDS = 6


# --- a service, and a client that costs next to nothing -------------------------------------------


@dataclass
class Service:
    """A running ``tellapart serve``, or another program that answers at ``/ready``."""

    process: subprocess.Popen[str]
    port: int
    #: How often it was asked whether it is ready, and answered.
    asked: int = 0

    def peak_bytes(self) -> int:
        """The most memory that it has held."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(text.split("VmHWM:")[1].split()[0]) * 1024

    def stop(self) -> str:
        """End it; what it printed."""
        self.process.send_signal(signal.SIGTERM)
        out, _ = self.process.communicate(timeout=120)
        return out


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def start(command: Sequence[str], port: int, seconds: float = 300) -> Service:
    """Start a service and wait until it is ready."""
    path = f"{SOURCE}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    process = subprocess.Popen(
        list(command), stdout=subprocess.PIPE, stderr=sys.stderr, text=True,
        env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    until, asked = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        if process.poll() is not None:
            raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
        try:
            status, _ = asyncio.run(Client(port).once(b"GET /ready HTTP/1.1\r\nHost: x\r\n\r\n"))
            asked += 1
            if status == 200:
                return Service(process, port, asked)
        except OSError:
            pass
        time.sleep(0.1)
    process.kill()
    raise SystemExit("the service was not ready in time")


def serve(runs: Sequence[str | Path], *options: str) -> Service:
    port = free_port()
    given = [sys.executable, "-m", "tellapart", "serve", *map(str, runs), "--port", str(port)]
    return start([*given, "--json", *options], port)


class Lost(Exception):
    """The connection ended in the middle of an answer, or before it."""


class Client:
    """One connection to a service, opened anew where it was closed."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._reader: Any = None
        self._writer: Any = None
        #: Whether the connection has answered something already.
        self.used = False

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Send a request and read its answer: the status and the body.

        Raises:
            OSError: no connection could be made.
            Lost: it ended before the answer was whole.
        """
        if self._writer is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self.port)
            self.used = False
        reader, writer = self._reader, self._writer
        try:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            lines = head.decode("latin-1").split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
            body = await reader.readexactly(int(headers.get("content-length", "0")))
        except (OSError, asyncio.IncompleteReadError) as error:
            self.close()
            raise Lost(str(error)) from error
        self.used = True
        if headers.get("connection") == "close":
            self.close()
        return int(lines[0].split()[1]), body

    async def once(self, request: bytes) -> tuple[int, bytes]:
        try:
            return await self.ask(request)
        finally:
            self.close()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None


def post(
    content: bytes, address: str = "/v1/predict", kind: str = "image/jpeg", more: str = ""
) -> bytes:
    """A request as it is sent."""
    return (
        f"POST {address} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\n{more}"
        f"Content-Length: {len(content)}\r\n\r\n"
    ).encode("latin-1") + content


def multipart(content: bytes, name: str = "a.jpg", field: str = "images") -> bytes:
    """One file in a multipart body, as a browser sends it."""
    head = f'--b\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n\r\n'
    return head.encode() + content + b"\r\n--b--\r\n"


def said(body: bytes) -> tuple[str, dict[str, float]]:
    """The first answer of a response."""
    (answer,) = json.loads(body)["answers"]
    return answer["prediction"], answer["probabilities"]


def expected(run: str | Path, files: Sequence[Path]) -> list[tuple[str, dict[str, float]]]:
    """What ``tellapart predict`` says of files."""
    command = [sys.executable, "-m", "tellapart", "predict", str(run), *map(str, files), "--json"]
    path = f"{SOURCE}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}
    )
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return [(row["prediction"], row["probabilities"]) for row in rows]


# --- malformed requests ---------------------------------------------------------------------


def _encoded(form: str, seed: int) -> bytes:
    buffer = BytesIO()
    noise = random.Random(seed).randbytes(48 * 40 * 3)
    Image.frombytes("RGB", (48, 40), noise).save(buffer, form)
    return buffer.getvalue()


def _chunk(name: bytes, content: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + checksum


def _bomb(side: int) -> bytes:
    """A PNG that claims side x side pixels, in a few kilobytes."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(1 << 22), 9)
    return (b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", rows)
            + _chunk(b"IEND", b""))  # fmt: skip


def cut_off(draw: random.Random) -> bytes:
    form = draw.choice(["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"])
    content = _encoded(form, draw.randrange(9))
    return post(content[: draw.randrange(1, len(content) * 9 // 10)], kind="image/jpeg")


def bomb(draw: random.Random) -> bytes:
    side = draw.choice([8_000, 20_000, 60_000, 2**31 - 1])
    content = _bomb(side)
    if draw.random() < 0.3:
        content = b"GIF89a\xff\xff\xff\xff\x00\x00\x00" + bytes(20)
    return post(content, draw.choice(["/v1/predict", "/v1/explain"]), "image/png")


def wrong_type(draw: random.Random) -> bytes:
    texts = [b"hello", b"%PDF-1.7", b"<html></html>", b"PK\x03\x04", bytes(1000), b"{}",
             b"\xff\xd8", draw.randbytes(500), b"#!/bin/sh\nreboot\n", b"GIF89a"]  # fmt: skip
    kinds = ["image/jpeg", "text/plain", "image/svg+xml", "application/octet-stream", "",
             "a/b;c=d", "application/x-www-form-urlencoded", "\xff/\xfe"]  # fmt: skip
    return post(draw.choice(texts), kind=draw.choice(kinds))


def damaged_multipart(draw: random.Random) -> bytes:
    good = multipart(_encoded("PNG", 1))
    kind = "multipart/form-data; boundary=b"
    choice = draw.randrange(6)
    if choice == 0:
        return post(good[: draw.randrange(len(good) - 8)], kind=kind)
    if choice == 1:
        return post(good, kind=f"multipart/form-data{draw.choice(['', '; boundary='])}")
    if choice == 2:
        return post(good, kind="multipart/form-data; boundary=another")
    if choice == 3:
        return post(good.replace(b'; filename="a.jpg"', b""), kind=kind)
    if choice == 4:
        return post(b"--b\r\n" + b"X" * draw.randrange(20_000, 90_000), kind=kind)
    return post(b"--b\r\n\r\n\r\n" * draw.randrange(70, 3000), kind=kind)


def damaged_json(draw: random.Random) -> bytes:
    texts = [
        b"", b"{", b"[]", b"null", b"[" * 100_000, b'{"images": 3}', b'{"images": [3]}',
        b'{"images": [{"content": "%%%"}]}', b'{"images": [{"content": null}]}',
        b'{"images": [{"content": "AAAA", "more": 1}]}', b'{"images": [{}]}', b"\xff\xfe\x00",
        b'{"images": [{"content": "' + b64encode(b"no picture") + b'"}]}', b"1e999999", b"NaN",
        b'{"images": [{"content": "\\ud800"}]}',
        b'{"images": [' + b'{"content": ""},' * 99 + b"{}]}",
        b"9" * 10_000,
    ]  # fmt: skip
    return post(draw.choice(texts), kind="application/json")


def path_trick(draw: random.Random) -> bytes:
    names = ["../../../etc/passwd", "..\\..\\x.png", "/etc/shadow", "a\0b.png", "C:\\x",
             "%2e%2e%2fx", "\u202egnp.exe", "x" * 5000]  # fmt: skip
    if draw.random() < 0.5:
        name = draw.choice(names)
        return post(multipart(b"no picture", name), kind="multipart/form-data; boundary=b")
    places = ["/../../etc/passwd", "/v1/%2e%2e/%2e%2e/etc/passwd", "/static/..%2f..%2fx",
              "//etc/passwd", "/v1/predict/../../../x", "/%00", "/v1/models/..%5cx"]  # fmt: skip
    return f"GET {draw.choice(places)} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


def wrong_question(draw: random.Random) -> bytes:
    content = _encoded("JPEG", 2)
    addresses = [
        "/v1/predict?model=no-such-model",
        "/v1/predict?top=0",
        "/v1/predict?top=-1",
        "/v1/predict?top=x",
        "/v1/predict?top=99999999999999999999",
        "/v1/explain?target=nobody",
        "/v1/feedback?label=../../x",
        "/v1/feedback",
        "/v2/predict",
        "/health",
        "/v1/models",
    ]
    return post(content, draw.choice(addresses))


def huge_headers(draw: random.Random) -> bytes:
    many = "".join(f"X-{i}: {'y' * 1000}\r\n" for i in range(100))
    one = f"X: {'y' * draw.choice([70_000, 300_000, 2_000_000])}\r\n"
    address = f"/v1/predict?{'a' * 70_000}"
    return draw.choice([
        post(b"", more=many), post(b"", more=one), post(b"", address),
        f"POST / HTTP/1.1\r\nX: {'y' * 500_000}".encode(),
    ])  # fmt: skip


def no_http(draw: random.Random) -> bytes:
    return draw.choice([
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + draw.randbytes(200) + b"\r\n\r\n",
        b"GET\r\n\r\n", b"\r\n\r\nNONSENSE / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
        b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
        b"Content-Length: 3\r\n\r\n0\r\n\r\n",
    ])  # fmt: skip


def slow_body(draw: random.Random) -> bytes:
    """Promises more than it sends."""
    head = post(bytes(draw.randrange(1000, 100_000)), kind="image/jpeg")
    return head[: -draw.randrange(1, 900)]


#: Kinds of malformed requests, and how many of a hundred are of each.
KINDS: tuple[tuple[Callable[[random.Random], bytes], int], ...] = (
    (cut_off, 20), (bomb, 8), (wrong_type, 15), (damaged_multipart, 15), (damaged_json, 14),
    (path_trick, 8), (wrong_question, 8), (huge_headers, 5), (no_http, 5), (slow_body, 2),
)  # fmt: skip


@dataclass
class Verdict:
    """What came of an attack."""

    name: str
    facts: dict[str, Any] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return {"attack": self.name, **self.facts, "faults": self.faults}


def malformed(run: Path, files: Sequence[Path], count: int) -> Verdict:
    """Requests that are none, and good ones in between."""
    verdict = Verdict("malformed")
    right = expected(run, files)
    service = serve([run], "--limit", f"seconds={SLOW_SECONDS}")
    statuses: Counter[str] = Counter()

    async def good(number: int) -> None:
        file = files[number % len(files)]
        status, body = await Client(service.port).once(post(file.read_bytes()))
        if status != 200 or said(body) != right[number % len(files)]:
            verdict.faults.append(f"a good request got {status}: {body[:200]!r}")

    async def bad(number: int, kind: Callable[[random.Random], bytes]) -> None:
        request = kind(random.Random(number))
        try:
            status, body = await asyncio.wait_for(Client(service.port).once(request), 60)
        except (Lost, OSError, TimeoutError) as error:
            verdict.faults.append(f"{kind.__name__} {number}: no answer ({type(error).__name__})")
            return
        statuses[f"{kind.__name__} {status}"] += 1
        if not 400 <= status < 500:
            verdict.faults.append(f"{kind.__name__} {number}: {status} {body[:200]!r}")

    async def all_of_them() -> int:
        for number in range(20):
            await good(number)
        warm = service.peak_bytes()
        kinds = [kind for kind, share in KINDS for _ in range(share)]
        random.Random(0).shuffle(kinds)
        for begin in range(0, count, 10):
            some = range(begin, min(begin + 10, count))
            await asyncio.gather(*(bad(number, kinds[number % len(kinds)]) for number in some))
            await good(begin)
        return warm

    try:
        warm = asyncio.run(all_of_them())
        growth = service.peak_bytes() - warm
    finally:
        service.stop()
    if growth > MOST_GROWTH:
        verdict.faults.append(f"memory grew by {growth / 2**20:.0f} MiB")
    verdict.facts = {"requests": count, "growth_mib": round(growth / 2**20),
                     "statuses": dict(sorted(statuses.items()))}  # fmt: skip
    return verdict


# --- under load -----------------------------------------------------------------------------


def stop(run: Path, files: Sequence[Path], seconds: float, clients: int = 16) -> Verdict:
    """SIGTERM under load."""
    verdict = Verdict("stop")
    right = expected(run, files)
    service = serve([run])
    requests = [post(file.read_bytes()) for file in files]
    counted: Counter[str] = Counter()

    async def client(number: int) -> None:
        asking, which = Client(service.port), number
        while True:
            which = (which + 1) % len(files)
            try:
                status, body = await asking.ask(requests[which])
            except Lost:
                # Without an answer on it before, the connection may never have been taken.
                counted["cut while in use" if asking.used else "not taken"] += 1
                return
            except OSError:
                counted["refused"] += 1
                return
            counted[str(status)] += 1
            if status == 200 and said(body) != right[which]:
                verdict.faults.append(f"wrong answer for {files[which].name}")

    async def all_of_them() -> float:
        running = asyncio.gather(*(client(number) for number in range(clients)))
        await asyncio.sleep(seconds)
        service.process.send_signal(signal.SIGTERM)
        begun = time.monotonic()
        await running
        return time.monotonic() - begun

    took = asyncio.run(all_of_them())
    out, _ = service.process.communicate(timeout=120)
    taken = json.loads(out)["requests"] - service.asked if out else -1
    answered = sum(n for status, n in counted.items() if status.isdigit())
    verdict.facts = {
        "answered": answered, "taken": taken, "ended_with": service.process.returncode,
        "seconds_after_signal": round(took, 2), "clients_ended": dict(counted),
    }  # fmt: skip
    if counted["cut while in use"]:
        verdict.faults.append(f"{counted['cut while in use']} requests lost")
    if service.process.returncode:
        verdict.faults.append(f"ended with {service.process.returncode}")
    if not answered or taken != answered:
        verdict.faults.append(f"{taken} requests were taken and {answered} answered")
    if set(counted) - {"200", "refused", "not taken", "429"}:
        verdict.faults.append(f"other ends: {dict(counted)}")
    return verdict


def replace(
    run: Path, other: Path, files: Sequence[Path], seconds: float, clients: int = 8
) -> Verdict:
    """A run's folder exchanged with another under load."""
    verdict = Verdict("replace")
    rights = [expected(one, files) for one in (run, other)]
    different = [i for i in range(len(files)) if rights[0][i][1] != rights[1][i][1]]
    if not different:
        raise SystemExit("the two runs say the same of every picture")
    requests = {i: post(files[i].read_bytes()) for i in different}
    seen: Counter[str] = Counter()
    of_version: dict[str, set[int]] = {}
    latest = -1
    with tempfile.TemporaryDirectory() as folder:
        live, spare = Path(folder) / "live", Path(folder) / "spare"
        shutil.copytree(run, live)
        shutil.copytree(other, spare)
        service = serve([live])
        ending = False

        async def client(number: int) -> None:
            nonlocal latest
            asking, which = Client(service.port), number
            while not ending:
                which = different[(which + 1) % len(different)]
                status, body = await asking.ask(requests[which])
                if status != 200:
                    verdict.faults.append(f"{status} {body[:200]!r}")
                    continue
                of = [n for n in (0, 1) if said(body) == rights[n][which]]
                seen[str(of)] += 1
                if len(of) != 1:
                    verdict.faults.append(f"an answer of neither run: {body[:200]!r}")
                else:
                    of_version.setdefault(json.loads(body)["version"], set()).add(of[0])
                    latest = of[0]

        async def all_of_them() -> int:
            nonlocal ending
            running = asyncio.gather(*(client(number) for number in range(clients)))
            until, exchanges = time.monotonic() + seconds, 0
            while time.monotonic() < until or exchanges < 2:
                exchange(spare, live)
                exchanges += 1
                late = time.monotonic() + MOST_SECONDS
                while latest != exchanges % 2 and time.monotonic() < late:
                    await asyncio.sleep(0.1)
                if latest != exchanges % 2:
                    verdict.faults.append(f"exchange {exchanges} was not noticed")
                    break
                await asyncio.sleep(0.3)
            ending = True
            await running
            return exchanges

        try:
            exchanges = asyncio.run(all_of_them())
        finally:
            service.stop()
    verdict.facts = {"exchanges": exchanges, "answers": sum(seen.values()), "by_run": dict(seen),
                     "versions": len(of_version)}  # fmt: skip
    if any(len(runs) > 1 for runs in of_version.values()) or len(of_version) != 2:
        verdict.faults.append(f"versions and runs do not go together: {of_version}")
    return verdict


def pictures(folder: Path, most: int = 40) -> list[Path]:
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png"))
    return found[:: max(1, len(found) // most)][:most]


def attacks(given: argparse.Namespace) -> Iterator[Verdict]:
    files = pictures(given.folder)
    if given.malformed:
        yield malformed(given.run, files, given.malformed)
    if given.seconds:
        yield stop(given.run, files, given.seconds)
        if given.other:
            yield replace(given.run, given.other, files, given.seconds)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--other", type=Path)
    parser.add_argument("--malformed", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    verdicts = []
    for verdict in attacks(given):
        print(json.dumps(verdict.to_json(), indent=1), flush=True)
        verdicts.append(verdict)
    if given.json:
        given.json.write_text(json.dumps([v.to_json() for v in verdicts], indent=1) + "\n")
    return int(any(verdict.faults for verdict in verdicts))


if __name__ == "__main__":
    sys.exit(main())
