"""Distorted training images, new in each epoch, made by a process of its own while the epoch before is trained on.

The run calls `distorted_epochs`; the process runs this file. Two pipes join them: one brings the images to the process,
the other takes the distorted ones back. A pipe holds little, so the process is never more than an epoch ahead. When the
run ends, however it ends, the pipes break and the process ends, too.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from processor import THREADS, keep_freed_memory
from ranks import rows
from stopping import APART

from tinygrad_np.data import distort
from tinygrad_np.errors import DataError


def distorted_epochs(
    images: np.ndarray,
    strength: float,
    seed: int,
    epochs: range,
    batch_size: int = 1,
    part: tuple[int, int] = (0, 1),
) -> Iterator[np.ndarray]:
    """The images for each of the epochs, distorted in a way that only the seed and the epoch's number decide.

    Of several ranks, each gets those of the `ranks.rows` that are its part, and its number decides as well.

    In the last fifth of the run, which ends at `epochs.stop`, distortions have half the strength: what the network
    learns last is then nearer to the images that it is for (He et al. 2019, "Data Augmentation Revisited").

    `images` have shape (N, height, width) and dtype uint8 or float32, and so has what is returned, with its own N. The
    iterator must be closed.
    """
    arguments = [epochs.start, epochs.stop, seed, batch_size, *part, strength, images.dtype.name, *images.shape]
    process = subprocess.Popen(
        [sys.executable, __file__, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **dict.fromkeys(THREADS, "1")},  # the other cores are for training
        **APART,  # it ends when its pipes break
    )
    try:
        with suppress(OSError), process.stdin:
            process.stdin.write(np.ascontiguousarray(images))
        for epoch in epochs:
            count = len(rows(len(images), batch_size, seed, epoch, part))
            distorted = np.empty((count, *images.shape[1:]), images.dtype)
            if process.stdout.readinto(distorted.reshape(-1).view(np.uint8)) < distorted.nbytes:
                raise DataError(
                    f"the process that distorts the training images ended, with status {process.wait()}; "
                    "resume the run with --resume, or train without --distort"
                )
            yield distorted
    finally:
        process.kill()
        process.stdout.close()
        process.wait()


def main() -> None:
    first, end, seed, batch_size, rank, size = map(int, sys.argv[1:7])
    strength, dtype, shape = float(sys.argv[7]), np.dtype(sys.argv[8]), tuple(map(int, sys.argv[9:]))
    pixels = sys.stdin.buffer.read()
    if len(pixels) < np.prod(shape) * dtype.itemsize:
        return
    images = np.frombuffer(pixels, dtype).reshape(shape)
    for epoch in range(first, end):
        late = 5 * epoch >= 4 * end
        mine = images[rows(len(images), batch_size, seed, epoch, (rank, size))]
        generator = np.random.default_rng([seed, 3, epoch, *([rank] if rank else [])])
        distorted = distort(mine, generator, strength / 2 if late else strength)
        if dtype == np.uint8:
            np.rint(distorted, out=distorted)
        rest = memoryview(distorted.astype(dtype, copy=False)).cast("B")
        while rest:
            rest = rest[os.write(1, rest) :]


if __name__ == "__main__":
    keep_freed_memory()
    with suppress(OSError):  # a broken pipe; on Windows it has no class of its own
        main()
