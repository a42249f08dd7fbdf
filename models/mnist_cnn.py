"""The convolutional network for MNIST: the network that `scripts/train.py --model cnn` trains.

As LeNet-5 (LeCun et al. 1998, figure 2) it finds ever larger shapes in ever smaller images: edges, strokes, digits.
"""

from collections.abc import Sequence

import numpy as np

from models.mnist_mlp import ACTIVATIONS, INITIALISERS
from tinygrad_np import Tensor, nn


class MnistCNN(nn.Module):
    """Convolutions, the first two of them with pooling, and a linear layer on what they find.

    Args:
        image_shape: the rows and columns of an image.
        channels: how many filters each convolution has. Those of the first are 5 x 5, the others 3 x 3.
        classes: the number of classes.
        activation: a key of `ACTIVATIONS`.
        dropout: the share of what the convolutions find that is dropped in training.
        init: a key of `INITIALISERS`: how the weights start.
        generator: draws the weights, and what to drop. `numpy.random.default_rng()` if None.

    >>> MnistCNN((28, 28), [8, 16])(np.zeros((32, 784), dtype=np.float32)).shape
    (32, 10)
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        channels: Sequence[int],
        classes: int = 10,
        activation: str = "relu",
        dropout: float = 0.0,
        init: str = "pytorch",
        generator: np.random.Generator | int | None = None,
    ) -> None:
        generator = np.random.default_rng(generator)
        layers: list[nn.Module] = [nn.Unflatten(1, (1, *image_shape))]
        for i, (inputs, outputs) in enumerate(zip([1, *channels], channels, strict=False)):
            layers.append(nn.Conv2d(inputs, outputs, 3 if i else 5, generator=generator))
            layers += [nn.MaxPool2d(2)] * (i < 2)  # before the activation, which then has a quarter of the work
            layers.append(ACTIVATIONS[activation]())
        layers.append(nn.Flatten())
        if dropout:
            layers.append(nn.Dropout(dropout, generator))
        layers.append(nn.Linear(found(image_shape, channels), classes, generator=generator))
        for layer in layers:
            if hasattr(layer, "weight") and (initialise := INITIALISERS[init]):
                initialise(layer.weight, generator)
        self.layers = nn.Sequential(*layers)

    def forward(self, images: Tensor | np.ndarray) -> Tensor:
        """The unnormalised scores for each class, shape (N, classes), of images of shape (N, pixels)."""
        return self.layers(images)


def found(image_shape: Sequence[int], channels: Sequence[int]) -> int:
    """How many numbers the convolutions find; 0 or less if the image is too small for them."""
    rows, columns = image_shape
    for i in range(len(channels)):
        rows, columns = ((n - (2 if i else 4)) // (2 if i < 2 else 1) for n in (rows, columns))
    return [1, *channels][-1] * max(rows, 0) * max(columns, 0)
