# %% [markdown]
# # Solar cells, from a folder to a service
#
# Which cells of a photovoltaic module are broken? 2,624 photographs, and a question that has a
# price: a defective cell that is missed costs more than one that is looked at twice.

# %%
from IPython.display import Image

import at_hand
import tellapart as ta

table, root = at_hand.solar_cells()

# %%
looked = ta.inspect(table, root=root, out="runs/cells-looked")
looked

# %% [markdown]
# ## First answer
#
# A logistic regression on features, in seconds: what anything else has to beat.

# %%
probe = ta.train(table, root=root, recipe="probe", run="runs/cells-probe")
print("\n".join(probe.lines()))

# %% [markdown]
# ## Better
#
# Pictures unlike photographs need fine-tuning. A cell has no up and no left, so it is turned by
# quarters and mirrored, in training and in prediction.

# %%
run = ta.train(
    table,
    root=root,
    recipe="solar-cells",
    run="runs/cells",
    # 240 and 8 in the recipe
    settings=["data.image_size=160", "training.epochs=5"],
)
run

# %%
ta.compare([probe, run], out="runs/cells-compared")

# %% [markdown]
# ## A rule
#
# "Find 90 % of the defective ones." The threshold is chosen on validation, measured on test,
# stored in the run, and obeyed by everything that follows.

# %%
print("\n".join(ta.decide(run, recall="defective=0.9").lines()))

# %%
Image(run.path / "figures" / "precision_recall.png", width=520)

# %% [markdown]
# ## Answers
#
# For a few cells here, for a million by `ta.predict(run, folder, out="answers.csv")`.

# %%
tested = [root / path for path in run.predictions("test").paths[:6]]
cells = at_hand.copied(tested, "new")
run.predict(cells)

# %%
print("\n".join(ta.predict(run, cells, out="runs/cells-answers.csv").lines()))

# %% [markdown]
# ## Why?

# %%
ta.explain(run, cells[:2])

# %% [markdown]
# ## A folder that runs without tellapart
#
# Preprocessing and the rule are inside, and the copy is checked against the run, from file to
# decision, before the folder is left behind.

# %%
exported = ta.export(run, "runs/cells-model", check=50)
print("\n".join(exported.lines()))

# %% [markdown]
# ## A service
#
# ```text
# python runs/cells-model/classify.py new/*.png         # the exported folder alone
# tellapart serve runs/cells                            # http://127.0.0.1:8000
# curl -F images=@cell.png http://127.0.0.1:8000/v1/predict
# ```
#
# `/` is a page to drop pictures on; every answer is the one that `predict` gives, by the rule
# above. [Serving](../docs/serve.md) has addresses, limits, tokens and several models.
