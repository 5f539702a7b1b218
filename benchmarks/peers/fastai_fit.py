"""fastai's usual job on given images, for as long as it is given.

    python benchmarks/peers/fastai_fit.py IMAGES.csv SECONDS OUT.csv [--seed 0]

Runs in an environment that has fastai 2.8 beside torch, torchvision, timm and tellapart, whose
reader of packaged weights it uses. IMAGES has a row an image: file, path, label, part. The network
is the first answer's, EfficientNet-Lite0 with the same weights, under fastai's own head; pictures,
augmentation and ``fine_tune`` (one epoch of the head, then all layers) are as fastai has them
where nothing is set, at 224 pixels and 64 images a batch. What a user would do with a stop-watch
is done here: a few batches of both stages are timed, and as many epochs are asked for as fit, at
most 40; where images are few a batch has a quarter of them. OUT
has a row a test image: path, label, prediction.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path
from time import perf_counter
from typing import Any

import pandas
from fastai.vision.all import (
    CategoryBlock,
    ColReader,
    CrossEntropyLossFlat,
    DataBlock,
    ImageBlock,
    IndexSplitter,
    Learner,
    Resize,
    accuracy,
    aug_transforms,
    create_timm_model,
    default_split,
    set_seed,
)
from fastai.vision.learner import _timm_norm

from tellapart.models.weights import load_pretrained

BACKBONE, SIZE, BATCH, TIMED_BATCHES = "tf_efficientnet_lite0", 224, 64, 3
#: Of few images more would fit, and only be learnt by heart.
MOST_EPOCHS = 40


def learner_of(frame: pandas.DataFrame) -> Any:
    """What ``vision_learner(dls, "tf_efficientnet_lite0")`` makes, weights from the package."""
    chosen = frame.index[frame["part"] == "validation"].tolist()
    block = DataBlock(
        blocks=(ImageBlock, CategoryBlock), get_x=ColReader("file"), get_y=ColReader("label"),
        splitter=IndexSplitter(chosen), item_tfms=Resize(SIZE), batch_tfms=aug_transforms(),
    )  # fmt: skip
    # fastai drops a last batch that is not full: with few images there would be none.
    batch = min(BATCH, max(4, (len(frame) - len(chosen)) // 4))
    loaders = block.dataloaders(frame, bs=batch, num_workers=2)
    model, config = create_timm_model(BACKBONE, len(loaders.vocab), pretrained=False)
    known = load_pretrained(BACKBONE).state_dict()
    wanted = model[0].model.state_dict()
    model[0].model.load_state_dict({name: known[name] for name in wanted})
    _timm_norm(loaders, config, True)
    learner = Learner(
        loaders, model, loss_func=CrossEntropyLossFlat(), splitter=default_split, metrics=accuracy
    )
    learner.freeze()
    return learner


def seconds_a_batch(learner: Any) -> float:
    """Of a training step as the learner stands, loading of images included."""
    learner.model.train()
    times = []
    for number, (images, labels) in enumerate(learner.dls.train):
        started = perf_counter()
        loss = learner.loss_func(learner.model(images), labels)
        loss.backward()
        learner.model.zero_grad()
        times.append(perf_counter() - started)
        if number == TIMED_BATCHES:
            break
    return float(min(times))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=Path)
    parser.add_argument("seconds", type=float)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    began = perf_counter()
    frame = pandas.read_csv(given.images, dtype=str)
    known = frame[frame["part"].isin(["train", "validation"])].reset_index(drop=True)
    test = frame[frame["part"] == "test"].reset_index(drop=True)
    set_seed(given.seed, reproducible=True)

    learner = learner_of(known)
    frozen = seconds_a_batch(learner)
    learner.unfreeze()
    whole = seconds_a_batch(learner)
    learner = learner_of(known)  # statistics of BatchNorm moved
    batches = len(learner.dls.train)
    # Validation and the test part at the end cost about a third of a training step each.
    images = len(learner.dls.valid_ds)
    rest = whole / learner.dls.train.bs / 3
    left = given.seconds - (perf_counter() - began) - len(test) * rest
    an_epoch = batches * whole + images * rest
    epochs = max(1, int((left - batches * frozen - images * rest) / an_epoch))
    epochs = min(epochs, MOST_EPOCHS)
    if batches * (frozen + whole) > left:
        raise SystemExit(f"one epoch of each stage takes more than the {given.seconds:.0f} s given")
    with learner.no_bar():
        learner.fine_tune(epochs)
        said, _ = learner.get_preds(dl=learner.dls.test_dl(test))
    vocabulary = [*learner.dls.vocab]
    predictions = [vocabulary[number] for number in said.argmax(dim=1).tolist()]
    with given.out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "prediction"])
        writer.writerows(zip(test["path"], test["label"], predictions, strict=True))
    print(json.dumps({"epochs": epochs, "seconds": round(perf_counter() - began, 1)}))


if __name__ == "__main__":
    main()
