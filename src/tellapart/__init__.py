"""tellapart: a folder of labelled images in, a classifier that can be trusted out.

The public API is the verbs, each with the same name and arguments as on the command line
(``tellapart cache`` and ``tellapart report`` are :func:`manage_cache` and :func:`write_report`,
because packages have those names already):

>>> import tellapart as ta
>>> run = ta.train("photos/")                        # doctest: +SKIP
>>> ta.evaluate(run, "new/").lines()                 # doctest: +SKIP
>>> run.predict(["a.jpg", "more/"])[0].prediction    # doctest: +SKIP

A verb takes a run, or the path of its folder. What it gives back has ``lines()``, ``to_json()``,
``exit_code``, and shows itself in a notebook.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tellapart.errors import TellapartError as TellapartError
    from tellapart.estimator import ImageClassifier as ImageClassifier
    from tellapart.predictors import open_predictor as open_predictor
    from tellapart.run import open_run as open_run
    from tellapart.verbs.backbones import backbones as backbones
    from tellapart.verbs.compare import compare as compare
    from tellapart.verbs.decide import decide as decide
    from tellapart.verbs.demo import demo as demo
    from tellapart.verbs.doctor import doctor as doctor
    from tellapart.verbs.drift import drift as drift
    from tellapart.verbs.evaluate import evaluate as evaluate
    from tellapart.verbs.explain import explain as explain
    from tellapart.verbs.export import export as export
    from tellapart.verbs.imagenet import imagenet as imagenet
    from tellapart.verbs.inspect import inspect as inspect
    from tellapart.verbs.ladder import ladder as ladder
    from tellapart.verbs.licences import licences as licences
    from tellapart.verbs.manage_cache import manage_cache as manage_cache
    from tellapart.verbs.predict import predict as predict
    from tellapart.verbs.private import private as private
    from tellapart.verbs.recipes import recipes as recipes
    from tellapart.verbs.serve import serve as serve
    from tellapart.verbs.subset import subset as subset
    from tellapart.verbs.train import resume as resume
    from tellapart.verbs.train import train as train
    from tellapart.verbs.tune import tune as tune
    from tellapart.verbs.write_report import write_report as write_report

#: Where each public name lives; loaded when first used, so that importing costs nothing.
_PUBLIC = {
    "backbones": "tellapart.verbs.backbones",
    "compare": "tellapart.verbs.compare",
    "decide": "tellapart.verbs.decide",
    "demo": "tellapart.verbs.demo",
    "doctor": "tellapart.verbs.doctor",
    "drift": "tellapart.verbs.drift",
    "evaluate": "tellapart.verbs.evaluate",
    "inspect": "tellapart.verbs.inspect",
    "explain": "tellapart.verbs.explain",
    "export": "tellapart.verbs.export",
    "imagenet": "tellapart.verbs.imagenet",
    "ladder": "tellapart.verbs.ladder",
    "licences": "tellapart.verbs.licences",
    "manage_cache": "tellapart.verbs.manage_cache",
    "predict": "tellapart.verbs.predict",
    "private": "tellapart.verbs.private",
    "recipes": "tellapart.verbs.recipes",
    "serve": "tellapart.verbs.serve",
    "subset": "tellapart.verbs.subset",
    "train": "tellapart.verbs.train",
    "resume": "tellapart.verbs.train",
    "tune": "tellapart.verbs.tune",
    "write_report": "tellapart.verbs.write_report",
    "ImageClassifier": "tellapart.estimator",
    "open_run": "tellapart.run",
    "open_predictor": "tellapart.predictors",
    "TellapartError": "tellapart.errors",
}

__all__ = list(_PUBLIC)
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'tellapart' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*_PUBLIC, "__version__"])
