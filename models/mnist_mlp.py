"""The multilayer perceptron for MNIST: the network that `scripts/train.py` trains.

Only the forward pass is written here. No line of it is a derivative: `loss.backward()` finds them all.
"""

from collections.abc import Sequence
from itertools import pairwise

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

    Args:
        sizes: how many pixels an image has, the units of each hidden layer, and the number of classes.
        activation: a key of `ACTIVATIONS`.
        dropout: the share of hidden units that are dropped in training.
        init: a key of `INITIALISERS`: how the weights start.
        generator: draws the weights, and the units to drop. `numpy.random.default_rng()` if None.

    >>> MnistMLP([784, 128, 10])(np.zeros((32, 784), dtype=np.float32)).shape
    (32, 10)
    """

    def __init__(
        self,
        sizes: Sequence[int],
        activation: str = "relu",
        dropout: float = 0.0,
        init: str = "pytorch",
        generator: np.random.Generator | None = None,
    ) -> None:
        generator = generator or np.random.default_rng()
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
        """The unnormalised scores for each class, shape (N, classes), of images of shape (N, pixels)."""
        return self.layers(images)
