"""The application: which address does what, and what its OpenAPI schema says."""

from __future__ import annotations

import asyncio
import hmac
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.exceptions import HTTPException

from tellapart import __version__
from tellapart.errors import FileError
from tellapart.prediction.answers import Answer
from tellapart.service import schema
from tellapart.service.answering import answer_to_json
from tellapart.service.bodies import pictures_of
from tellapart.service.explaining import MOST_OVERLAYS
from tellapart.service.feedback import Inbox, is_folder_name
from tellapart.service.gatherer import Features, GivenPicture
from tellapart.service.guard import Guard
from tellapart.service.json_response import Json
from tellapart.service.metrics import CONTENT_TYPE, Metrics
from tellapart.service.models import ServedModel
from tellapart.service.monitoring import AnswerMetrics
from tellapart.service.page import add_page
from tellapart.service.preferences import LENIENT, is_lenient
from tellapart.service.refusals import Refused
from tellapart.service.settings import Limits, ServiceSettings
from tellapart.service.stopping import draining
from tellapart.service.work import Work
from tellapart.wording import did_you_mean, listed, shown

_LOG = logging.getLogger("tellapart.service")
_DESCRIPTION = "Pictures in, classes out: what a run of tellapart says of images."
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": schema.Problem, "description": text}
    for status, text in (
        (400, "The body is damaged."),
        (401, "The token is missing or wrong."),
        (403, "Not asked by a page of this service, or not switched on."),
        (404, "There is no such model or class."),
        (408, "The body took too long."),
        (413, "The request or a picture is too large."),
        (415, "No kind of body that is read."),
        (422, "What was asked cannot be answered."),
        (431, "The headers are too large."),
        (429, "Too much is waiting; Retry-After says when to come again."),
        (503, "Not loaded yet, or the answer took too long; Retry-After says when to come again."),
    )
}
_PICTURE: Mapping[str, Any] = {"type": "string", "format": "binary"}


def _body(most: int) -> dict[str, Any]:
    """How up to so many pictures are sent; a body is read by :mod:`bodies`, not by FastAPI."""
    number: Mapping[str, Any] = {"minItems": 1, "maxItems": most}
    files = {"type": "array", **number, "items": _PICTURE}
    image = {
        "type": "object", "required": ["content"], "additionalProperties": False,
        "properties": {
            "content": {"type": "string", "format": "byte", "description": "Base64."},
            "name": {"type": "string"},
        },
    }  # fmt: skip
    images = {"type": "array", **number, "items": image}
    return {"requestBody": {"required": True, "content": {
        "multipart/form-data": {"schema": {
            "type": "object", "required": ["images"], "additionalProperties": False,
            "properties": {"images": files},
        }},
        "image/*": {"schema": _PICTURE},
        "application/octet-stream": {"schema": _PICTURE},
        "application/json": {"schema": {
            "type": "object", "required": ["images"], "additionalProperties": False,
            "properties": {"images": images},
        }},
    }}}  # fmt: skip


#: FastAPI can report to OpenTelemetry by what the environment says; nothing is reported here.
_SILENT: Mapping[str, Any] = {
    "telemetry": {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}
}
_BEARER = HTTPBearer(auto_error=False, description="The token of --token-file.")
Model = Annotated[str | None, Query(description="Its name; the first one if left out.")]
Top = Annotated[int, Query(ge=1, le=1000, description="How many classes `likeliest` names.")]

Overlays = Annotated[int, Query(
    ge=1, le=MOST_OVERLAYS,
    description="How many overlays, at most; the first takes the least time.",
)]  # fmt: skip
Prefer = Annotated[list[str] | None, Header(
    description=f"`{LENIENT}`: where no picture can be read the answers say so as well, each in "
    "its `error`, with status 200 instead of 422. Others are ignored (RFC 7240).",
)]  # fmt: skip


def end_process(error: Exception) -> None:
    """Say why, and have this process end as if it were asked to."""
    _LOG.error("%s", error)
    os.kill(os.getpid(), signal.SIGTERM)


def create_app(
    settings: ServiceSettings,
    *,
    on_failure: Callable[[Exception], None] = end_process,
    on_change: Callable[[], None] = lambda: None,
) -> FastAPI:
    """The service as an ASGI application; it opens its models when it is started.

    Args:
        on_failure: told of the exception where a model cannot be opened.
        on_change: called when all models are open, and after each exchange of one.
    """
    metrics = Metrics()
    of_answers = AnswerMetrics(metrics.registry)

    def observe(model: ServedModel, answers: Sequence[Answer], features: Features | None) -> None:
        metrics.count_batch(model.name, len(answers))
        of_answers.observe(model, answers, features)

    work = Work(settings, observe, on_change)
    metrics.watch_waiting(lambda: work.waiting)

    async def open_models() -> None:
        try:
            await asyncio.to_thread(work.models.open)
        except Exception as error:
            on_failure(error)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        opening = asyncio.create_task(open_models())  # /health and the page are there before
        with draining(work.stop):
            yield
        await opening
        await asyncio.to_thread(work.close)

    async def authorised(
        given: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)],
    ) -> None:
        """Compared in constant time, so that a wrong token tells nothing of the right one."""
        sent = given.credentials if given is not None else ""
        if not hmac.compare_digest(sent.encode(), settings.token.encode()):
            raise Refused(
                401, "Send the token of this service, as 'Authorization: Bearer TOKEN'.",
                {"WWW-Authenticate": "Bearer"},
            )  # fmt: skip

    app = FastAPI(
        title="tellapart", version=__version__, description=_DESCRIPTION, lifespan=lifespan,
        docs_url=None, redoc_url=None, default_response_class=Json, **_SILENT,
    )  # fmt: skip
    app.state.work, app.state.settings = work, settings
    app.add_middleware(Guard, count=metrics.count_request, is_stopping=lambda: work.stopping)
    private = [Depends(authorised)] if settings.token else []

    _add_answers(app, work, private)
    _add_feedback(app, work, private)
    _add_models(app, work, private)
    _add_operation(app, work, metrics, private)
    add_page(
        app, work.models, private, asks_token=bool(settings.token),
        on_visit=work.prepare_explanations,
    )  # fmt: skip
    _add_refusals(app)
    return app


async def _pictures(
    request: Request, limits: Limits, take: Any, *, one: bool = False
) -> list[GivenPicture]:
    pictures = await pictures_of(request, limits, take)
    if one and len(pictures) > 1:
        raise Refused(422, f"Send one picture at a time here, not {len(pictures)}.")
    return pictures


def _add_answers(app: FastAPI, work: Work, private: Sequence[Any]) -> None:
    """What is in pictures, and why that is said."""
    limits = work.settings.limits

    @app.post(
        "/v1/predict", operation_id="predict", tags=["answers"], dependencies=private,
        responses={200: {"model": schema.Predicted}, **_PROBLEMS},
        openapi_extra=_body(limits.images),
    )  # fmt: skip
    async def predict(
        request: Request, model: Model = None, top: Top = 5, prefer: Prefer = None
    ) -> Response:
        """Say what is in pictures; those that cannot be read are answered with `error`."""
        with work.memory.holding() as take:
            pictures = await _pictures(request, limits, take)
            served, answers = await work.answers(model, pictures)
        unread = [answer for answer in answers if answer.error]
        lenient = is_lenient(prefer or ())
        if len(unread) == len(answers) and not lenient:
            more = f" (and {len(unread) - 1} more)" if len(unread) > 1 else ""
            raise Refused(422, f"{unread[0].path} cannot be read: {unread[0].error}{more}")
        return Json({
            "model": served.name, "version": served.version,
            "answers": [answer_to_json(answer, top) for answer in answers],
        }, headers={"Preference-Applied": LENIENT} if lenient else None)  # fmt: skip

    @app.post(
        "/v1/explain", operation_id="explain", tags=["answers"], dependencies=private,
        responses={200: {"model": schema.Explained}, **_PROBLEMS}, openapi_extra=_body(1),
    )  # fmt: skip
    async def explain(
        request: Request,
        model: Model = None,
        target: Annotated[
            str | None, Query(description="The class to look for; the answer if left out.")
        ] = None,
        top: Top = 5,
        overlays: Overlays = MOST_OVERLAYS,
    ) -> Response:
        """Show where the network looked in one picture, and the training images most like it."""
        with work.memory.holding() as take:
            (picture,) = await _pictures(request, limits, take, one=True)
            served, answer, found = await work.explanation(model, picture, target, overlays)
        return Json({
            "model": served.name, "version": served.version,
            "answer": answer_to_json(answer, top), **found,
        })  # fmt: skip


def _add_feedback(app: FastAPI, work: Work, private: Sequence[Any]) -> None:
    """Corrections, where they are switched on."""
    folder = work.settings.feedback
    inbox = Inbox(folder) if folder is not None else None

    @app.post(
        "/v1/feedback", operation_id="feedback", tags=["feedback"], dependencies=private,
        status_code=201, openapi_extra=_body(1),
        responses={
            201: {"model": schema.Kept}, **_PROBLEMS,
            507: {"model": schema.Problem, "description": "The inbox cannot be written."},
        },
    )  # fmt: skip
    async def feedback(
        request: Request,
        label: Annotated[str, Query(min_length=1, description="What the picture really is.")],
        model: Model = None,
    ) -> Response:
        """Keep a picture that was called wrong, under its right class."""
        if inbox is None:
            raise Refused(403, "Feedback is not switched on; start the service with --feedback.")
        classes = work.models.named(model).predictor.classes
        if label not in classes:
            hint = did_you_mean(label, classes) or f" It knows: {listed(classes, 20)}."
            raise Refused(404, f"The model does not know the class '{shown(label)}'.{hint}")
        if not is_folder_name(label):
            raise Refused(422, f"No folder can be called '{shown(label)}', so it cannot be kept.")
        with work.memory.holding() as take:
            (picture,) = await _pictures(request, work.settings.limits, take, one=True)
            _, (answer,) = await work.answers(model, [picture])
            if answer.error:
                raise Refused(422, f"{picture.name} cannot be read: {answer.error}")
            try:
                await asyncio.to_thread(inbox.keep, picture.content, label)
            except FileError as error:
                raise Refused(507, str(error)) from error
        return Json({"kept": True, "label": label}, 201)


def _add_models(app: FastAPI, work: Work, private: Sequence[Any]) -> None:
    """What there is to ask."""

    @app.get(
        "/v1/models", operation_id="models", tags=["models"], dependencies=private,
        responses={200: {"model": schema.Models}, 401: _PROBLEMS[401]},
    )  # fmt: skip
    async def models() -> Response:
        """Say what models there are, how they answer and how far to trust them."""
        limits = work.settings.limits
        return Json({
            "models": [
                {**model.about, "loaded": model.loaded.isoformat(),
                 "problem": work.models.problem(model.name)}
                for model in work.models
            ],
            "limits": {
                "request_bytes": limits.request_bytes, "pixels": limits.pixels,
                "images": limits.images, "seconds": limits.seconds,
            },
            "feedback": work.settings.feedback is not None,
            "tellapart": __version__,
        })  # fmt: skip


def _add_operation(app: FastAPI, work: Work, metrics: Metrics, private: Sequence[Any]) -> None:
    """What those who run the service ask."""

    @app.get(
        "/health", operation_id="health", tags=["operation"],
        responses={200: {"model": schema.Health}},
    )  # fmt: skip
    async def health() -> Response:
        """Say that the process lives."""
        return Json({"status": "alive"})

    @app.get(
        "/ready", operation_id="ready", tags=["operation"],
        responses={200: {"model": schema.Health}, 503: _PROBLEMS[503]},
    )  # fmt: skip
    async def ready() -> Response:
        """Say whether every model can answer."""
        if work.stopping:
            raise Refused(503, "The service is being stopped.", {"Retry-After": "5"})
        if not work.models.ready:
            raise Refused(503, "The models are not loaded yet.", {"Retry-After": "2"})
        return Json({"status": "ready"})

    @app.get(
        "/metrics", operation_id="metrics", tags=["operation"], dependencies=private,
        response_class=Response,
        responses={200: {"content": {"text/plain": {}}}, 401: _PROBLEMS[401]},
    )  # fmt: skip
    async def numbers() -> Response:
        """Counters for Prometheus."""
        # Beside the loop: windows are compared with the training images when they are looked at.
        content = await asyncio.to_thread(metrics.text)
        return Response(content, media_type=CONTENT_TYPE)


def _add_refusals(app: FastAPI) -> None:
    """Every mistake as a sentence."""

    @app.exception_handler(Refused)
    async def refused(_: Request, error: Refused) -> Response:
        return Json({"error": error.sentence}, error.status, dict(error.headers))

    @app.exception_handler(RequestValidationError)
    async def not_valid(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:])
        return Json({"error": f"'{shown(where)}': {shown(first['msg'])}."}, 422)

    @app.exception_handler(HTTPException)
    async def of_http(_: Request, error: HTTPException) -> Response:
        return Json({"error": f"{error.detail}."}, error.status_code, error.headers)

    @app.exception_handler(Exception)
    async def failed(_: Request, error: Exception) -> Response:
        return Json({"error": "Something went wrong here; the log of the service says what."}, 500)
