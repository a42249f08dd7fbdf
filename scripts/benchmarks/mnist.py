"""MNIST read without a framework, quickly and with little memory: unzip, skip the header, view."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np

DIRECTORY = Path(__file__).resolve().parents[2] / "models" / "data" / "mnist"


def load(part: str) -> tuple[np.ndarray, np.ndarray]:
    """The images of "train" or "t10k", uint8 of shape (N, 784), and their labels, int64 of shape (N,)."""
    images, labels = (unzip(DIRECTORY / f"{part}-{name}-ubyte.gz") for name in ("images-idx3", "labels-idx1"))
    return images[16:].reshape(-1, 784), labels[8:].astype(np.int64)


def unzip(path: Path) -> np.ndarray:
    compressed = path.read_bytes()
    content = np.empty(int.from_bytes(compressed[-4:], "little"), np.uint8)  # the format ends with the size
    inflater, filled = zlib.decompressobj(wbits=31), 0
    for start in range(0, len(compressed), 2**16):
        piece = inflater.decompress(compressed[start : start + 2**16])
        content[filled : filled + len(piece)] = np.frombuffer(piece, np.uint8)
        filled += len(piece)
    return content
