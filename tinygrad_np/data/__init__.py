"""Datasets: reading them from files, and handing them out in minibatches.

The readers take files as they are published: MNIST and its relatives in IDX format, Kaggle's CSV, Keras's npz. They
return plain NumPy arrays, most of them as a `Dataset`. What a file does not say, such as which column holds the labels
or what pixels are to be divided by, is found out in meaning.py, and never in silence. A file is an untrusted input:
whatever is wrong with it raises a `DataError` that names it, within the memory that `opening.MAX_BYTES` allows, and
nothing is ever unpickled.

    dataset = data.load("path/to/fashion-mnist")
    images = data.to_inputs(dataset.train_images)
    for inputs, labels in data.batches(images, dataset.train_labels, batch_size=128, generator=generator):
        ...
"""

__docformat__ = "google"

from tinygrad_np.data.csv import load_csv
from tinygrad_np.data.dataset import Dataset, Unlabelled
from tinygrad_np.data.distortions import distort
from tinygrad_np.data.idx import load_idx
from tinygrad_np.data.loading import UNLABELLED_NAMES, is_csv, load, load_images
from tinygrad_np.data.meaning import check_range, describe_classes, describe_pixels, find_scale, scale_pixels
from tinygrad_np.data.minibatches import batches, split, to_inputs
from tinygrad_np.data.mnist import load_mnist
from tinygrad_np.data.npz import load_npz
from tinygrad_np.data.opening import MissingFileError

__all__ = [
    "UNLABELLED_NAMES",
    "Dataset",
    "MissingFileError",
    "Unlabelled",
    "batches",
    "check_range",
    "describe_classes",
    "describe_pixels",
    "distort",
    "find_scale",
    "is_csv",
    "load",
    "load_csv",
    "load_idx",
    "load_images",
    "load_mnist",
    "load_npz",
    "scale_pixels",
    "split",
    "to_inputs",
]
