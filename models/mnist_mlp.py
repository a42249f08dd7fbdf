"""The multilayer perceptron for MNIST: the whole network that `scripts/train.py` trains, and presets to train it by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from tinygrad_np import Tensor, nn

ACTIVATIONS = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "sigmoid": nn.Sigmoid,
    "softplus": nn.Softplus,
    "tanh": nn.Tanh,
}
INITIALISERS = {
    "pytorch": None,  # what nn.Linear does by itself
    "glorot": nn.init.xavier_uniform_,
    "he": nn.init.kaiming_normal_,
}


class MnistMLP(nn.Module):
    """Linear layers with an activation, and dropout if asked for, between them.

    Takes images as rows of pixels, shape (N, sizes[0]); gives unnormalised scores for the classes, shape
    (N, sizes[-1]). Nothing here is a derivative: `loss.backward()` finds them all.

    >>> MnistMLP([784, 128, 10])(np.zeros((32, 784), dtype=np.float32)).shape
    (32, 10)
    """

    def __init__(
        self,
        sizes: Sequence[int],
        activation: str = "relu",
        dropout: float = 0.0,
        init: str = "pytorch",
        generator: np.random.Generator | int | None = None,
    ) -> None:
        generator = np.random.default_rng(generator)
        layers: list[nn.Module] = []
        for in_features, out_features in pairwise(sizes):
            if layers:
                layers.append(ACTIVATIONS[activation]())
                if dropout:
                    layers.append(nn.Dropout(dropout, generator))
            layers.append(nn.Linear(in_features, out_features, generator=generator))
            if initialise := INITIALISERS[init]:
                initialise(layers[-1].weight, generator)
        self.layers = nn.Sequential(*layers)

    def forward(self, images: Tensor | np.ndarray) -> Tensor:
        return self.layers(images)


@dataclass(frozen=True)
class Preset:
    """A network and a way to train it, under a name: `scripts/train.py --preset NAME`."""

    description: str  # the network, its activation and loss, and the method
    published: str  # the figure it answers to, and whose that is
    goal: float  # the test accuracy it reaches here at least, in percent
    settings: dict[str, Any]  # of train.py, where they are not its defaults


OVERFITTING = {"label_smoothing": 0.0, "lr": 0.001, "schedule": "constant", "epochs": 20, "validation_split": 0.1}
PRESETS = {
    "tutorial": Preset(
        "784-10-10, ReLU, squared error; batch gradient descent",
        "about 85% (a video tutorial)",
        90,
        {
            "hidden": [10],
            "loss": "squared_error",
            "optimizer": "sgd",
            "lr": 1.0,
            "schedule": "constant",
            "batch_size": 60_000,
            "epochs": 500,
        },
    ),
    "overfit-128": Preset(
        "784-128-10, ReLU, cross-entropy; Adam, for so long that it over-fits",
        "no figure, the curves show over-fitting",
        97,
        {"hidden": [128], **OVERFITTING},
    ),
    "overfit-128-64": Preset(
        "784-128-64-10, ReLU, cross-entropy; Adam, for so long that it over-fits",
        "no figure, the curves show over-fitting",
        97,
        {"hidden": [128, 64], **OVERFITTING},
    ),
    "equal-layers": Preset(
        "784-256-256-10, ReLU, cross-entropy; mini-batch gradient descent with momentum",
        "up to 90%",
        98,
        {"hidden": [256, 256], "optimizer": "sgd", "lr": 0.1, "momentum": 0.9, "epochs": 10},
    ),
    "deep-9000": Preset(
        "784-512-128-64-10, ReLU, cross-entropy; Adam, on 9,000 images",
        "99.97% train, 95.8% held out, in 490 s (by hand-written code)",
        95.8,
        {"hidden": [512, 128, 64], "dropout": 0.2, "lr": 0.002, "epochs": 25, "limit": 9_000},
    ),
    "deep": Preset(
        "784-512-128-64-10, ReLU, cross-entropy; Adam, on all images",
        "95.8% on 9,000 images",
        98.3,
        {"hidden": [512, 128, 64], "dropout": 0.2, "lr": 0.002, "epochs": 10},
    ),
    "best": Preset(
        "784-1000-500-10, ReLU, cross-entropy; AdamW, on distorted images, with averaged weights",
        "99.3% (800 hidden units; Simard et al. 2003), 99.65% (12 million weights, on a GPU; Ciresan et al. 2010)",
        99.3,
        {
            "hidden": [1000, 500],
            "label_smoothing": 0.05,
            "optimizer": "adamw",
            "lr": 0.003,
            "weight_decay": 0.01,
            "distort": 1.0,
            "average": 0.999,
            "batch_size": 256,
            "epochs": 80,
        },
    ),
}
for activation in ("relu", "tanh", "sigmoid", "gelu"):
    for loss in ("cross_entropy", "squared_error"):
        PRESETS[f"{activation}-{loss}"] = Preset(
            f"784-128-10, {activation}, {loss.replace('_', ' ')}; Adam",
            "no figure, every pairing learns",
            97,
            {"hidden": [128], "activation": activation, "loss": loss, "lr": 0.01, "epochs": 10},
        )
