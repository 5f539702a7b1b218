"""Several processes on one training: who they are, what they say to each other, starting them.

A launcher (``torchrun``, ``accelerate launch``, SLURM) starts the same command several times
and numbers the processes in the environment; ``companions`` does that for one machine. The
main process writes the run; the others read the same images and take their share of each
batch.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from tellapart.errors import TrainingError

T = TypeVar("T")
#: What a launcher sets, and ``companions`` as well.
_NUMBER, _RANK = "WORLD_SIZE", "RANK"


def num_processes() -> int:
    """How many processes were started for this training."""
    return int(os.environ.get(_NUMBER, "1"))


def is_main_process() -> bool:
    """Whether this process writes; the only one does."""
    return int(os.environ.get(_RANK, "0")) == 0


def main_first(device: str, work: Callable[[], T]) -> T:
    """Do the same in all processes, the others after the main one: they find it in the cache."""
    if num_processes() == 1:
        return work()
    with _state(device).main_process_first():
        return work()


def said_by_main(device: str, words: str) -> str:
    """Words of the main process, in all processes."""
    if num_processes() == 1:
        return words
    from accelerate.utils import broadcast_object_list

    _state(device)
    return str(broadcast_object_list([words])[0])


def require_devices(device: str, number: int) -> None:
    """Refuse more processes than there are GPUs.

    Raises:
        TrainingError: there are fewer.
    """
    if device != "cuda":
        return
    import torch

    if number > torch.cuda.device_count():
        raise TrainingError(
            f"--devices {number}: there are {torch.cuda.device_count()} GPUs here; give as many "
            "or fewer."
        )


@contextmanager
def companions(number: int, arguments: Mapping[str, Any], module: str) -> Iterator[None]:
    """While inside, this is the main process of ``number``, and the others are its children.

    Args:
        number: processes in all.
        arguments: plain data for JSON; the children read them from standard input.
        module: what each child runs, as ``python -m`` takes it.

    Raises:
        TrainingError: a launcher has already started several processes.
    """
    import torch

    if num_processes() > 1:
        raise TrainingError(
            f"{num_processes()} processes were started by a launcher; leave --devices out."
        )
    threads = torch.get_num_threads()
    each = max(1, threads // number)
    shared = {
        _NUMBER: str(number), "LOCAL_WORLD_SIZE": str(number), "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_free_port()), "OMP_NUM_THREADS": str(each),
    }  # fmt: skip
    before = {name: os.environ.get(name) for name in (*shared, _RANK, "LOCAL_RANK")}
    children: list[subprocess.Popen[str]] = []
    try:
        _forget()
        for rank in range(1, number):
            own = {_RANK: str(rank), "LOCAL_RANK": str(rank)}
            child = subprocess.Popen(
                [sys.executable, "-m", module],
                stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
                env={**os.environ, **shared, **own},
            )  # fmt: skip
            children.append(child)
            if child.stdin is not None:
                child.stdin.write(json.dumps(dict(arguments)))
                child.stdin.close()
        os.environ.update({**shared, _RANK: "0", "LOCAL_RANK": "0"})
        torch.set_num_threads(each)
        yield
        with suppress(subprocess.TimeoutExpired):  # after an interruption they are still at work
            for child in children:
                child.wait(timeout=20)
    finally:
        for child in children:
            child.kill()
            child.wait()
        _forget()
        torch.set_num_threads(threads)
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _state(device: str) -> Any:
    """Accelerate's processes; the first call connects them."""
    from accelerate import PartialState

    return PartialState(cpu=device.partition(":")[0] == "cpu")


def _forget() -> None:
    """Leave the group of processes, so that the next training is one of its own."""
    import torch.distributed
    from accelerate.state import AcceleratorState, PartialState

    AcceleratorState._reset_state(reset_partial_state=True)
    PartialState._reset_state()
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
