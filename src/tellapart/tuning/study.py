"""The study: Optuna's own memory of a tuning, in one file that several processes share.

Optuna proposes the settings and says which trials are hopeless; nothing of that is done here.
Its journal is appended to under its own lock, which also holds on network folders, so that
processes and machines can work on one study at a time. Optuna sends nothing anywhere.
"""

from __future__ import annotations

import json
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from tellapart.errors import RunError, TellapartError
from tellapart.leftovers import is_running, owner
from tellapart.tuning.space import Choices, Tuned, Value
from tellapart.wording import did_you_mean, shown

if TYPE_CHECKING:
    import optuna

_NAME = "tellapart"
#: Trials that come to their end before any is pruned, and epochs before a trial can be.
_UNPRUNED_TRIALS, _UNPRUNED_EPOCHS = 4, 1

#: So long after its proposal a trial has an owner, or its process was killed in between.
_OWNER_SECONDS = 5.0

#: How settings are proposed: each Optuna's own, given a seed.
SAMPLERS: Mapping[str, Callable[[Any, int], Any]] = MappingProxyType(
    {
        "tpe": lambda o, seed: o.samplers.TPESampler(seed=seed, multivariate=True),
        "gp": lambda o, seed: o.samplers.GPSampler(seed=seed),
        "qmc": lambda o, seed: o.samplers.QMCSampler(seed=seed, warn_independent_sampling=False),
        "random": lambda o, seed: o.samplers.RandomSampler(seed=seed),
    }
)
#: How hopeless trials are found by their validation loss after each epoch: Optuna's own as well.
PRUNERS: Mapping[str, Callable[[Any], Any]] = MappingProxyType(
    {
        "median": lambda o: o.pruners.MedianPruner(_UNPRUNED_TRIALS, _UNPRUNED_EPOCHS),
        "hyperband": lambda o: o.pruners.HyperbandPruner(),
        "none": lambda o: o.pruners.NopPruner(),
    }
)


def require_optuna() -> Any:
    """Optuna, told to keep its log to itself.

    Raises:
        TellapartError: it is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise TellapartError(
            "Tuning needs the package optuna; install it with pip install 'tellapart[tune]'."
        ) from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def check_names(sampler: str, pruner: str) -> None:
    """Refuse a sampler or pruner that there is not.

    Raises:
        TellapartError: there is none of this name.
    """
    for option, name, table in (("--sampler", sampler, SAMPLERS), ("--pruner", pruner, PRUNERS)):
        if name not in table:
            raise TellapartError(
                f"{option} '{name}' is not one.{did_you_mean(name, table)} There are: "
                f"{', '.join(table)}."
            )


@contextmanager
def _without_experimental_notes() -> Iterator[None]:
    """Optuna says of some of its parts that they may change; their version is pinned."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="optuna")
        warnings.filterwarnings("ignore", category=require_optuna().exceptions.ExperimentalWarning)
        yield


def open_study(file: Path, *, sampler: str, pruner: str, seed: int) -> optuna.Study:
    """The study of a journal, begun where there is none.

    Args:
        seed: of the proposals; a process that joins counts on from the trials that are there, so
            that no two propose the same.

    Raises:
        RunError: the journal is damaged.
        TellapartError: Optuna is not installed.
    """
    library = require_optuna()
    journal = library.storages.journal
    lock = journal.JournalFileOpenLock(str(file)) if os.name == "nt" else None
    try:
        with _without_experimental_notes():
            storage = library.storages.JournalStorage(
                journal.JournalFileBackend(str(file), lock_obj=lock)
            )
            study: optuna.Study = library.create_study(
                storage=storage,
                study_name=_NAME,
                load_if_exists=True,
                direction="minimize",
                pruner=PRUNERS[pruner](library),
            )
            study.sampler = SAMPLERS[sampler](library, seed + len(study.trials))
    except (ValueError, KeyError, AssertionError) as error:
        raise RunError(
            f"The journal of the trials {shown(file)} is damaged ({type(error).__name__}); tune "
            "anew, or put back a copy of it."
        ) from error
    return study


def mend_journal(file: Path) -> None:
    """Take away the half line that a full disk or a kill in the middle of a write left.

    Only for a process that knows that no other writes now.
    """
    if not file.is_file():
        return
    content = file.read_bytes()
    if content and not content.endswith(b"\n"):
        with file.open("r+b") as stream:
            stream.truncate(content.rfind(b"\n") + 1)


def distributions(space: Sequence[Tuned]) -> dict[str, Any]:
    """The space as Optuna has it."""
    library = require_optuna().distributions
    found: dict[str, Any] = {}
    for each in space:
        if isinstance(each, Choices):
            found[each.key] = library.CategoricalDistribution(each.choices)
        elif each.whole:
            found[each.key] = library.IntDistribution(
                int(each.low), int(each.high), log=each.log, step=each.step
            )
        else:
            found[each.key] = library.FloatDistribution(each.low, each.high, log=each.log)
    return found


def values_of(trial: Any, space: Sequence[Tuned]) -> dict[str, Value]:
    """The settings that a trial has: choices are read from JSON, numbers are as they are."""
    choices = {each.key for each in space if isinstance(each, Choices)}
    return {
        key: json.loads(value) if key in choices else value for key, value in trial.params.items()
    }


def end_stale_trials(study: optuna.Study) -> int:
    """Mark what processes of this machine left unfinished when they were killed; how many.

    What another machine does not end stays as it is: it may still be at it.
    """
    from optuna.trial import TrialState

    def running() -> list[Any]:
        return study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))

    host = owner().rpartition("-")[0]
    # Between proposing a trial and writing down whose it is lies a moment.
    nobody_s = {trial.number for trial in running() if "owner" not in trial.user_attrs}
    if nobody_s:
        time.sleep(_OWNER_SECONDS)
    stale = 0
    for trial in running():
        machine, _, process = str(trial.user_attrs.get("owner", "")).rpartition("-")
        ended = machine == host and process.isdigit() and not is_running(int(process))
        if ended or (trial.number in nobody_s and not machine):
            study.tell(trial.number, state=TrialState.FAIL)
            stale += 1
    return stale
