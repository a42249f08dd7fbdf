"""Draw one training step of the MNIST network, or of a run: what is computed from what, with shapes.

The picture is written to FILE. Its suffix gives the format: .svg, .png, .pdf, or .html for a page to zoom, fold and
search in. The batch is the first one of the training. The weights are the initial ones, or those of a run: of its best
epoch if it held images out to tell which that is, else of the last.
"""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # models/ is part of the repository, not of the installed package

import numpy as np  # noqa: E402
from command_line import Parser, count, fail, in_one_line, path  # noqa: E402
from pictures import draw_step  # noqa: E402
from settings import parse_arguments as parse_training_arguments  # noqa: E402
from settings import run_settings  # noqa: E402
from training_run import describe, find_checkpoint, restore, set_up  # noqa: E402

from tinygrad_np import TinygradNpError  # noqa: E402


def parse_arguments(arguments: list[str] | None) -> tuple[argparse.Namespace, list[str]]:
    parser = Parser(
        prog="draw_graph.py",
        description=__doc__,
        epilog="Without --run, the flags of train.py choose the network and the data:\n"
        "  draw_graph.py graph.svg --hidden 512x128x64 --activation tanh --batch-size 32\n"
        "  draw_graph.py graph.html --run runs/20260101-120000 --values",
    )
    parser.add_argument("file", type=path, metavar="FILE", help="the picture to write")
    parser.add_argument("--run", type=path, metavar="DIR", help="the folder of a run, or one of its checkpoints")
    layer = parser.add_mutually_exclusive_group()
    layer.add_argument("--values", action="store_true", help="show ranges, and colour by the size of the gradients")
    layer.add_argument("--costs", action="store_true", help="show time and memory, and colour by time")
    parser.add_argument("--depth", type=count, metavar="N", help="draw modules nested deeper than N as one box")
    parsed, others = parser.parse_known_args(arguments)
    if parsed.run and others:
        parser.error(f"--run takes the network and the data from the run's folder, so {others[0]} cannot be given too")
    return parsed, others


def main(arguments: list[str] | None = None) -> int:
    try:
        parsed, others = parse_arguments(arguments)
        if parsed.run:
            file = find_checkpoint(parsed.run)
            run = restore(file)
            print(f"weights: {in_one_line(describe(file))}")
        else:
            run = set_up(run_settings(parse_training_arguments(others)))
        with np.errstate(all="ignore"):  # non-finite values are red in the picture
            drawing = draw_step(run, values=parsed.values, costs=parsed.costs, depth=parsed.depth)
        print(in_one_line(drawing.render(parsed.file)))
    except (TinygradNpError, OSError, MemoryError) as error:
        return fail("draw_graph.py", error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
