# %% [markdown]
# # CIFAR-10 with a frozen VGG16, augmentation, and fine-tuning
#
# Transfer learning at its simplest: a network trained on ImageNet stands still, a small head on
# top learns from augmented pictures. Then the last block moves, which the original only
# announced. It ran VGG16 over every image in each of 50 epochs, 1,100 seconds each.

# %%
from IPython.display import Image

import at_hand
import tellapart as ta

# 30 of 1,000 a class and folder; without per_class all are taken.
photos = at_hand.cifar10(per_class=30)
network = at_hand.backbone("vgg16")

# %% [markdown]
# The recipe names VGG16. Any network of `ta.backbones()` can stand in its place, by one setting;
# pixels are always normalised as its own weights ask.

# %%
frozen = [f"model.backbone={network}", "training.epochs=15"]
ta.recipes("cifar-vgg16-frozen-augmented")

# %% [markdown]
# ## What augmentation does to a picture
#
# `inspect` draws the sheet: the pictures as the network will see them.

# %%
looked = ta.inspect(
    photos, augment="cifar-vgg16-frozen-augmented", out="runs/cifar10-views"
)
print(looked.report)

# %% [markdown]
# ## The head on the frozen network
#
# The frozen network runs once over four augmented views of each image (`cached_views`), and an
# epoch draws among them: seconds an epoch instead of minutes.

# %%
first = ta.train(
    photos,
    recipe="cifar-vgg16-frozen-augmented",
    settings=frozen,
    run="runs/cifar10-frozen",
)
first

# %% [markdown]
# **Where the original went wrong.** Early stopping never fired in its 50 epochs, so what it
# tested were the weights of the last epoch, not the best ones that it had saved. Whole batches
# were shuffled, not images. "Shuffling is unwanted" for test, said the text, and the loader
# shuffled.

# %%
Image(first.path / "figures" / "learning_curves.png", width=560)

# %% [markdown]
# ## Fine-tuning
#
# From the best weights of the head, the last layers move with a hundredth of the learning rate.
# BatchNorm keeps its statistics. The original's "last 4 layers" are three convolutions and a
# pooling, which has no weights; a recipe names what moves, and training prints it.

# %%
second = ta.train(
    photos,
    recipe="cifar-vgg16-finetune-block5",
    settings=[*frozen, "fine_tuning.epochs=5"],
    run="runs/cifar10-finetuned",
)
second

# %%
for stage in second.info.stages:
    print(f"{stage.last_epoch} epochs, the best is {stage.best_epoch}")

# %% [markdown]
# ## Did it help?

# %%
compared = ta.compare([first, second], out="runs/cifar10-transfer")
compared

# %% [markdown]
# ## Per class

# %%
Image(second.path / "figures" / "confusion_matrix.png", width=480)

# %%
scores = ta.evaluate(second).metrics["test"].per_class
for name in sorted(scores, key=lambda each: scores[each].recall.value or 0)[:3]:
    print(f"{name:<16} found: {scores[name].recall.with_limits(1)}")
