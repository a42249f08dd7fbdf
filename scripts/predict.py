"""Ask the network of a run what some images show: pictures of a digit, or a file of images without labels.

A picture is a photo, a scan or a painting of one digit: dark on light or light on dark, of any size, as PNG, JPEG or
another usual format. The network gets it in MNIST's form, 28 x 28 pixels. In the place of pictures there may be a
folder of them, or a file of images like those of the training: .csv such as Kaggle's test.csv, .npz, or IDX.

With --out the answers become a table in CSV, ImageId,Label, as Kaggle takes it. The images of a file have the numbers
that a column of it gives to them, or else 1, 2, 3, ...; pictures have the names of their files.
"""

import argparse
import csv
import io
import itertools
import math
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # models/ is part of the repository, not of the installed package

import numpy as np  # noqa: E402
from command_line import Parser, fail, in_one_line, path, positive  # noqa: E402
from training_run import as_inputs, describe, find_checkpoint, load_model, load_pixels, predict  # noqa: E402

from tinygrad_np import TinygradNpError, data, functional  # noqa: E402
from tinygrad_np.errors import ArgumentError, DataError  # noqa: E402
from tinygrad_np.files import write_atomically  # noqa: E402


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = Parser(
        prog="predict.py",
        description=__doc__,
        epilog="examples:\n"
        "  predict.py runs/20260101-120000 photo.jpg scan.png --show\n"
        "  predict.py runs/20260101-120000 test.csv --out submission.csv",
    )
    parser.add_argument("run", type=path, metavar="RUN", help="the folder of a run, or a checkpoint")
    parser.add_argument(
        "images", type=path, nargs="+", metavar="IMAGES", help="a picture, a folder, or a file of images"
    )
    parser.add_argument("--show", action="store_true", help="show each picture as the network sees it, too")
    parser.add_argument("--out", type=path, metavar="FILE", help="write a table of the answers to this file")
    header = parser.add_mutually_exclusive_group()
    header.add_argument("--header", type=names, metavar="ID,LABEL", help="what its first line says (ImageId,Label)")
    header.add_argument("--no-header", action="store_true", help="write the table without a first line of names")
    parser.add_argument(
        "--scale", type=positive, metavar="NUMBER", help="what to divide the pixels of a file by (as the run does)"
    )
    parsed = parser.parse_args(arguments)
    if not parsed.out and (parsed.header or parsed.no_header):
        parser.error("--header and --no-header are for the table; say with --out where to write it")
    files = [path for path in parsed.images if is_file_of_images(path)]
    if files and (len(parsed.images) > 1 or parsed.show):
        parser.error(f"{files[0]} is a file of images; give it alone, and without --show")
    if parsed.scale and not files:
        parser.error("--scale is for files of images; pictures are brought into the range of the training images")
    if (
        parsed.out
        and parsed.out.exists()
        and any(path.exists() and path.samefile(parsed.out) for path in parsed.images)
    ):
        parser.error(f"{parsed.out} would be overwritten; give another file with --out")
    return parsed


def names(text: str) -> list[str]:
    """Two names of columns, for argparse."""
    if len(columns := text.split(",")) != 2 or not all(columns):
        raise argparse.ArgumentTypeError(f"{text!r} is not two names with a comma between them")
    return columns


def tell(*notices: str) -> None:
    """Print what is not an answer, such as which network is asked, on standard error."""
    for notice in notices:
        print(f"predict.py: {in_one_line(notice)}", file=sys.stderr)


def line(name: str | Path, probabilities: np.ndarray) -> str:
    """What is printed for an image: its name, the likeliest class and the two runners-up, with their probabilities."""
    first, *others = np.argsort(-probabilities)[:3]
    followers = ", ".join(f"{k}: {probabilities[k]:.1%}" for k in others)
    return f"{in_one_line(name)}: {first}  {probabilities[first]:.1%}  ({followers})"


def in_blocks(image: np.ndarray) -> str:
    """An image of uint8 as lines of text, with two characters for each pixel."""
    return "\n".join("".join(" ░▒▓█"[level] * 2 for level in row) for row in image // 52)


def is_file_of_images(path: Path) -> bool:
    return path.name.lower().endswith(data.UNLABELLED_NAMES)


def pictures_at(path: Path) -> list[Path]:
    """The picture, or those in a folder by their names, 2.png before 10.png. An empty folder stays as it is."""
    if not path.is_dir():
        return [path]
    files = [file for file in path.iterdir() if file.is_file() and not file.name.startswith(".")]
    if found := next(filter(is_file_of_images, files), None):
        raise DataError(f"{path} holds {found.name}, a file of images; give that file, or a folder of pictures alone")
    return sorted(files, key=lambda file: (len(file.stem) if file.stem.isdecimal() else 0, file.name)) or [path]


def answer_file(file: Path, parsed: argparse.Namespace) -> int:
    """Answer for the images of a file: in a table, or in a line each."""
    checkpoint = find_checkpoint(parsed.run)
    network, sizes = load_model(checkpoint)
    unlabelled = data.load_images(file)
    features = math.prod(unlabelled.images.shape[1:])
    if features != sizes[0]:
        raise DataError(
            f"{file} has images of {features} values, but the network of {checkpoint.parent} takes {sizes[0]}"
            + ("; if one of its columns holds labels, remove it" if features == sizes[0] + 1 else "")
        )
    inputs, understood = as_inputs(unlabelled.images, load_pixels(checkpoint), parsed.scale, file)
    tell(f"network: {describe(checkpoint)}", *unlabelled.notes, *understood)
    with np.errstate(all="ignore"):  # on data that it was not made for, a network may overflow
        probabilities = functional.softmax(predict(network, inputs))
    numbers = range(1, len(inputs) + 1) if unlabelled.numbers is None else unlabelled.numbers
    names = [str(number) for number in numbers]
    if parsed.out:
        write_table(names, probabilities.argmax(axis=1).tolist(), parsed)
    else:
        print(*map(line, names, probabilities), sep="\n")
    return 0


def answer_pictures(parsed: argparse.Namespace) -> int:
    """Answer for each picture, in a line and perhaps in a table; returns the status for the program to exit with."""
    from handwriting import load_full_ink, load_network, probabilities, read  # needs Pillow, which not everyone has

    checkpoint = find_checkpoint(parsed.run)
    network, full_ink = load_network(checkpoint), load_full_ink(checkpoint)
    tell(f"network: {describe(checkpoint)}")
    status, answers = 0, {}
    for picture in itertools.chain.from_iterable(map(pictures_at, parsed.images)):
        guesses: list[str] = []
        try:
            image = read(picture, guesses.append)
        except TinygradNpError as error:
            status = fail("predict.py", error)
            continue
        tell(*(f"{picture}: {guess}" for guess in guesses))
        found = probabilities(network, image, full_ink)
        print(line(picture, found))
        answers[picture] = int(found.argmax())
        if parsed.show:
            print(in_blocks(image))
    if parsed.out:
        if status:
            raise ArgumentError(
                f"{parsed.out} is not written, for some pictures have no answer; the lines above say why"
            )
        names = [picture.name for picture in answers]
        write_table(names if len(set(names)) == len(names) else list(map(str, answers)), list(answers.values()), parsed)
    return status


def write_table(names: Sequence[str], labels: Sequence[int], parsed: argparse.Namespace) -> None:
    """Write the answers in CSV."""
    header = None if parsed.no_header else parsed.header or ["ImageId", "Label"]
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerows([*([header] if header else []), *zip(names, labels, strict=True)])
    write_atomically(parsed.out, text.getvalue())
    first_line = f"as {','.join(header)}" if header else "without a header"
    print(in_one_line(f"{len(labels):,} answers in {parsed.out}, {first_line}"))


def main(arguments: list[str] | None = None) -> int:
    try:
        parsed = parse_arguments(arguments)
        files = [path for path in parsed.images if is_file_of_images(path)]
        return answer_file(files[0], parsed) if files else answer_pictures(parsed)
    except (TinygradNpError, OSError, MemoryError) as error:
        return fail("predict.py", error)


if __name__ == "__main__":
    sys.exit(main())
