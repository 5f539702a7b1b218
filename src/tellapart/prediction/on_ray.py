"""Predicting with several worker processes, on one machine or on many, by Ray Data.

The files are handed out in batches; each worker holds a predictor of its own and sends answers
back, and the batches come back in the order in which they were given, so that what is written is
what one process writes. A batch whose worker died is given to another one, and the dead one is
replaced; a picture that kills one worker after the other is given up (``prediction.killers``).
Ray reports its use to its makers unless it is told not to: it is told.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Any

from tellapart.errors import TellapartError
from tellapart.prediction.answers import Answer
from tellapart.prediction.killers import DEATHS, MOST_KILLERS, Ledger
from tellapart.prediction.predictor import Predictor
from tellapart.progress import SILENT, Progress
from tellapart.wording import shown

#: Files that a worker is given at a time, and files that are handed out before new workers are
#: asked for: what Ray keeps of a file is little, but not nothing.
BATCH_FILES, ROUND_FILES = 256, 200_000
#: Shared memory of a cluster that is started here: answers of some batches are all that is in it.
_STORE_BYTES = 100_000_000
#: Characters of the folder for temporary files under which the names of Ray's sockets fit.
_LONGEST_FOLDER = 20
#: What is said of a file that is given up.
_KILLS = f"ended the process that read it, {DEATHS} times (a damaged file, or too little memory)"
#: Said of a worker that is gone without a word.
_ENDED_OPENING = (
    "a worker's process ended while it opened the model, as it does where memory is short; try "
    "fewer --workers"
)
#: Calls a method of the :class:`~tellapart.prediction.killers.Ledger`, wherever that is.
Ask = Callable[..., Any]
#: The address at which Ray starts a cluster on this machine.
LOCAL = "local"


class Worker:
    """What runs in each process: a predictor, opened once.

    Args:
        folder: relative paths start from there, the folder of the process that asked.
        ledger: what others ended on, asked by :data:`Ask`.

    Raises:
        TellapartError: others have ended while they opened the predictor.
    """

    def __init__(
        self,
        open_predictor: Callable[[], Predictor],
        folder: str,
        ask: Ask,
    ) -> None:
        if not ask("opening"):
            raise TellapartError(_ENDED_OPENING)
        self._predictor, self._folder, self._ask = open_predictor(), folder, ask
        ask("opened")

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[bytes]]:
        """Names of files to their answers, each as JSON; both in bytes, which hold every name.

        Raises:
            TellapartError: too many of the files end the process that reads them.
        """
        names = [os.fsdecode(name) for name in batch["file"]]
        # A batch is known by its beginning; the same file may be asked for in two of them.
        key = f"{len(names)} {names[0]}"
        carefully, killers = self._ask("begin", key)
        if len(killers) > MOST_KILLERS:
            raise TellapartError(
                f"{len(killers)} files of one batch, for example {shown(killers[0])}, ended the "
                "process that read them, so that memory or the machine is at fault; try fewer "
                "--workers"
            )
        if not carefully:
            answers = self._answered(names)
        else:
            answers = []
            for name in names:
                if name in killers:
                    answers.append(Answer(name, "", {}, _KILLS))
                    continue
                self._ask("touch", key, name)
                answers += self._answered([name])
        told = [asdict(answer) | {"path": name}
                for name, answer in zip(names, answers, strict=True)]  # fmt: skip
        self._ask("end", key)
        return {"answer": [json.dumps(content).encode() for content in told]}

    def _answered(self, names: Sequence[str]) -> list[Answer]:
        paths = [Path(self._folder, name) for name in names]
        return [
            answer
            for some in self._predictor.batches(paths)
            for answer in self._predictor.answers(some)
        ]


def require_ray() -> None:
    """Before any work.

    Raises:
        TellapartError: Ray is not installed.
    """
    if find_spec("ray") is None:
        raise TellapartError("--workers needs the package ray: pip install 'tellapart[ray]'.")


def answers_on_ray(
    open_predictor: Callable[[], Predictor],
    files: Iterator[Path],
    workers: int,
    *,
    total: int | None = None,
    progress: Progress = SILENT,
) -> Iterator[list[Answer]]:
    """Answers for files of any number, a batch at a time, in their order.

    Args:
        open_predictor: called in each worker; what it opens must be there on every machine.
        files: must be there on every machine, too.
        workers: processes; each takes one of a cluster's cores.
        total: how many files there are, for the time left; None: nobody knows.

    Raises:
        TellapartError: the cluster cannot be reached, or a worker cannot do its work.
    """
    with _cluster(workers) as ray, progress.stage("Predicting", total, "images") as stage:
        ask = _asking(ray, workers)
        while some := list(islice(files, ROUND_FILES)):
            for answers in _round(ray, open_predictor, some, workers, ask):
                yield answers
                stage.advance(len(answers))


def _round(
    ray: Any, open_predictor: Callable[[], Predictor], files: Sequence[Path], workers: int, ask: Ask
) -> Iterator[list[Answer]]:
    """Answers for so many files as Ray is told of at a time."""
    blocks = max(1, -(-len(files) // BATCH_FILES))
    data = ray.data.from_items(
        [{"file": os.fsencode(file)} for file in files], override_num_blocks=blocks
    ).map_batches(
        Worker, fn_constructor_args=(open_predictor, str(Path.cwd()), ask),
        batch_size=BATCH_FILES,
        compute=ray.data.ActorPoolStrategy(size=min(workers, blocks)), num_cpus=1,
    )  # fmt: skip
    try:
        for batch in data.iter_batches(batch_size=BATCH_FILES, prefetch_batches=1):
            yield [_answer(content) for content in batch["answer"]]
    except ray.exceptions.RayError as error:
        raise TellapartError(
            f"The workers could not go on ({_root_of(error)}); what they answered stays, and the "
            "same command goes on with it."
        ) from error


def _asking(ray: Any, workers: int) -> Ask:
    """A ledger in a process of its own, which ends with whoever holds what is returned."""
    ledger = ray.remote(num_cpus=0)(Ledger).remote(workers)

    def ask(method: str, *given: str) -> Any:
        return ray.get(getattr(ledger, method).remote(*given))

    return ask


def _answer(content: bytes) -> Answer:
    told = json.loads(content)
    if told["set"] is not None:
        told["set"] = tuple(told["set"])
    return Answer(**told)


@contextmanager
def _cluster(workers: int) -> Iterator[Any]:
    """Ray, connected: to what this process is connected to, to ``RAY_ADDRESS``, or to processes
    that are started here and end with the block."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Ray's own deprecations
        import ray
        import ray.data

    with ExitStack() as stack:
        for name in ("ray", "ray.data"):  # which else tell of every step, and print what is raised
            logger = logging.getLogger(name)
            stack.callback(logger.setLevel, logger.level)
            logger.setLevel(logging.CRITICAL)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if not ray.is_initialized():
                _connect(ray, os.environ.get("RAY_ADDRESS") or LOCAL, workers, stack)
            context = ray.data.DataContext.get_current()
        stack.callback(setattr, context, "enable_progress_bars", context.enable_progress_bars)
        options = context.execution_options
        stack.callback(setattr, options, "preserve_order", options.preserve_order)
        context.enable_progress_bars, options.preserve_order = False, True
        yield ray


def _connect(ray: Any, address: str, workers: int, stack: ExitStack) -> None:
    """Join a cluster, or start one here that nobody else can use and of which nothing stays.

    Raises:
        TellapartError: it cannot be done.
    """
    given: dict[str, Any] = {}
    if address == LOCAL:
        # Ray would keep a token in the home folder, and logs in the folder for temporary files. It
        # reads the token once for a process, so that it stays.
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        place = TemporaryDirectory(prefix="ray-", dir=_short_folder(), ignore_cleanup_errors=True)
        given = {
            "num_cpus": workers, "include_dashboard": False, "object_store_memory": _STORE_BYTES,
            "_temp_dir": stack.enter_context(place),
        }  # fmt: skip
    try:
        ray.init(
            address=address, log_to_driver=False, logging_level=logging.ERROR,
            configure_logging=False, **given,
        )  # fmt: skip
    except Exception as error:  # Ray raises many kinds, bare ones among them
        raise TellapartError(
            f"Ray cannot be {'started here' if given else f'reached at {address}'} "
            f"({_first_line(error)})."
        ) from error
    stack.callback(ray.shutdown)


def _short_folder() -> str:
    """Where Ray may put its sockets, whose whole names have 107 characters at most."""
    usual = gettempdir()
    return "/tmp" if len(usual) > _LONGEST_FOLDER and Path("/tmp").is_dir() else usual


def _root_of(error: BaseException) -> str:
    """What began it: Ray wraps an error of a worker in several of its own, whose texts end with
    the worker's traceback."""
    found: BaseException | None = error
    while found is not None:
        if str(found).strip():  # the innermost with a word to say
            error = found
        found = getattr(found, "cause", None) or found.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if len(lines) < 2:
        return _first_line(error)
    if type(error).__name__ == "ActorDiedError" and "creation task" not in str(error):
        return _ENDED_OPENING
    kind, colon, text = lines[-1].partition(": ")
    return shown((text if colon and " " not in kind else lines[-1])[:300].rstrip("."))


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return shown(lines[0][:200]) if lines else type(error).__name__
