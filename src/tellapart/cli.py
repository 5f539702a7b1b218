"""The command line: one small function a verb, and no logic of its own.

Each function turns options into the arguments of the verb of the same name, and its result
into text. What goes wrong for the user's part ends in one sentence and exit code 2.
"""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from tellapart.errors import TellapartError

if TYPE_CHECKING:
    from tellapart.progress import Progress
    from tellapart.run import Run

app = typer.Typer(
    name="tellapart",
    help="A folder of labelled images in, an image classifier that you can trust out.",
    no_args_is_help=True,
    add_completion=False,
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


@app.command()
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
    validation: Annotated[
        float | None, typer.Option(help="Share or number of images that choose.", min=0)
    ] = None,
    test: Annotated[
        float | None, typer.Option(help="Share or number of images for the test.", min=0)
    ] = None,
    fit: Annotated[str | None, typer.Option(help="squash, crop or pad.")] = None,
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
    from_run: Annotated[
        Path | None, typer.Option("--from", metavar="RUN", help="Start from this run's weights.")
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
            resume, extend=extend, device=device, devices=devices, progress=_progress()
        )
    elif folder is None:
        raise TellapartError("Which images? Give their folder: 'tellapart train FOLDER'.")
    else:
        made = verb.train(
            folder, recipe=recipe, settings=settings, runs=runs, run=run, seed=seed,
            device=device, devices=devices, validation=validation, test=test, fit=fit,
            classes=_listed(classes), group_by=group_by, exclude=exclude, root=root,
            path_column=path_column, label_column=label_column, min_images=min_images,
            ignore_unknown=ignore_unknown, from_run=from_run, tensorboard=tensorboard,
            progress=_progress(),
        )
    if not is_main_process():
        return  # of several, one speaks
    if as_json:
        _print_json(verb.result_of(made))
    else:
        _print_run(made)
    if made.interruption:
        raise typer.Exit(130)


@app.command()
def inspect(
    folder: Annotated[Path, typer.Argument(help="Class folders, part folders, a table, or a zip.")],
    audit: Annotated[
        bool, typer.Option("--audit", help="Also find near duplicates, wrong labels, outliers.")
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
        folder, audit=audit, augment=augment, fix=fix, quarantine=quarantine,
        classes=_listed(classes), group_by=group_by, exclude=exclude, root=root,
        path_column=path_column, label_column=label_column, min_images=min_images,
        ignore_unknown=ignore_unknown, out=out, seed=seed, device=device, progress=_progress(),
    )
    if as_json:
        _print_json(found.to_json())
    else:
        for line in found.lines():
            typer.echo(line)


@app.command()
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
    from tellapart.verbs.subset import result_of, subset_lines
    from tellapart.verbs.subset import subset as run_verb

    made = run_verb(
        source, out, train=train, validation=validation, test=test,
        order=order, seed=seed, link=link,  # type: ignore[arg-type]
        classes=_listed(classes), root=root, path_column=path_column,
        label_column=label_column, min_images=min_images,
        progress=_progress(),
    )
    if as_json:
        _print_json(result_of(made))
    else:
        for line in subset_lines(made):
            typer.echo(line)


@app.command()
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
    from tellapart.verbs.train import result_of

    made = run_verb(
        recipe=recipe, runs=runs, run=run, seed=seed, device=device, progress=_progress()
    )
    if as_json:
        _print_json(result_of(made))
    else:
        _print_run(made)
    if made.interruption:
        raise typer.Exit(130)


@app.command()
def evaluate(
    run: RunFolder,
    folder: Annotated[Path | None, typer.Argument(help="New images; none: the run's own.")] = None,
    device: Device = "auto",
    ignore_unknown: Annotated[
        bool, typer.Option("--ignore-unknown", help="Skip classes that the run does not know.")
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
        run, folder, device=device, ignore_unknown=ignore_unknown, foreign=foreign, root=root,
        path_column=path_column, label_column=label_column, progress=_progress(),
    )
    if as_json:
        _print_json(evaluation.to_json())
    else:
        for line in evaluation.lines():
            typer.echo(line)


@app.command()
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
        runs_to_compare, shared_only=shared_only, out=out, runs_folder=runs, seed=seed or 0,
        device=device, progress=_progress(),
    )
    if as_json:
        _print_json(comparison.to_json())
    else:
        for line in comparison.lines():
            typer.echo(line)


@app.command()
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
        folder, epochs=epochs, settings=settings, runs=runs, run=run, seed=seed, device=device,
        root=root, path_column=path_column, label_column=label_column, min_images=min_images,
        progress=_progress(),
    )
    if as_json:
        _print_json(comparison.to_json())
    else:
        for line in comparison.lines():
            typer.echo(line)


@app.command()
def predict(
    run: RunFolder,
    images: Annotated[list[Path], typer.Argument(help="Image files or folders of them.")],
    format: Annotated[str, typer.Option(help="table, csv or json.")] = "table",
    unknown: Annotated[
        bool, typer.Option("--unknown", help="Answer unknown for images unlike the training ones.")
    ] = False,
    device: Device = "auto",
) -> None:
    """Classify images: one line each, with the probability of every class."""
    from tellapart.verbs.predict import predict as run_verb
    from tellapart.verbs.predict import write_answers

    answers = run_verb(run, images, device=device, unknown=unknown, progress=_progress())
    failed = write_answers(answers, format, sys.stdout)
    if failed:
        raise typer.Exit(1)


@app.command()
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
        run, images or (), count=count, target=target, layer=layer, name=name, device=device,
        progress=_progress(),
    )
    if as_json:
        _print_json(explained.to_json())
    else:
        for line in explained.lines():
            typer.echo(line)
    if explained.problems:
        raise typer.Exit(1)


@app.command()
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
    from tellapart.verbs.imagenet import top_five_lines

    answers = run_verb(images, backbone=backbone, device=device, progress=_progress())
    if as_json:
        _print_json([answer.to_json() for answer in answers])
    else:
        for line in top_five_lines(answers):
            typer.echo(line)
    if any(answer.error for answer in answers):
        raise typer.Exit(1)


@app.command()
def recipes(
    name: Annotated[str | None, typer.Argument(help="Show this recipe in full.")] = None,
    as_json: Json = False,
) -> None:
    """List the recipes, or show one in full."""
    from tellapart.verbs.recipes import recipe_text
    from tellapart.verbs.recipes import recipes as run_verb

    found = run_verb(name)
    if as_json:
        _print_json(found if name is None else found[0])
    elif name is not None:
        typer.echo(recipe_text(name))
    else:
        width = max(len(row["name"]) for row in found)
        for row in found:
            typer.echo(f"{row['name']:<{width}}  {row['document']:<9}  {row['title']}")


@app.command()
def backbones(
    filter: Annotated[str, typer.Argument(help="Part of a name; empty: the best known.")] = "",
    as_json: Json = False,
) -> None:
    """List pretrained networks: size, licence, and whether their weights are here."""
    from tellapart.verbs.backbones import backbone_lines
    from tellapart.verbs.backbones import backbones as run_verb

    found = run_verb(filter)
    if as_json:
        _print_json(found)
    else:
        for line in backbone_lines(found):
            typer.echo(line)


def main() -> NoReturn:
    """Run the command line; the exit code is 2 for a user's mistake, 130 for Ctrl-C."""
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `tellapart predict ... | head` is no error
    try:
        app()
    except TellapartError as error:
        typer.echo(f"tellapart: {error}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        typer.echo("tellapart: interrupted.", err=True)
        sys.exit(130)
    sys.exit(0)


def _progress() -> Progress:
    from tellapart.progress import TerminalProgress

    return TerminalProgress()


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _print_json(content: Any) -> None:
    typer.echo(json.dumps(content, indent=1, ensure_ascii=False))


def _print_run(run: Run) -> None:
    for part in ("validation", "test"):
        if part in run.metrics:
            typer.echo(f"{part:<10}  accuracy {run.accuracy(part).with_limits(2)}")
    if run.interruption:
        typer.echo(f"training    {run.interruption}")
    typer.echo(f"report      {run.report}")
    typer.echo(f"{run.path}")
