"""The pictures of a run: its curves, its confusion matrix, its most confident mistakes, and its first-layer weights.

Functions that end in `_figure` make a matplotlib Figure; `draw_run` and `draw_results` write such figures into a
folder. matplotlib is optional and takes a second to import, so it is imported where a figure is made; without it, a
RenderError says what to install. pyplot is not used, since it keeps figures globally and may open windows. The drawing
of a training step, by `draw_step`, is Graphviz's and needs no matplotlib.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from training_run import Run, predict

import tinygrad_np
from tinygrad_np import functional
from tinygrad_np.errors import RenderError
from tinygrad_np.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

    History = Sequence[Mapping[str, float]]  # the lines of a metrics.jsonl

MAX_CLASSES = 100  # a larger confusion matrix is neither printed nor drawn
MAX_CLASSES_COUNTED = 30  # with more classes its cells have no room for numbers
CHECKED = ("test", "validation")  # the images that a run is measured on after each epoch
LINES = {
    "test": {"linestyle": "-"},
    "validation": {"linestyle": "-."},
    "training": {"linestyle": "--", "markerfacecolor": "white"},
}


def draw_run(run: Run, folder: Path) -> list[str]:
    """Write the four pictures of a finished run into its folder; returns a notice for each that had to be left out."""
    save(curves_figure({folder.name: run.progress["history"]}), folder / "curves.png")
    part, images, labels = run.judged()
    notices = draw_results(predict(run.model, images), images, labels, part, run.image_shape, folder)
    if is_picture(run.image_shape):
        weight = next(layer for layer in run.model.layers if hasattr(layer, "weight")).weight.numpy()
        shape = weight.shape[2:] or run.image_shape  # of a filter, or of all that a unit sees
        save(weights_figure(weight.reshape(len(weight), -1), shape), folder / "weights.png")
    else:
        notices.append(f"no weights.png: {no_picture(run.image_shape)}")
    return notices


def draw_step(
    run: Run, values: bool = False, costs: bool = False, depth: int | None = None
) -> tinygrad_np.visualize.Drawing:
    """Draw the training step that the run begins with. The run stays as it is."""
    generator = run.generator.bit_generator.state  # dropout draws from it
    images, labels = next(run.batches(0, run.images))
    if costs:
        run.loss(run.model(images), labels).backward()  # the first step of a process is slower than others
    with tinygrad_np.debug.profile() if costs else tinygrad_np.debug.trace():
        loss = run.loss(run.model(images), labels)
        loss.backward()
    run.model.zero_grad()
    run.generator.bit_generator.state = generator
    return tinygrad_np.visualize.draw(loss, run.model, values=values, costs=costs, depth=depth)


def draw_results(
    scores: np.ndarray, images: np.ndarray, labels: np.ndarray, part: str, image_shape: tuple[int, ...], folder: Path
) -> list[str]:
    """Write confusion.png and mistakes.png into a folder; returns a notice for each that had to be left out.

    `scores` has shape (N, classes), `images` (N, features); `part` names them: "test", "validation" or "training".
    """
    notices = []
    classes = scores.shape[1]
    if classes <= MAX_CLASSES:
        counts = confusion_matrix(labels, scores.argmax(axis=1), classes)
        save(confusion_figure(counts, part), folder / "confusion.png")
    else:
        notices.append(f"no confusion.png: {classes} classes are more than the {MAX_CLASSES} it has room for")
    if is_picture(image_shape):
        save(mistakes_figure(scores, images.reshape(-1, *image_shape), labels, part), folder / "mistakes.png")
    else:
        notices.append(f"no mistakes.png: {no_picture(image_shape)}")
    return notices


def confusion_matrix(labels: np.ndarray, predictions: np.ndarray, classes: int) -> np.ndarray:
    """How often each class (rows) was seen as each class (columns), shape (classes, classes).

    >>> confusion_matrix(np.array([0, 1, 1]), np.array([0, 1, 0]), 2)
    array([[1, 0],
           [1, 1]])
    """
    return np.bincount(labels * classes + predictions, minlength=classes**2).reshape(classes, classes)


def is_picture(shape: tuple[int, ...]) -> bool:
    """Whether an image of this shape can be shown: it has rows, columns and perhaps channels, and is no mere strip.

    >>> [is_picture(shape) for shape in [(28, 28), (32, 32, 3), (784,), (3, 32, 32), (1, 784)]]
    [True, True, False, False, False]
    """
    is_planar = len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3))
    return is_planar and max(shape[:2]) <= 4 * min(shape[:2])


def no_picture(shape: tuple[int, ...]) -> str:
    return f"features of shape {shape} are no picture, which is (rows, columns) or (rows, columns, 1 or 3 channels)"


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of this size in inches.

    Raises a RenderError, which says what to do, if matplotlib cannot be imported.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise RenderError(f"matplotlib is needed ({error}); to install it: python -m pip install matplotlib") from error
    return Figure((width, height), layout="constrained")


def save(figure: Figure, path: Path) -> None:
    """Write the figure as a PNG file, whole or not at all."""
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # letters of a folder's name that the font lacks are boxes
        figure.savefig(content, format="png", dpi=150, bbox_inches="tight")
    write_atomically(path, content.getvalue())


def curves_figure(histories: Mapping[str, History]) -> Figure:
    """The loss and the accuracy after each epoch, of one run or of several in different colours, by name."""
    several = len(histories) > 1
    figure = new_figure(13 if several else 10, max(4.5, 0.22 * len(histories)))  # the legend has a line for each

    from matplotlib import colormaps
    from matplotlib.lines import Line2D
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    axes: dict[str, Axes] = dict(zip(("loss", "accuracy"), figure.subplots(1, 2), strict=True))
    colours = [f"C{i}" for i in range(10)]
    if len(histories) > 10:
        colours = list(colormaps["turbo"](np.linspace(0.05, 0.95, len(histories))))

    short = all(len(history) <= 20 for history in histories.values())
    points = {"marker": "o" if short else "", "markersize": 4}
    for quantity, its_axes in axes.items():
        shown = []
        for history, colour in zip(histories.values(), colours, strict=False):
            for part in LINES:
                key = quantity if part == "training" else f"{part}_{quantity}"
                if any(key in line for line in history):
                    its_axes.plot(
                        [line["epoch"] for line in history],
                        [line.get(key, np.nan) for line in history],
                        color=colour,
                        **LINES[part],
                        **points,
                    )
                    shown.append(part)
        its_axes.legend(
            [
                Line2D([], [], color="black" if several else "C0", **LINES[part], **points)
                for part in LINES
                if part in shown
            ],
            ["training, during the epoch" if part == "training" else part for part in LINES if part in shown],
        )
        its_axes.set(xlabel="epoch", ylabel=quantity)
        its_axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        its_axes.grid(alpha=0.3)
    axes["accuracy"].yaxis.set_major_formatter(PercentFormatter(1))
    losses = [line["loss"] for history in histories.values() for line in history]
    if losses and 0 < 10 * min(losses) < max(losses):
        axes["loss"].set_yscale("log")

    figure.suptitle(curves_title(histories), parse_math=False)
    if several:
        handles = [Line2D([], [], color=colour) for colour, _ in zip(colours, histories, strict=False)]
        legend = figure.legend(handles, [str(i) for i in range(len(handles))], loc="outside right upper")
        for text, name in zip(legend.get_texts(), histories, strict=True):
            text.set(text=name, parse_math=False)  # a label that starts with _ would be left out, and $ be mathematics
    return figure


def curves_title(histories: Mapping[str, History]) -> str:
    """What the curves show: the last accuracy of the run, or of several runs the highest."""
    last = [
        (history[-1][f"{part}_accuracy"], part, name, len(history))
        for name, history in histories.items()
        for part in CHECKED
        if history and f"{part}_accuracy" in history[-1]
    ]
    if not last:
        return "no epoch has ended yet"
    accuracy, part, name, epochs = max(last)
    ending = f", the highest of {len(histories)} runs: {name}" if len(histories) > 1 else ""
    return f"{part} accuracy {accuracy:.2%} after {epochs} epoch{'s' * (epochs > 1)}{ending}"


def confusion_figure(counts: np.ndarray, part: str) -> Figure:
    """A confusion matrix in which mistakes stand out: only they are coloured, the right answers are grey."""
    classes = len(counts)
    side = 2 + min(0.5 * classes, 10)
    figure = new_figure(side + 0.5, side)

    from matplotlib.ticker import MaxNLocator

    axes = figure.subplots()
    mistakes = counts * (1 - np.eye(classes, dtype=counts.dtype))
    highest = max(int(mistakes.max()), 1)
    image = axes.imshow(np.ma.array(mistakes, mask=np.eye(classes, dtype=bool)), cmap="Reds", vmin=0, vmax=highest)
    axes.set_facecolor("0.9")  # shows where the matrix is masked
    figure.colorbar(image, label="images", shrink=0.6, ticks=MaxNLocator(5, integer=True))
    if classes <= MAX_CLASSES_COUNTED:
        axes.set(xticks=range(classes), yticks=range(classes))
        size = min(10, 36 / len(str(counts.max())))
        for truth, seen in np.argwhere(counts):
            colour = "white" if mistakes[truth, seen] > 0.6 * highest else "black"
            axes.text(seen, truth, str(counts[truth, seen]), ha="center", va="center", color=colour, fontsize=size)
    axes.set(xlabel="seen as", ylabel="true class")

    total, wrong = int(counts.sum()), int(mistakes.sum())
    finding = f"{part} accuracy {(total - wrong) / total:.2%}: {wrong:,} of {total:,} images wrong"
    if wrong:
        truth, seen = np.unravel_index(mistakes.argmax(), mistakes.shape)
        finding += f"\nmost often: {truth} seen as {seen}, {mistakes[truth, seen]:,} of {counts[truth].sum():,}"
    axes.set_title(finding)
    return figure


def mistakes_figure(scores: np.ndarray, images: np.ndarray, labels: np.ndarray, part: str) -> Figure:
    """The mistakes that the network was surest of, in order; `images` has shape (N, rows, columns[, channels])."""
    predictions = scores.argmax(axis=1)
    wrong = np.flatnonzero(predictions != labels)
    confidence = functional.softmax(scores[wrong]).max(axis=1)
    order = np.argsort(-confidence, kind="stable")[:24]
    shown = wrong[order]
    if not len(shown):
        figure = new_figure(6, 1)
        figure.suptitle(f"no mistakes in {len(labels):,} {part} images")
        return figure
    captions = [
        f"{labels[index]} seen as {predictions[index]}\n{share:.1%}"
        for index, share in zip(shown, confidence[order], strict=True)
    ]
    finding = f"{len(wrong):,} mistake{'s' * (len(wrong) > 1)} in {len(labels):,} {part} images"
    if len(shown) < len(wrong):
        finding = f"the {len(shown)} most confident of {finding}"
    figure, _ = grid_figure(finding, scaled(images[shown]), 6, captions, cmap="gray", vmin=0, vmax=1)
    return figure


def scaled(images: np.ndarray) -> np.ndarray:
    """The images scaled for display: their lowest value becomes 0, their highest 1."""
    low, high = float(images.min()), float(images.max())
    return (images - low) / ((high - low) or 1)


def weights_figure(weight: np.ndarray, image_shape: tuple[int, ...]) -> Figure:
    """The weights of the first-layer units with the largest norms, as images; 0 is white, or grey in colour images."""
    order = np.argsort(-np.linalg.norm(weight, axis=1), kind="stable")[:64]
    images = weight[order].reshape(-1, *image_shape)
    limit = float(np.quantile(np.abs(images), 0.995)) or 1.0  # a few large weights would leave all others pale
    heading = f"first-layer weights of all {len(order)} units"
    if len(order) < len(weight):
        heading = f"first-layer weights of the {len(order)} units of {len(weight):,} with the largest norm"
    if image_shape[2:] == (3,):
        return grid_figure(f"{heading} (grey is 0)", np.clip(0.5 + 0.5 * images / limit, 0, 1), 8)[0]
    figure, image = grid_figure(heading, images, 8, cmap="RdBu_r", vmin=-limit, vmax=limit)
    figure.colorbar(image, label="weight", shrink=0.5, extend="both")
    return figure


def grid_figure(
    heading: str, images: np.ndarray, columns: int, captions: Sequence[str] = (), **colours: Any
) -> tuple[Figure, AxesImage]:
    """Images of shape (N, rows, columns[, 1 or 3]) side by side in one plot, since many are slow; and the last one.

    The plot's unit is the width of an image. Captions of two lines stand above the images.
    """
    height = images.shape[1] / images.shape[2]
    step_right, step_down = 1.1, height + (0.45 if captions else 0.1)
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    width = columns * step_right
    inches = min(1.4, 9 / width)
    figure = new_figure(max(inches * width, 6), inches * rows * step_down + 0.5)
    axes = figure.subplots()
    for index, image in enumerate(images):
        row, column = divmod(index, columns)
        left, top = column * step_right, row * step_down
        extent = (left, left + 1, top + height, top)
        shown = axes.imshow(image, extent=extent, interpolation="nearest", **colours)
        if captions:
            axes.text(left + 0.5, top - 0.04, captions[index], ha="center", va="bottom", fontsize=9)
    axes.set(xlim=(-0.05, width - 0.05), ylim=((rows - 1) * step_down + height + 0.05, height - step_down))
    axes.axis("off")
    axes.set_title(heading)
    return figure, shown
