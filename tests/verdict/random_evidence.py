"""Evidence of every kind, drawn at random: odd sizes, empty classes, leaks, bad trainings."""

from __future__ import annotations

import numpy as np
from made import NAMES, history, metrics
from numpy.random import Generator

from tellapart.evaluation.calibration import ReliabilityBin
from tellapart.evaluation.metric_table import Metrics
from tellapart.number import Number
from tellapart.verdict.evidence import Evidence, Frames, Leak, Origin, Training

ODD_NAMES = ("no tumour", "é–ü", "it's", "a,b", "$HOME", "--x")


def some(random: Generator, part: str, classes: tuple[str, ...], least: int = 0) -> Metrics:
    size = len(classes)
    images = int(random.choice([least, 1, 2, 5, 20, 60, 300, 2000]))
    images = max(images, least)
    labels = random.choice(size, images, p=random.dirichlet(np.full(size, 1.0)))
    answers = labels.copy()
    wrong = random.random(images) < random.choice([0.0, 0.02, 0.1, 0.4, 0.9, 1.0])
    answers[wrong] = random.integers(0, size, int(wrong.sum()))
    if random.random() < 0.1:
        answers[:] = int(random.integers(size))
    matrix = np.zeros((size, size), dtype=int)
    np.add.at(matrix, (labels, answers), 1)
    error = float(random.choice([0.01, 0.05, 0.2]))
    bins: tuple[ReliabilityBin, ...] = ()
    if images and random.random() < 0.5:  # it is as sure of all its answers
        right = float(np.trace(matrix) / images)
        bins = (ReliabilityBin(14 / 15, 1.0, images, float(random.uniform(0.94, 1.0)), right),)
    return metrics(
        matrix,
        part,
        classes=classes,
        sure=float(random.uniform(0.3, 1.0)),
        calibration=(error, error / 2, 2 * error),
        reliability=bins,
        log_loss=float(random.uniform(0.3, 2.0)),
    )


def draw(random: Generator) -> Evidence:
    def flip(share: float = 0.5) -> bool:
        return bool(random.random() < share)

    size = int(random.integers(2, 7))
    classes = ODD_NAMES[:size] if flip(0.2) else NAMES[:size]
    own = flip(0.8)
    part = str(random.choice(["test", "validation"], p=[0.8, 0.2])) if own else "phone photos"
    shown = some(random, part, classes)
    validation = some(random, "validation", classes) if flip(0.8) else None
    test = some(random, "test", classes) if flip(0.8) else None
    if part == "validation":
        validation, test = shown, None
    elif part == "test":
        test = shown
    leak = None
    if flip(0.3):
        other = some(random, part, classes, least=1)
        counted = flip()
        if counted and shown.images:
            none_left = flip(0.2)
            leak = Leak(
                images=shown.images if none_left else max(1, shown.images // 3),
                of=shown.images,
                copies=int(flip()),
                near=int(flip()),
                with_them=shown,
                without_them=None if none_left else other,
                counted=True,
            )
        else:
            leak = Leak(
                images=other.images,
                of=other.images + shown.images,
                copies=3,
                near=0,
                with_them=other,
                without_them=shown,
            )
    losses = list(random.uniform(0.1, 1.0, int(random.integers(1, 14))))
    if flip():
        losses = sorted(losses, reverse=flip())
    in_epochs = flip()
    pretrained = flip(0.7)
    ended = str(random.choice(["", "", "early stopping", "time limit", "interrupted"]))
    stopped = "stopped at epoch 2 of 30" if ended == "interrupted" else ""
    gain = float(random.normal(0, 0.05))
    training = Training(
        pretrained=pretrained,
        frozen=pretrained and flip(),
        augmented=flip(),
        balanced=flip(),
        in_epochs=in_epochs,
        history=history(losses) if in_epochs else (),
        kept_epoch=int(random.integers(1, 10)) if in_epochs and flip() else None,
        ended_by=ended if in_epochs else "",
        interruption=stopped if in_epochs else "",
        seconds_an_epoch=float(random.uniform(0.1, 500)) if flip() else None,
    )
    folder = str(random.choice(["/data/pets", "/data/my pets", "/d/it's", "/d/$(x);y", "/d/é"]))
    origin = Origin(
        run=str(random.choice(["runs/a", "-run", "my runs/b"])),
        folder=folder,
        reading=("--exclude", "/tmp/out list.csv", "--ignore-unknown") if flip(0.3) else (),
        dividing=("--set", 'data.train_folders=["a b", "c"]', "--set", "seed=3")
        if flip(0.3)
        else (),
        recipe=str(random.choice(["auto", "finetune", "my runs/b/recipe.yaml"])),
        given_parts=frozenset({"train", "test"}) if flip(0.4) else frozenset(),
        started_from=str(random.choice(["", "runs/first", "-first run"])),
        started_elsewhere=flip(),
        fits=frozenset({"finetune"}) if flip() else frozenset(),
    )
    return Evidence(
        shown=shown, own=own, train=some(random, "train", classes) if flip(0.8) else None,
        validation=validation, test=test,
        counts={p: {n: int(random.integers(0, 3000)) for n in classes}
                for p in ("train", "validation", "test")} if flip(0.9) else {},
        leak=leak, leaks_sought=flip(),
        not_sought=str(random.choice([*[""] * 9, "too many", "all alike", "not kept"])),
        validation_leak=int(random.choice([0, 0, 1, 30])),
        borderline=int(random.choice([0, 0, 1, 12])),
        groups=int(random.integers(1, shown.images + 1)) if shown.images and flip(0.3) else None,
        frames=Frames(images=40, of=60, group_by=r"^(.*?)\d+\.\w+$") if flip(0.2) else None,
        unlike=Number(0.3, float(random.uniform(0, 0.3)), 0.5) if flip(0.2) else None,
        temperature=float(random.uniform(0.5, 3.0)),
        temperature_gain=Number(gain, gain - 0.02, gain + 0.02) if flip() else None,
        training=training, origin=origin if flip(0.95) else None,
    )  # fmt: skip
