"""The command line: one small function a verb, and no logic of its own.

Each function turns options into the arguments of the verb of the same name, and its result
into text. What goes wrong for the user's part ends in one sentence and exit code 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand

from tellapart.errors import TellapartError
from tellapart.openmp import wait_briefly
from tellapart.result import Result
from tellapart.terminal import run_command, say, say_json
from tellapart.wording import listed, shown

if TYPE_CHECKING:
    from tellapart.progress import Progress

#: Options that have an effect only together with another option or argument.
NEEDS: Mapping[str, tuple[tuple[str, str], ...]] = MappingProxyType(
    {
        "train": (("extend", "resume"),),
        "inspect": (("seed", "augment"),),
        "evaluate": (
            ("foreign", "folder"),
            ("ignore_unknown", "folder"),
            ("keep_leaks", "folder"),
            ("root", "folder"),
            ("path_column", "folder"),
            ("label_column", "folder"),
        ),
        "predict": (("link", "sort_into"), ("move", "sort_into")),
        "decide": (("sure", "at_most_wrong"),),
    }
)
#: Options and arguments that have no effect beside the first one.
EXCLUDES: Mapping[str, tuple[tuple[str, tuple[str, ...]], ...]] = MappingProxyType(
    {
        "train": (
            (
                "resume",
                (
                    "folder",
                    "recipe",
                    "settings",
                    "runs",
                    "run",
                    "seed",
                    "validation",
                    "test",
                    "fit",
                    "positive",
                    "cost_miss",
                    "classes",
                    "group_by",
                    "exclude",
                    "root",
                    "path_column",
                    "label_column",
                    "min_images",
                    "ignore_unknown",
                    "keep_leaks",
                    "cross_validate",
                    "from_run",
                    "feedback",
                    "tensorboard",
                ),
            ),
            ("cross_validate", ("test", "tensorboard", "time")),
            ("extend", ("time",)),
            ("run", ("runs",)),
        ),
        "compare": (("out", ("runs",)),),
        "ladder": (("run", ("runs",)),),
        "tune": (
            (
                "resume",
                (
                    "folder",
                    "recipe",
                    "space",
                    "objective",
                    "sampler",
                    "pruner",
                    "settings",
                    "runs",
                    "run",
                    "seed",
                    "validation",
                    "test",
                    "classes",
                    "group_by",
                    "exclude",
                    "root",
                    "path_column",
                    "label_column",
                    "min_images",
                    "ignore_unknown",
                ),
            ),
            ("run", ("runs",)),
        ),
        "explain": (("images", ("count",)),),
        "predict": (("move", ("link",)), ("out", ("format",))),
    }
)


class _Command(TyperCommand):
    """A command that refuses empty arguments and options without effect, before any work."""

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        # "" would be taken as the working directory; it is a variable that was not set.
        for before, text in zip(["", *args], args, strict=False):
            option, equals, value = text.partition("=")
            if text.startswith("--") and equals and not value:
                raise TellapartError(f"{option} is empty; give a value, or leave it out.")
            if not text and before.startswith("--"):
                raise TellapartError(f"{before} is empty; give a value, or leave it out.")
            if not text:
                raise TellapartError(
                    f"An argument of 'tellapart {self.name}' is empty (\"\"); give a value, or "
                    "leave it out."
                )
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:  # typer brings its own click, or the package's
        given = {
            parameter.name: _name_of(parameter)
            for parameter in self.params
            if parameter.name is not None
            and getattr(ctx.get_parameter_source(parameter.name), "name", "") == "COMMANDLINE"
            and ctx.params.get(parameter.name) not in (None, (), [])
        }
        names = {p.name: _name_of(p) for p in self.params}
        for option, other in NEEDS.get(self.name or "", ()):
            if option in given and other not in given:
                raise TellapartError(
                    f"{given[option]} has no effect without {names[other]}; leave it out, or give "
                    "both."
                )
        for option, others in EXCLUDES.get(self.name or "", ()):
            idle = [given[other] for other in others if other in given]
            if option in given and idle:
                verb = "has" if len(idle) == 1 else "have"
                raise TellapartError(
                    f"{listed(idle, 20, 'and')} {verb} no effect beside {given[option]}; leave "
                    "one of them out."
                )
        return super().invoke(ctx)


def _name_of(parameter: Any) -> str:
    if parameter.param_type_name == "option":
        return str(max(parameter.opts, key=len))
    return str(parameter.metavar or parameter.name).strip("[].").upper()


app = typer.Typer(
    name="tellapart",
    help="A folder of labelled images in, an image classifier that you can trust out.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")]
Runs = Annotated[Path, typer.Option(help="Where run folders go.")]
RunPath = Annotated[Path | None, typer.Option("--run", help="This run's folder exactly.")]
Seed = Annotated[int | None, typer.Option(help="Seed of the split and of training.", min=0)]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, mps.")]
Settings = Annotated[
    list[str], typer.Option("--set", metavar="KEY=VALUE", help="Change a recipe's setting.")
]
Json = Annotated[bool, typer.Option("--json", help="Machine-readable result on standard output.")]
RecipeName = Annotated[str, typer.Option(help="A recipe's name, or a YAML file.")]
Classes = Annotated[str, typer.Option(help="Class order, separated by commas.")]
GroupBy = Annotated[
    str | None,
    typer.Option(help="Keep images together: folder, near-duplicates, a column, or a pattern."),
]
Exclude = Annotated[Path | None, typer.Option(help="CSV whose column path names images to skip.")]
Root = Annotated[Path | None, typer.Option(help="Folder that a table's paths start from.")]
PathColumn = Annotated[str | None, typer.Option(help="Column of a table that names the files.")]
LabelColumn = Annotated[str | None, typer.Option(help="Column of a table that names the classes.")]
MinImages = Annotated[
    int, typer.Option(metavar="N", help="Leave out classes with fewer images to train on.", min=0)
]


def _print_version(wanted: bool) -> None:
    if wanted:
        from tellapart import __version__

        say([f"tellapart {__version__}"])
        raise typer.Exit


@app.callback(epilog=(
    "Exit codes: 0 done; 1 done, but some of the images given could not be read; 2 a mistake or "
    "a full disk, with a sentence; 130 Ctrl-C, and 128 + N for signal N."
))  # fmt: skip
def tellapart(
    version: Annotated[
        bool,
        typer.Option(
            "--version", "-V", help="Print the version.", is_eager=True, callback=_print_version
        ),
    ] = False,
) -> None:
    """A folder of labelled images in, an image classifier that you can trust out."""


@app.command(cls=_Command)
def train(
    folder: Annotated[
        Path | None, typer.Argument(help="Class folders, part folders, a table, or a zip.")
    ] = None,
    recipe: RecipeName = "auto",
    settings: Settings = [],  # noqa: B006  typer reads the default, nobody changes it
    runs: Runs = Path("runs"),
    run: RunPath = None,
    seed: Seed = None,
    device: Device = "auto",
    devices: Annotated[
        int, typer.Option(help="Processes that train together: one a GPU, or on the CPU.", min=1)
    ] = 1,
    time: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Time of recipe auto: 30s, 5m, 2h; 0: one answer only."),
    ] = None,
    validation: Annotated[
        float | None, typer.Option(help="Share or number of images that choose.", min=0)
    ] = None,
    test: Annotated[
        float | None, typer.Option(help="Share or number of images for the test.", min=0)
    ] = None,
    fit: Annotated[str | None, typer.Option(help="squash, crop or pad.")] = None,
    positive: Annotated[
        str | None, typer.Option(metavar="CLASS", help="The class that is looked for.")
    ] = None,
    cost_miss: Annotated[
        float | None,
        typer.Option(metavar="X", help="What missing it costs; a false alarm costs 1."),
    ] = None,
    classes: Classes = "",
    group_by: GroupBy = None,
    exclude: Exclude = None,
    root: Root = None,
    path_column: PathColumn = None,
    label_column: LabelColumn = None,
    min_images: MinImages = 0,
    ignore_unknown: Annotated[
        bool, typer.Option("--ignore-unknown", help="Skip classes that train does not have.")
    ] = False,
    keep_leaks: Annotated[
        bool, typer.Option("--keep-leaks", help="Score copies of training images, too.")
    ] = False,
    cross_validate: Annotated[
        int | None,
        typer.Option(metavar="K", help="Hold every image out once, in K folds, usually 5 or 10."),
    ] = None,
    from_run: Annotated[
        Path | None, typer.Option("--from", metavar="RUN", help="Start from this run's weights.")
    ] = None,
    feedback: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Also train on the pictures corrected here.")
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Go on with a run that did not finish.")
    ] = None,
    extend: Annotated[
        int, typer.Option(help="With --resume: epochs to add to a finished run.", min=0)
    ] = 0,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Also write TensorBoard logs.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Train a classifier on a folder, evaluate it and write its report."""
    from tellapart.training.together import is_main_process
    from tellapart.verbs import train as verb

    if resume is not None:
        made = verb.resume(
            resume,
            extend=extend,
            time=time,
            device=device,
            devices=devices,
            progress=_progress(),
        )
    elif folder is None:
        raise TellapartError("Which images? Give their folder: 'tellapart train FOLDER'.")
    else:
        made = verb.train(
            folder,
            recipe=recipe,
            settings=settings,
            runs=runs,
            run=run,
            seed=seed,
            device=device,
            devices=devices,
            time=time,
            validation=validation,
            test=test,
            fit=fit,
            positive=positive,
            cost_miss=cost_miss,
            classes=_parts(classes),
            group_by=group_by,
            exclude=exclude,
            root=root,
            path_column=path_column,
            label_column=label_column,
            min_images=min_images,
            ignore_unknown=ignore_unknown,
            keep_leaks=keep_leaks,
            cross_validate=cross_validate,
            from_run=from_run,
            feedback=feedback,
            tensorboard=tensorboard,
            progress=_progress(),
        )
    if not is_main_process():
        return  # of several, one speaks
    _show(made, as_json)


@app.command(cls=_Command)
def inspect(
    folder: Annotated[Path, typer.Argument(help="Class folders, part folders, a table, or a zip.")],
    audit: Annotated[
        bool, typer.Option("--audit", help="Also find near duplicates, doubtful labels, outliers.")
    ] = False,
    augment: Annotated[
        str | None, typer.Option(metavar="RECIPE", help="Also show samples as it augments them.")
    ] = None,
    fix: Annotated[
        Path | None, typer.Option(help="Write a CSV for 'train --exclude'; implies --audit.")
    ] = None,
    quarantine: Annotated[
        Path | None, typer.Option(help="Write a plain list of paths; implies --audit.")
    ] = None,
    classes: Classes = "",
    group_by: GroupBy = None,
    exclude: Exclude = None,
    root: Root = None,
    path_column: PathColumn = None,
    label_column: LabelColumn = None,
    min_images: MinImages = 0,
    ignore_unknown: Annotated[
        bool, typer.Option("--ignore-unknown", help="Skip classes that train does not have.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the report; none: runs/inspect-NAME.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the samples.", min=0)] = 0,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Look at a folder before training: counts, sizes, samples, and what is wrong with it."""
    from tellapart.verbs.inspect import inspect as run_verb

    found = run_verb(
        folder,
        audit=audit,
        augment=augment,
        fix=fix,
        quarantine=quarantine,
        classes=_parts(classes),
        group_by=group_by,
        exclude=exclude,
        root=root,
        path_column=path_column,
        label_column=label_column,
        min_images=min_images,
        ignore_unknown=ignore_unknown,
        out=out,
        seed=seed,
        device=device,
        progress=_progress(),
    )
    _show(found, as_json)


@app.command(cls=_Command)
def subset(
    source: Annotated[Path, typer.Argument(help="Labelled images, or files class.number.jpg.")],
    out: Annotated[Path, typer.Argument(help="A folder that does not exist or is empty.")],
    train: Annotated[int, typer.Option(help="Images a class to train on.", min=0)] = 1000,
    validation: Annotated[int, typer.Option(help="Images a class that choose.", min=0)] = 500,
    test: Annotated[int, typer.Option(help="Images a class for the test.", min=0)] = 1000,
    order: Annotated[str, typer.Option(help="sorted or random.")] = "sorted",
    seed: Annotated[int, typer.Option(help="Seed of the random order.", min=0)] = 0,
    link: Annotated[bool, typer.Option("--link", help="Link to the files, copy nothing.")] = False,
    classes: Classes = "",
    root: Root = None,
    path_column: PathColumn = None,
    label_column: LabelColumn = None,
    min_images: MinImages = 0,
    as_json: Json = False,
) -> None:
    """Copy so many images a class into train, validation and test; no picture twice."""
    from tellapart.verbs.subset import subset as run_verb

    made = run_verb(
        source,
        out,
        train=train,
        validation=validation,
        test=test,
        order=order,  # type: ignore[arg-type]
        seed=seed,
        link=link,
        classes=_parts(classes),
        root=root,
        path_column=path_column,
        label_column=label_column,
        min_images=min_images,
        progress=_progress(),
    )
    _show(made, as_json)


@app.command(cls=_Command)
def demo(
    recipe: Annotated[
        str, typer.Option(help="A recipe's name, for example solar-cells-finetune, or a file.")
    ] = "solar-cells",
    runs: Runs = Path("runs"),
    run: RunPath = None,
    seed: Seed = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Train on photographs of solar cells that come as a package: functional or defective?"""
    from tellapart.verbs.demo import demo as run_verb

    made = run_verb(
        recipe=recipe, runs=runs, run=run, seed=seed, device=device, progress=_progress()
    )
    _show(made, as_json)


@app.command(cls=_Command)
def evaluate(
    run: RunFolder,
    folder: Annotated[Path | None, typer.Argument(help="New images; none: the run's own.")] = None,
    device: Device = "auto",
    ignore_unknown: Annotated[
        bool, typer.Option("--ignore-unknown", help="Skip classes that the run does not know.")
    ] = False,
    keep_leaks: Annotated[
        bool, typer.Option("--keep-leaks", help="Score images that the run was made with, too.")
    ] = False,
    foreign: Annotated[
        bool, typer.Option("--foreign", help="Images of no class: how many are called unknown?")
    ] = False,
    root: Root = None,
    path_column: PathColumn = None,
    label_column: LabelColumn = None,
    as_json: Json = False,
) -> None:
    """Score a run on new images, or show again what it scored on its own."""
    from tellapart.verbs.evaluate import evaluate as run_verb

    evaluation = run_verb(
        run,
        folder,
        device=device,
        ignore_unknown=ignore_unknown,
        keep_leaks=keep_leaks,
        foreign=foreign,
        root=root,
        path_column=path_column,
        label_column=label_column,
        progress=_progress(),
    )
    _show(evaluation, as_json)


@app.command(cls=_Command)
def compare(
    runs_to_compare: Annotated[
        list[str], typer.Argument(metavar="RUN...", help="Runs, folders of runs, patterns.")
    ],
    shared_only: Annotated[
        bool, typer.Option("--shared-only", help="Compare on the images that all runs share.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="The page, or its folder; default: a new one in --runs.")
    ] = None,
    runs: Runs = Path("runs"),
    seed: Seed = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Compare runs on the same test images: which is better, and is it more than chance?"""
    from tellapart.verbs.compare import compare as run_verb

    comparison = run_verb(
        runs_to_compare,
        shared_only=shared_only,
        out=out,
        runs=runs,
        seed=seed or 0,
        device=device,
        progress=_progress(),
    )
    _show(comparison, as_json)


@app.command(cls=_Command)
def ladder(
    folder: Annotated[Path, typer.Argument(help="The images, as for train.")],
    epochs: Annotated[
        int | None, typer.Option(help="At most so many epochs a rung.", min=1)
    ] = None,
    settings: Settings = [],  # noqa: B006  typer reads the default, nobody changes it
    root: Root = None,
    path_column: PathColumn = None,
    label_column: LabelColumn = None,
    min_images: MinImages = 0,
    runs: Runs = Path("runs"),
    run: RunPath = None,
    seed: Seed = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Climb from a small CNN to fine-tuning on one split; learn what each step bought."""
    from tellapart.verbs.ladder import ladder as run_verb

    comparison = run_verb(
        folder,
        epochs=epochs,
        settings=settings,
        runs=runs,
        run=run,
        seed=seed,
        device=device,
        root=root,
        path_column=path_column,
        label_column=label_column,
        min_images=min_images,
        progress=_progress(),
    )
    _show(comparison, as_json)


@app.command(cls=_Command)
def tune(
    folder: Annotated[Path | None, typer.Argument(help="The images, as for train.")] = None,
    recipe: Annotated[
        str | None, typer.Option(help="A recipe of method probe or fit, or a YAML file.")
    ] = None,
    time: Annotated[
        str, typer.Option(help="For all of it, the last training included: 30s, 5m, 2h.")
    ] = "1h",
    trials: Annotated[int | None, typer.Option(help="At most so many trials.", min=1)] = None,
    space: Annotated[
        Path | None, typer.Option(metavar="FILE", help="YAML: settings and what to try of each.")
    ] = None,
    objective: Annotated[
        str, typer.Option(help="Made small on validation: log_loss, error, balanced_error.")
    ] = "log_loss",
    sampler: Annotated[str, typer.Option(help="Optuna's: tpe, gp, qmc, random.")] = "tpe",
    pruner: Annotated[str, typer.Option(help="Optuna's: median, hyperband, none.")] = "median",
    settings: Settings = [],  # noqa: B006  typer reads the default, nobody changes it
    runs: Runs = Path("runs"),
    run: RunPath = None,
    resume: Annotated[
        Path | None,
        typer.Option(metavar="TUNING", help="Go on with a tuning, or help one that runs."),
    ] = None,
    seed: Seed = None,
    device: Device = "auto",
    validation: Annotated[
        float | None, typer.Option(help="Share or number of images that choose.", min=0)
    ] = None,
    test: Annotated[
        float | None, typer.Option(help="Share or number of images for the test.", min=0)
    ] = None,
    classes: Classes = "",
    group_by: GroupBy = None,
    exclude: Exclude = None,
    root: Root = None,
    path_column: PathColumn = None,
    label_column: LabelColumn = None,
    min_images: MinImages = 0,
    ignore_unknown: Annotated[
        bool, typer.Option("--ignore-unknown", help="Skip classes that train does not have.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Search a recipe's best settings with Optuna, then train with them."""
    from tellapart.verbs.tune import tune as run_verb

    tuned = run_verb(
        folder,
        recipe=recipe,
        time=time,
        trials=trials,
        space=space,
        objective=objective,
        sampler=sampler,
        pruner=pruner,
        settings=settings,
        runs=runs,
        run=run,
        resume=resume,
        seed=seed,
        device=device,
        validation=validation,
        test=test,
        classes=_parts(classes),
        group_by=group_by,
        exclude=exclude,
        root=root,
        path_column=path_column,
        label_column=label_column,
        min_images=min_images,
        ignore_unknown=ignore_unknown,
        progress=_progress(),
    )
    _show(tuned, as_json)


@app.command(cls=_Command)
def predict(
    run: RunFolder,
    images: Annotated[
        list[Path], typer.Argument(help="Image files or folders of them; -: a list on stdin.")
    ],
    format: Annotated[str, typer.Option(help="table, csv or json.")] = "table",
    unknown: Annotated[
        bool,
        typer.Option(
            "--unknown",
            help="Answer unknown for images unlike the training ones (few that resemble them are).",
        ),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="Write to this .csv, .jsonl or .parquet; goes on with what is there."),
    ] = None,
    sort_into: Annotated[
        Path | None, typer.Option(help="Copy each image into its answer's folder below this one.")
    ] = None,
    link: Annotated[
        bool, typer.Option("--link", help="With --sort-into: link to the files.")
    ] = False,
    move: Annotated[bool, typer.Option("--move", help="With --sort-into: move the files.")] = False,
    workers: Annotated[
        int | None,
        typer.Option(help="With --out or --sort-into: so many processes of Ray share the work."),
    ] = None,
    device: Device = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
) -> None:
    """Classify images: one line each. Exit code 1 where some could not be read."""
    import tellapart.verbs.predict as verb
    from tellapart.prediction.answers import check_format

    check_format(format)
    if as_json and format == "csv":
        raise TellapartError("--json is --format json, which contradicts --format csv; give one.")
    if out is not None or sort_into is not None:
        _show(verb.predict(
            run, images, device=device, unknown=unknown, out=out, sort_into=sort_into, link=link,
            move=move, workers=workers, progress=_progress(),
        ), as_json or format == "json")  # fmt: skip
    if workers is not None:
        raise TellapartError("--workers goes with --out or --sort-into; give one of them.")
    if as_json or format != "table":
        stream = verb.AnswerStream(
            run, images, device=device, unknown=unknown, progress=_progress()
        )
        if format == "csv":
            say(stream.csv_lines())
        else:
            for content in stream.objects():
                say_json(content, indent=None)
        raise typer.Exit(stream.exit_code)
    answers = verb.predict(run, images, device=device, unknown=unknown, progress=_progress())
    say(answers.in_format(format))
    raise typer.Exit(answers.exit_code)


@app.command(cls=_Command)
def decide(
    run: RunFolder,
    precision: Annotated[
        str | None, typer.Option(metavar="CLASS=SHARE", help="A threshold of this precision.")
    ] = None,
    recall: Annotated[
        str | None, typer.Option(metavar="CLASS=SHARE", help="A threshold of this recall.")
    ] = None,
    cost: Annotated[
        str | None,
        typer.Option(metavar="CLASS=X", help="What missing it costs; a false alarm costs 1."),
    ] = None,
    at_most_wrong: Annotated[
        float | None,
        typer.Option(metavar="SHARE", help="Answer 'uncertain' so that few answers are wrong."),
    ] = None,
    sure: Annotated[float, typer.Option(metavar="SHARE", help="How sure that is.")] = 0.95,
    sets: Annotated[
        float | None,
        typer.Option(metavar="SHARE", help="Name classes that hold the true one this often."),
    ] = None,
    unknown: Annotated[
        bool, typer.Option("--unknown", help="Answer unknown without being asked.")
    ] = False,
    likeliest: Annotated[
        bool, typer.Option("--likeliest", help="The likeliest class again, of every image.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Choose on validation how a run answers: a threshold, 'uncertain', sets, 'unknown'."""
    from tellapart.verbs.decide import decide as run_verb

    decided = run_verb(
        run,
        precision=precision,
        recall=recall,
        cost=cost,
        at_most_wrong=at_most_wrong,
        sure=sure,
        sets=sets,
        unknown=unknown,
        likeliest=likeliest,
        progress=_progress(),
    )
    _show(decided, as_json)


@app.command(cls=_Command)
def explain(
    run: RunFolder,
    images: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[IMAGE]...", help="Image files or folders; none: its mistakes."),
    ] = None,
    count: Annotated[int, typer.Option(help="How many mistakes to explain.", min=1)] = 8,
    target: Annotated[
        str | None, typer.Option(help="Explain this class instead of the answer.")
    ] = None,
    layer: Annotated[str | None, typer.Option(help="Show this layer's feature maps.")] = None,
    name: Annotated[
        str | None, typer.Option(help="Folder below RUN/explanations.", show_default=False)
    ] = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Show where a run looks, and which training images its answers rest on."""
    from tellapart.verbs.explain import explain as run_verb

    explained = run_verb(
        run,
        images or (),
        count=count,
        target=target,
        layer=layer,
        name=name,
        device=device,
        progress=_progress(),
    )
    _show(explained, as_json)


@app.command(cls=_Command)
def drift(
    run: RunFolder,
    images: Annotated[
        list[Path],
        typer.Argument(metavar="IMAGE...", help="Folders and files; - for a list of them."),
    ],
    out: Annotated[
        Path | None, typer.Option(help="The page, or its folder; default: one in RUN/drift.")
    ] = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Ask whether new images still look like those of training, and which do not."""
    from tellapart.verbs.drift import drift as run_verb

    _show(run_verb(run, images, out=out, device=device, progress=_progress()), as_json)


@app.command(cls=_Command)
def export(
    run: RunFolder,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to make.")],
    to: Annotated[str, typer.Option(help="onnx, openvino, torch or timm.")] = "onnx",
    int8: Annotated[
        bool, typer.Option("--int8", help="Quantise to 8 bits; the cost is measured.")
    ] = False,
    float_input: Annotated[
        bool, typer.Option("--float", help="Take normalised float32 (N, 3, H, W).")
    ] = False,
    images: Annotated[
        list[Path] | None,
        typer.Option(metavar="PATH", help="Check with these pictures, not the run's own."),
    ] = None,
    check: Annotated[
        int, typer.Option(metavar="N", help="How many images are compared.", min=1)
    ] = 500,
    as_json: Json = False,
) -> None:
    """Write a model that runs without tellapart, and check that it says the same."""
    from tellapart.verbs.export import export as run_verb

    made = run_verb(
        run,
        out,
        to=to,
        int8=int8,
        float_input=float_input,
        images=images or (),
        check=check,
        progress=_progress(),
    )
    _show(made, as_json)


@app.command(cls=_Command)
def serve(
    runs: Annotated[
        list[str],
        typer.Argument(metavar="RUN...", help="Run folders or exports; NAME=RUN names one."),
    ],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65535)] = 8000,
    token_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Requests must bring the token in this file."),
    ] = None,
    workers: Annotated[int, typer.Option(help="Processes that answer.", min=1)] = 1,
    feedback: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Keep corrected pictures in class folders here."),
    ] = None,
    limits: Annotated[
        list[str],
        typer.Option("--limit", metavar="KEY=NUMBER", help="Change what requests may take."),
    ] = [],  # noqa: B006  typer reads the default, nobody changes it
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Answer over HTTP, with a page to drop pictures on, until Ctrl-C."""
    from tellapart.verbs.serve import serve as run_verb

    ended = run_verb(
        runs,
        host=host,
        port=port,
        token_file=token_file,
        workers=workers,
        feedback=feedback,
        limits=limits,
        device=device,
        progress=_progress(),
    )
    _show(ended, as_json)


@app.command(cls=_Command)
def private(
    page: Annotated[Path, typer.Argument(help="A page, or a folder with one, such as a run's.")],
    out: Annotated[
        Path | None, typer.Option(help="The copy; none: report-private.html beside it.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Copy a page so that it can be sent: no pictures, no absolute paths, no machine."""
    from tellapart.verbs.private import private as run_verb

    _show(run_verb(page, out=out), as_json)


@app.command(cls=_Command)
def imagenet(
    images: Annotated[list[Path], typer.Argument(help="Image files or folders of them.")],
    backbone: Annotated[
        str, typer.Option(help="A network of 'tellapart backbones'.")
    ] = "tf_efficientnet_lite0",
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Name what is in images: the five likeliest of the 1000 ImageNet classes."""
    from tellapart.verbs.imagenet import imagenet as run_verb

    answers = run_verb(images, backbone=backbone, device=device, progress=_progress())
    _show(answers, as_json)


@app.command(cls=_Command)
def recipes(
    name: Annotated[str | None, typer.Argument(help="Show this recipe in full.")] = None,
    as_json: Json = False,
) -> None:
    """List the recipes, or show one in full."""
    from tellapart.verbs.recipes import recipes as run_verb

    found = run_verb(name)
    _show(found, as_json)


@app.command(cls=_Command)
def backbones(
    filter: Annotated[str, typer.Argument(help="Part of a name; empty: the best known.")] = "",
    as_json: Json = False,
) -> None:
    """List pretrained networks: size, licence, and whether their weights are here."""
    from tellapart.verbs.backbones import backbones as run_verb

    found = run_verb(filter)
    _show(found, as_json)


@app.command("report", cls=_Command)
def write_report(
    run: RunFolder,
    open: Annotated[bool, typer.Option("--open", help="Show it in the browser.")] = False,
    as_json: Json = False,
) -> None:
    """Make a run's page again from its folder, and open it."""
    from tellapart.verbs.write_report import write_report as run_verb

    _show(run_verb(run, open=open, progress=_progress()), as_json)


@app.command("cache", cls=_Command)
def manage_cache(
    clear: Annotated[bool, typer.Option("--clear", help="Remove all of it.")] = False,
    limit: Annotated[
        str | None, typer.Option(metavar="SIZE", help="How much it may hold from now on: 5GB.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what is kept from run to run, empty it, or say how much it may hold."""
    from tellapart.verbs.manage_cache import manage_cache as run_verb

    _show(run_verb(clear=clear, limit=limit), as_json)


@app.command(cls=_Command)
def doctor(as_json: Json = False) -> None:
    """Look at versions, devices, cache and weights; say what is missing and the command for it."""
    from tellapart.verbs.doctor import doctor as run_verb

    _show(run_verb(), as_json)


@app.command(cls=_Command)
def licences(as_json: Json = False) -> None:
    """List the licences of all packages that are used, and of pretrained weights."""
    from tellapart.verbs.licences import licences as run_verb

    _show(run_verb(), as_json)


def main() -> NoReturn:
    """Run the command line and end the process with its exit code."""
    wait_briefly()
    run_command(lambda: app(prog_name="tellapart"))


def _progress() -> Progress:
    from tellapart.progress import TerminalProgress

    return TerminalProgress()


def _parts(text: str) -> tuple[str, ...]:
    parts = tuple(part.strip() for part in text.split(",") if part.strip())
    if text and not parts:
        raise TellapartError(f"--classes '{text}' names no class; separate names by commas.")
    return parts


def _show(result: Result, as_json: bool) -> NoReturn:
    """Print a result, as JSON or for people, and end with its exit code."""
    if as_json:
        say_json(result.to_json())
    else:
        say(shown(line) for line in result.lines())  # no name in it moves the cursor
    raise typer.Exit(result.exit_code)
