# %% [markdown]
# # Magneton in a notebook
#
# Affinities in memory are segmented, the threshold is chosen by what it does, and the result is
# looked at. docs/python.md has the details. The picture needs matplotlib (`[view]`).

# %%
import numpy as np

import magneton

# %% [markdown]
# ## Affinities
#
# Yours come from a network. Here they are made: cells around random points; affinities are 1 inside
# a cell, 0 between two, and noisy.

# %%
rng = np.random.default_rng(0)
shape = (24, 64, 64)
points = rng.uniform(0, 1, (40, 3)) * shape
at = np.stack(np.indices(shape), -1)
distance = [((at - point) ** 2).sum(-1) for point in points]
truth = 1 + np.argmin(distance, axis=0)

affinities = np.zeros((3, *shape), np.float32)
for axis in range(3):
    here, edge = np.moveaxis(truth, axis, 0), np.moveaxis(affinities[axis], axis, 0)
    edge[1:] = here[1:] == here[:-1]  # joins a voxel with the one before it
affinities = np.abs(affinities - np.abs(rng.normal(0, 0.25, affinities.shape)))
affinities = np.clip(affinities, 0, 1).astype(np.float32)

# %% [markdown]
# ## Segment
#
# Without a threshold, the map's own is taken. This volume is small, so small regions are kept.

# %%
labels, tree = magneton.segment(affinities, s2=50, s_min=10, return_tree=True)
print(f"{labels.max()} objects at {tree.threshold:g}, of {tree.up.size - 1} supervoxels")

# %% [markdown]
# ## Other thresholds
#
# Less merges more. A cut takes milliseconds.

# %%
thresholds = np.round(np.arange(0.05, 1, 0.05), 2)
objects = [int(magneton.cut(tree, t).max()) for t in thresholds]
for threshold, count in zip(thresholds, objects, strict=True):
    print(f"{threshold:4.2f} {count:5d} {'#' * min(count, 60)}")

# %% [markdown]
# ## Look at it

# %%
import matplotlib.pyplot as plt

middle = shape[0] // 2
colours = np.random.default_rng(1).uniform(0.2, 1, (max(labels.max(), truth.max()) + 1, 3))
figure, panes = plt.subplots(1, 3, figsize=(12, 4))
panes[0].imshow(affinities[2, middle], cmap="gray")
panes[0].set_title("affinities (x)")
panes[1].imshow(colours[labels[middle]])
panes[1].set_title(f"segmentation at {tree.threshold:g}")
panes[2].imshow(colours[truth[middle]])
panes[2].set_title("truth")
figure.tight_layout()
plt.show()
