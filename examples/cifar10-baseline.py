# %% [markdown]
# # CIFAR-10 with a small network
#
# The first notebook of every course: three convolutions, SGD, ten classes. The original needs a
# hundred cells; here are its network, its settings, its figures, and what it got wrong.

# %%
from IPython.display import Image

import at_hand
import tellapart as ta

# 250 of 1,000 a class and folder; without per_class all are taken.
photos = at_hand.cifar10(per_class=250)

# %% [markdown]
# ## What is in the folder
#
# Look before training: sizes, classes, files that cannot be read, copies.

# %%
looked = ta.inspect(photos, out="runs/cifar10-looked")
print("\n".join(looked.lines()[:16]))

# %% [markdown]
# ## The experiment, as data
#
# Network, optimizer, epochs and parts stand in one file. `differs` says what is not as in the
# original, and `reported` what the original got.

# %%
ta.recipes("cifar-baseline-sgd")

# %% [markdown]
# **Where the original went wrong.** It shuffled whole batches, each of one class folder, instead
# of images, and had 628 steps an epoch where 625 were meant. Its text says that convolutions are
# not padded; its code pads them. A cell run twice failed, because `callbacks` had become a list.

# %%
run = ta.train(photos, recipe="cifar-baseline-sgd", run="runs/cifar10-baseline")
run

# %% [markdown]
# ## How training went
#
# The weights that are kept are those of the epoch with the lowest validation loss, whether or not
# early stopping fired.

# %%
Image(run.path / "figures" / "learning_curves.png", width=560)

# %%
print(f"{len(run.history())} epochs, the best is {run.kept_epoch}")

# %% [markdown]
# ## Every number from one table
#
# Accuracy, confusion matrix, ROC curves and F1 are computed from `predictions/test.csv`, one row
# an image, written in one pass. Each has its 95 % interval.

# %%
scores = ta.evaluate(run).metrics["test"]
print("accuracy           ", scores.accuracy.with_limits(2))
print("macro F1           ", scores.macro.f1.with_limits(2))
print("ROC AUC            ", scores.roc_auc.with_limits(2))
print("calibration error  ", scores.calibration_error.with_limits(2))

# %%
Image(run.path / "figures" / "roc.png", width=560)

# %% [markdown]
# ## What the original announced and did not run
#
# Six convolutions with BatchNorm, dropout and RMSprop: `cifar-batchnorm-rmsprop`. Two epochs are
# enough to see where it goes; leave the setting out to train it to its end.

# %%
second = ta.train(
    photos,
    recipe="cifar-batchnorm-rmsprop",
    settings=["training.epochs=2"],
    run="runs/cifar10-batchnorm",
)
compared = ta.compare([run, second], out="runs/cifar10-compared")
compared

# %% [markdown]
# The two are told apart by a paired test on the same images, not by which number is larger. Next:
# [a pretrained network](cifar10-frozen-vgg16.ipynb) on the same pictures.
