"""Ask the network of a run which digits some pictures show.

A picture is a photo, a scan or a painting of one digit: dark on light or light on dark, of any size, as PNG, JPEG or
another usual format. The network gets it in MNIST's form, 28 x 28 pixels.
"""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # models/ is part of the repository, not of the installed package

import numpy as np  # noqa: E402
from command_line import Parser, fail, in_one_line, path  # noqa: E402

from tinygrad_np import TinygradNpError  # noqa: E402


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = Parser(
        prog="predict.py",
        description=__doc__,
        epilog="example:\n  predict.py runs/20260101-120000 photo.jpg scan.png --show",
    )
    parser.add_argument("run", type=path, metavar="RUN", help="the folder of a run of train.py")
    parser.add_argument("pictures", type=path, nargs="+", metavar="PICTURE", help="the file of a picture")
    parser.add_argument("--show", action="store_true", help="show each picture as the network sees it, too")
    return parser.parse_args(arguments)


def in_words(probabilities: np.ndarray) -> str:
    """The likeliest class and the two runners-up, with their probabilities."""
    first, *others = np.argsort(-probabilities)[:3]
    followers = ", ".join(f"{k}: {probabilities[k]:.1%}" for k in others)
    return f"{first}  {probabilities[first]:.1%}  ({followers})"


def in_blocks(image: np.ndarray) -> str:
    """An image of uint8 as lines of text, with two characters for each pixel."""
    return "\n".join("".join(" ░▒▓█"[level] * 2 for level in row) for row in image // 52)


def main(arguments: list[str] | None = None) -> int:
    status = 0
    try:
        parsed = parse_arguments(arguments)
        from handwriting import load_network, probabilities, read  # needs Pillow, which not everyone has

        network = load_network(parsed.run)
        for picture in parsed.pictures:
            try:
                guesses: list[str] = []
                image = read(picture, guesses.append)
            except TinygradNpError as error:
                status = fail("predict.py", error)
                continue
            for guess in guesses:
                print(f"predict.py: {in_one_line(picture)}: {guess}", file=sys.stderr)
            print(f"{in_one_line(picture)}: {in_words(probabilities(network, image))}")
            if parsed.show:
                print(in_blocks(image))
    except (TinygradNpError, OSError, MemoryError) as error:
        return fail("predict.py", error)
    return status


if __name__ == "__main__":
    sys.exit(main())
