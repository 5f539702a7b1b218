"""The pictures of a request, however they are sent: multipart, a raw body, or JSON with base64."""

from __future__ import annotations

import asyncio
import binascii
import json
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from starlette.requests import ClientDisconnect, Request

from tellapart.service.gatherer import GivenPicture
from tellapart.service.refusals import Refused, busy
from tellapart.service.settings import MEBIBYTE, Limits
from tellapart.wording import plural, shown

JSON, MULTIPART = "application/json", "multipart/form-data"
RAW = ("image/", "application/octet-stream")
#: What the files of a multipart body are called.
_FIELD = b"images"
#: Characters of a picture's name that are kept.
_NAME_LENGTH = 200
#: Bytes of the headers of one part of a multipart body.
_PART_HEADER_BYTES = 1 << 14


class Memory:
    """Bytes of all bodies that are in memory; used from one thread."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.used = 0

    @contextmanager
    def holding(self) -> Iterator[Callable[[int], None]]:
        """What is taken inside is given back at the end.

        Raises:
            Refused: there is no room for more.
        """
        taken = 0

        def take(size: int) -> None:
            nonlocal taken
            if self.used + size > self._most:
                raise busy("Too many pictures are being sent at the moment.", 1)
            self.used += size
            taken += size

        try:
            yield take
        finally:
            self.used -= taken


async def pictures_of(
    request: Request, limits: Limits, take: Callable[[int], None]
) -> list[GivenPicture]:
    """The pictures in a request's body, at least one, none of them decoded.

    Args:
        take: told of each piece of the body that comes into memory.

    Raises:
        Refused: the body is no such body, too large, or too slow.
    """
    kind, _, _ = request.headers.get("content-type", "").partition(";")
    kind = kind.strip().lower()
    if kind not in (JSON, MULTIPART) and not kind.startswith(RAW):
        raise Refused(
            415,
            "Send pictures as multipart/form-data, as a body of type image/jpeg (or any image/ "
            "or application/octet-stream), or as application/json with base64.",
        )
    body = await _read(request, limits, take)
    if kind == MULTIPART:
        pictures = _of_multipart(body, request.headers["content-type"], limits)
    elif kind == JSON:
        pictures = _of_json(body, limits)
    else:
        pictures = [GivenPicture("image 1", body)]
    if not pictures or not any(picture.content for picture in pictures):
        raise Refused(422, "The request holds no picture.")
    return pictures


async def _read(request: Request, limits: Limits, take: Callable[[int], None]) -> bytes:
    announced = request.headers.get("content-length", "")
    too_large = Refused(
        413, f"A request may have {limits.request_bytes / MEBIBYTE:g} MiB; send fewer or smaller "
        "pictures."
    )  # fmt: skip
    if announced.isdigit() and int(announced) > limits.request_bytes:
        raise too_large
    pieces, size = [], 0
    try:
        async with asyncio.timeout(limits.seconds):
            async for piece in request.stream():
                size += len(piece)
                if size > limits.request_bytes:
                    raise too_large
                take(len(piece))
                pieces.append(piece)
    except TimeoutError as error:
        raise Refused(
            408, f"The body was not there after {limits.seconds:g} s; send it faster.",
            {"Connection": "close"},
        ) from error  # fmt: skip
    except ClientDisconnect as error:
        raise Refused(400, "The body ended before it was all there.") from error
    return b"".join(pieces)


def _too_many(limits: Limits) -> Refused:
    return Refused(
        422, f"A request may hold {plural(limits.images, 'picture')}; send them in several."
    )


def _named(name: str, number: int) -> str:
    """What a picture is called in its answer; a name is data, and no path of ours."""
    return shown(name)[:_NAME_LENGTH] or f"image {number}"


# --- JSON ----------------------------------------------------------------------------------------

_FORM = 'Send {"images": [{"content": "BASE64", "name": "a.jpg"}]}.'


def _of_json(body: bytes, limits: Limits) -> list[GivenPicture]:
    try:
        content: Any = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"The body is no JSON. {_FORM}") from error
    images = content.get("images") if isinstance(content, dict) else None
    if not isinstance(images, list) or not images or set(content) != {"images"}:
        raise Refused(422, f"The JSON is no list of pictures. {_FORM}")
    if len(images) > limits.images:
        raise _too_many(limits)
    return [_of_json_image(image, number) for number, image in enumerate(images, start=1)]


def _of_json_image(image: Any, number: int) -> GivenPicture:
    if not isinstance(image, dict) or not set(image) <= {"content", "name"}:
        raise Refused(422, f"Image {number} of the JSON is no picture. {_FORM}")
    name, text = image.get("name", ""), image.get("content")
    if not isinstance(name, str) or not isinstance(text, str):
        raise Refused(422, f"Image {number} of the JSON is no picture. {_FORM}")
    try:
        content = b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refused(422, f"The content of image {number} is no base64. {_FORM}") from error
    return GivenPicture(_named(name, number), content)


# --- multipart -----------------------------------------------------------------------------------


def _of_multipart(body: bytes, content_type: str, limits: Limits) -> list[GivenPicture]:
    from python_multipart.exceptions import FormParserError
    from python_multipart.multipart import MultipartParser, parse_options_header

    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"")
    if not 0 < len(boundary) <= 70:  # RFC 2046, section 5.1.1
        raise Refused(400, "The multipart body has no boundary in its content-type.")
    parts = _Parts(limits, parse_options_header)
    try:
        parser = MultipartParser(boundary, parts.callbacks())
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise Refused(400, "The multipart body is damaged.") from error
    if not parts.ended:
        raise Refused(400, "The multipart body ends before its last boundary.")
    return parts.pictures


class _Parts:
    """Collects the files of a multipart body."""

    def __init__(self, limits: Limits, parse_options: Callable[[bytes], Any]) -> None:
        self._limits = limits
        self._parse_options = parse_options
        self.pictures: list[GivenPicture] = []
        self.ended = False
        self._headers: dict[bytes, bytes] = {}
        self._field, self._value = bytearray(), bytearray()
        self._pieces: list[bytes] = []

    def callbacks(self) -> Any:
        return {
            "on_part_begin": self._begin, "on_part_data": self._data, "on_part_end": self._part,
            "on_header_field": self._header_field, "on_header_value": self._header_value,
            "on_header_end": self._header, "on_end": self._end,
        }  # fmt: skip

    def _begin(self) -> None:
        if len(self.pictures) >= self._limits.images:
            raise _too_many(self._limits)
        self._headers, self._pieces = {}, []

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]
        self._check_length()

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]
        self._check_length()

    def _check_length(self) -> None:
        if len(self._field) + len(self._value) > _PART_HEADER_BYTES:
            raise Refused(400, "A part of the multipart body has too long a header.")

    def _header(self) -> None:
        self._headers[bytes(self._field).lower()] = bytes(self._value)
        self._field, self._value = bytearray(), bytearray()

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._pieces.append(data[start:end])

    def _part(self) -> None:
        _, options = self._parse_options(self._headers.get(b"content-disposition", b""))
        field = options.get(b"name", b"")
        if b"filename" not in options or field != _FIELD:
            told = shown(field.decode("utf-8", "replace"))[:_NAME_LENGTH]
            raise Refused(
                422,
                f"The part '{told}' of the multipart body is no file called 'images'; what else "
                "is asked stands in the address, as ?model=NAME.",
            )
        name = options[b"filename"].decode("utf-8", "replace")
        number = len(self.pictures) + 1
        self.pictures.append(GivenPicture(_named(name, number), b"".join(self._pieces)))

    def _end(self) -> None:
        self.ended = True
