"""Evaluate the network of a run: its accuracy, its precision and recall for each class, and what it confuses.

The network is the one whose accuracy train.py printed: of the best checkpoint if the run held images out to tell which
that is, else of the last. It is evaluated on the test images of the data that it was trained on, or on other data with
images of the same size.
"""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # models/ is part of the repository, not of the installed package

import numpy as np  # noqa: E402
from command_line import Parser, fail, in_one_line, path, positive, text  # noqa: E402
from pictures import MAX_CLASSES, confusion_matrix, draw_results  # noqa: E402
from training_run import (  # noqa: E402
    Network,
    as_inputs,
    describe,
    find_checkpoint,
    load_model,
    load_pixels,
    predict,
    read_data,
    restore,
)

from tinygrad_np import TinygradNpError  # noqa: E402
from tinygrad_np.debug.tables import aligned  # noqa: E402
from tinygrad_np.errors import DataError  # noqa: E402


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = Parser(
        prog="evaluate.py",
        description=__doc__,
        epilog="examples:\n"
        "  evaluate.py runs/20260101-120000\n"
        "  evaluate.py runs/20260101-120000 --checkpoint best --data mine.npz --out results",
    )
    parser.add_argument("run", type=path, metavar="RUN", help="the folder of a run, or one of its checkpoints")
    parser.add_argument("--checkpoint", choices=["last", "best"], help="another than the usual one")
    parser.add_argument("--data", type=path, metavar="PATH", help="other data, in any form that train.py takes")
    parser.add_argument(
        "--split",
        choices=["test", "train"],
        default="test",
        help="which part of the data; without test images, test is what --validation-split held out of the training",
    )
    parser.add_argument("--label-column", type=text, metavar="COLUMN", help="of the other data, as for train.py")
    parser.add_argument(
        "--scale", type=positive, metavar="NUMBER", help="what to divide the other data's pixels by (as the run does)"
    )
    parser.add_argument("--out", type=path, metavar="DIR", help="put confusion.png and mistakes.png into this folder")
    parsed = parser.parse_args(arguments)
    if parsed.data is None and (parsed.label_column is not None or parsed.scale is not None):
        parser.error("--label-column and --scale are for other data, given with --data; the run's own has its settings")
    return parsed


def load(
    parsed: argparse.Namespace,
) -> tuple[Network, tuple[int, ...], tuple[str, np.ndarray, np.ndarray], list[str]]:
    """The network, the shape of an image, what to evaluate on (its name, the images and their labels), and lines about
    which network this is and how other data was understood.

    Raises a DataError if the data has no such part, or does not fit the network's size.
    """
    checkpoint = find_checkpoint(parsed.run, parsed.checkpoint)
    understood = [f"network: {describe(checkpoint)}"]
    if parsed.data is None:
        run = restore(checkpoint)
        judged = ("training", run.images, run.labels) if parsed.split == "train" else run.judged()
        return run.model, run.image_shape, judged, understood
    model, sizes = load_model(checkpoint)
    dataset = read_data(parsed.data, parsed.label_column)
    if dataset.num_features != sizes[0] or dataset.num_classes > sizes[-1]:
        raise DataError(
            f"{parsed.data} has images of {dataset.num_features} values and {dataset.num_classes} classes, "
            f"but the network of {parsed.run} takes {sizes[0]} values and knows {sizes[-1]} classes"
        )
    part, images, labels = "test", dataset.test_images, dataset.test_labels
    if parsed.split == "train":
        part, images, labels = "training", dataset.train_images, dataset.train_labels
    if not len(images):
        raise DataError(f"{parsed.data} has no test images; evaluate on all that it has with --split train")
    inputs, lines = as_inputs(images, load_pixels(checkpoint), parsed.scale, parsed.data)
    return model, dataset.train_images.shape[1:], (part, inputs, labels), [*understood, *dataset.notes, *lines]


def class_table(labels: np.ndarray, predictions: np.ndarray, classes: int) -> str:
    """Precision, recall and F1 of each class.

    Precision: of the images seen as the class, the share that are of it. Recall: of the images of the class, the share
    that are seen as it. F1 is their harmonic mean (van Rijsbergen, Information Retrieval, 1979, chapter 7). A dash
    stands for a share of no images.
    """
    of_class = np.bincount(labels, minlength=classes)
    seen = np.bincount(predictions, minlength=classes)
    right = np.bincount(labels[labels == predictions], minlength=classes)
    rows = [
        [
            str(number),
            share(right[number], seen[number]),
            share(right[number], of_class[number]),
            share(2 * right[number], seen[number] + of_class[number]),
            str(of_class[number]),
        ]
        for number in range(classes)
    ]
    return aligned([["class", "precision", "recall", "F1", "images"]], rows)


def share(part: int, whole: int) -> str:
    return f"{part / whole:.2%}" if whole else "-"


def confusion_table(counts: np.ndarray) -> str:
    numbers = [str(number) for number in range(len(counts))]
    rows = [[number, *(str(count or ".") for count in row)] for number, row in zip(numbers, counts, strict=True)]
    return aligned([["class", *numbers]], rows)


def main(arguments: list[str] | None = None) -> int:
    try:
        parsed = parse_arguments(arguments)
        model, image_shape, (part, images, labels), understood = load(parsed)
        with np.errstate(all="ignore"):  # on data that it was not made for, a network may overflow
            scores = predict(model, images)
        predictions, classes = scores.argmax(axis=1), scores.shape[1]
        print(class_table(labels, predictions, classes))
        if classes <= MAX_CLASSES:
            print("\nimages of each class (rows) by the class they are seen as (columns)\n")
            print(confusion_table(confusion_matrix(labels, predictions, classes)))
        correct = np.count_nonzero(predictions == labels)
        print("", *map(in_one_line, understood), sep="\n")
        print(f"{part} accuracy: {correct / len(labels):.2%} ({correct}/{len(labels)})", flush=True)
        if parsed.out:
            parsed.out.mkdir(parents=True, exist_ok=True)
            for notice in draw_results(scores, images, labels, part, image_shape, parsed.out):
                print(f"evaluate.py: {in_one_line(notice)}", file=sys.stderr)
    except (TinygradNpError, OSError, MemoryError) as error:
        return fail("evaluate.py", error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
