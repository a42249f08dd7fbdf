"""The settings of a training run: the flags of train.py, and presets, which are settings under a name."""

import argparse
import math
import os
import sys
from dataclasses import dataclass
from typing import Any

from command_line import Parser, count, number, path, positive, share, text

from models.mnist_mlp import ACTIVATIONS, INITIALISERS


@dataclass(frozen=True)
class Preset:
    """A network and a way to train it, for `scripts/train.py --preset NAME`."""

    description: str  # the network, its activation and loss, and the method
    published: str  # the figure to compare with, and whose it is
    goal: float  # the test accuracy it reaches here at least, in percent
    settings: dict[str, Any]  # those that are not the defaults of train.py


MODELS = {  # the defaults of each network, as far as they are not those of all
    "mlp": {"hidden": [512]},
    "cnn": {
        "hidden": [16, 64, 128],
        "lr": 0.003,
        "optimizer": "adamw",
        "weight_decay": 0.01,
        "label_smoothing": 0.0,
        "distort": 0.5,
        "average": 0.995,
        "epochs": 8,
    },
}
OVERFITTING = {"label_smoothing": 0.0, "lr": 0.001, "schedule": "constant", "epochs": 20, "validation_split": 0.1}
PRESETS = {
    "tutorial": Preset(
        "784-10-10, ReLU, squared error; batch gradient descent",
        "about 85% (a video tutorial)",
        90,
        {
            "hidden": [10],
            "loss": "squared_error",
            "optimizer": "sgd",
            "lr": 1.0,
            "schedule": "constant",
            "batch_size": 60_000,
            "epochs": 500,
        },
    ),
    "overfit-128": Preset(
        "784-128-10, ReLU, cross-entropy; Adam, for so long that it over-fits",
        "no figure, the curves show over-fitting",
        97,
        {"hidden": [128], **OVERFITTING},
    ),
    "overfit-128-64": Preset(
        "784-128-64-10, ReLU, cross-entropy; Adam, for so long that it over-fits",
        "no figure, the curves show over-fitting",
        97,
        {"hidden": [128, 64], **OVERFITTING},
    ),
    "equal-layers": Preset(
        "784-256-256-10, ReLU, cross-entropy; mini-batch gradient descent with momentum",
        "up to 90%",
        98,
        {"hidden": [256, 256], "optimizer": "sgd", "lr": 0.1, "momentum": 0.9, "epochs": 10},
    ),
    "deep-9000": Preset(
        "784-512-128-64-10, ReLU, cross-entropy; Adam, on 9,000 images",
        "99.97% train, 95.8% held out, in 490 s (by hand-written code)",
        95.8,
        {"hidden": [512, 128, 64], "dropout": 0.2, "lr": 0.002, "epochs": 25, "limit": 9_000},
    ),
    "deep": Preset(
        "784-512-128-64-10, ReLU, cross-entropy; Adam, on all images",
        "95.8% on 9,000 images",
        98.3,
        {"hidden": [512, 128, 64], "dropout": 0.2, "lr": 0.002, "epochs": 10},
    ),
    "best": Preset(
        "784-1000-500-10, ReLU, cross-entropy; AdamW, on distorted images, with averaged weights",
        "99.3% (800 hidden units; Simard et al. 2003), 99.65% (12 million weights, on a GPU; Ciresan et al. 2010)",
        99.3,
        {
            "hidden": [1000, 500],
            "label_smoothing": 0.05,
            "optimizer": "adamw",
            "lr": 0.003,
            "weight_decay": 0.01,
            "distort": 1.0,
            "average": 0.999,
            "batch_size": 256,
            "epochs": 80,
        },
    ),
}
for activation in ("relu", "tanh", "sigmoid", "gelu"):
    for loss in ("cross_entropy", "squared_error"):
        PRESETS[f"{activation}-{loss}"] = Preset(
            f"784-128-10, {activation}, {loss.replace('_', ' ')}; Adam",
            "no figure, every pairing learns",
            97,
            {"hidden": [128], "activation": activation, "loss": loss, "lr": 0.01, "epochs": 10},
        )


DESCRIPTION = """Train the multilayer perceptron of models/mnist_mlp.py, or the convolutional network of
models/mnist_cnn.py, on MNIST or on other images.

With no arguments it trains the default network on all of MNIST, which comes with the repository, and ends with the
accuracy on the 10,000 test images. A run leaves a folder: config.json, metrics.jsonl (a line an epoch), the
checkpoints last.safetensors and best.safetensors, and pictures of the result, for which matplotlib is needed.
"""


def layers(text: str) -> list[int]:
    """The sizes of hidden layers, for argparse: 512x128."""
    return [count(size) for size in text.split("x")]


def new_parser() -> Parser:
    parser = Parser(
        prog="train.py",
        usage="train.py [flags]",
        description=DESCRIPTION,
        epilog="examples:\n"
        "  train.py                                          the default: about 98.7%, in some 11 seconds\n"
        "  train.py --model cnn                              99.3% or more in two minutes\n"
        "  train.py --hidden 512x128x64 --dropout 0.2        a deeper network\n"
        "  train.py --preset tutorial --lr 0.5               a preset with another learning rate\n"
        "  train.py --data train.csv                         Kaggle's; predict.py then labels its test.csv\n"
        "  train.py --data fashion-mnist/ --validation-split 0.1 --epochs 30 --early-stop 3\n"
        "  train.py --resume runs/20260101-120000            continue a run that was interrupted",
    )
    parser.add_argument(
        "--preset",
        choices=PRESETS,
        metavar="NAME",
        help="start from named settings, which other flags override: " + ", ".join(PRESETS),
    )

    group = parser.add_argument_group("network")
    group.add_argument(
        "--model",
        choices=MODELS,
        default="mlp",
        help="the multilayer perceptron (default) or the convolutional network, which has other defaults: "
        + ", ".join(f"{name} {value}" for name, value in MODELS["cnn"].items() if name != "hidden"),
    )
    group.add_argument(
        "--hidden",
        type=layers,
        nargs="*",
        metavar="NxN",
        help="sizes of the hidden layers (512), or nothing; filters of the convolutions (16x64x128)",
    )
    group.add_argument("--activation", choices=sorted(ACTIVATIONS), default="relu")
    group.add_argument("--init", choices=sorted(INITIALISERS), default="pytorch", help="how the weights start")
    group.add_argument(
        "--dropout", type=share, default=0.0, metavar="P", help="share of hidden units dropped in training"
    )

    group = parser.add_argument_group("training")
    group.add_argument(
        "--loss",
        choices=["cross_entropy", "squared_error"],
        default="cross_entropy",
        help="squared_error is that of softmax",
    )
    group.add_argument("--label-smoothing", type=share, metavar="S", help="for cross_entropy (0.1)")
    group.add_argument("--optimizer", choices=["adam", "adamw", "rmsprop", "sgd"], default="adam")
    group.add_argument(
        "--lr", type=positive, help="learning rate, the highest one if a schedule changes it (0.1 for sgd, else 0.004)"
    )
    group.add_argument("--momentum", type=share, default=0.0, metavar="M", help="for sgd and rmsprop")
    group.add_argument("--nesterov", action="store_true", help="Nesterov's momentum, for sgd")
    group.add_argument("--weight-decay", type=number(float, 0), default=0.0, metavar="W")
    group.add_argument("--clip-norm", type=positive, metavar="NORM", help="clip gradients to this global norm")
    group.add_argument(
        "--schedule",
        choices=["constant", "step", "cosine", "one_cycle"],
        default="one_cycle",
        help="of the learning rate: step divides it by 10 after each third of the run, cosine lowers it to 0, "
        "one_cycle raises it for the first 30%% and then lowers it",
    )
    group.add_argument(
        "--distort",
        type=number(float, 0),
        nargs="?",
        const=1.0,
        default=0.0,
        metavar="STRENGTH",
        help="turn, scale, shift and bend the training images, anew in each epoch; 1, if none is given, suits digits",
    )
    group.add_argument(
        "--average",
        type=share,
        default=0.0,
        metavar="DECAY",
        help="judge and save a moving average of the weights instead of the last: 0.999 is over about 1000 steps",
    )
    group.add_argument("--epochs", type=count, default=6, metavar="N", help="passes through the training images")
    group.add_argument(
        "--early-stop",
        type=count,
        metavar="N",
        help="stop after N epochs without a new best validation accuracy; the schedule stays that of --epochs",
    )
    group.add_argument(
        "--batch-size", type=count, default=128, metavar="N", help="images in a step; all of them if there are fewer"
    )
    group.add_argument(
        "--no-compile",
        action="store_false",
        dest="compile",
        help="run each operation by itself, uncompiled",
    )
    group.add_argument("--seed", type=number(int, 0), default=0, metavar="N", help="same seed, same numbers")

    group = parser.add_argument_group("data and files")
    group.add_argument(
        "--data",
        type=path,
        metavar="PATH",
        help="a folder of IDX files (plain or gzip'd) or with a train.csv, a .csv file (label,pixel0,...), "
        "or an .npz file as Keras has them; the MNIST of this repository if not given",
    )
    group.add_argument(
        "--label-column",
        type=text,
        metavar="COLUMN",
        help="where a CSV file has its labels: a name in its header, first, last, or a number from 0; "
        "found by its names and values if not given",
    )
    group.add_argument(
        "--scale", type=positive, metavar="NUMBER", help="what to divide pixels by (found by their range)"
    )
    group.add_argument("--limit", type=count, metavar="N", help="use the first N training images only")
    group.add_argument(
        "--validation-split",
        type=share,
        default=0.0,
        metavar="P",
        help="share of training images held out (0.1 if there are no test images)",
    )
    group.add_argument("--out", type=path, metavar="DIR", help="the run's folder, to be made (runs/DATE-TIME)")
    group.add_argument("--resume", type=path, metavar="DIR", help="continue the run in this folder, with its settings")

    group.add_argument(
        "--draw",
        nargs="?",
        choices=["svg", "png", "pdf", "html"],
        const="svg",
        help="put a drawing of the training step into the run's folder, as graph.svg or in another form",
    )
    group.add_argument("--no-pictures", action="store_true", help="draw no curves and other pictures of the result")
    return parser


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """Parse the flags of train.py, check them against each other, and fill in the defaults that depend on others."""
    parser = new_parser()
    parsed = parser.parse_args(arguments)
    if parsed.resume:
        given = sys.argv[1:] if arguments is None else arguments
        allowed = ("--", "--resume", "--no-pictures")
        flags = [flag for flag in given if flag.startswith("--") and flag.split("=")[0] not in allowed]
        if flags:
            parser.error(f"--resume takes all settings from the run's folder, so {flags[0]} cannot be given with it")
        if parsed.resume.is_file():
            parser.error(f"--resume takes the folder of a run: {parsed.resume.parent}")
        return parsed
    chosen = PRESETS[parsed.preset].settings if parsed.preset else {}
    parser.set_defaults(**{**MODELS[parsed.model], **chosen})
    parsed = parser.parse_args(arguments)
    # Each argument has brought a list. Sizes in arguments of their own, `--hidden 512 128`, make one network, too.
    parsed.hidden = [size for sizes in parsed.hidden for size in (sizes if isinstance(sizes, list) else [sizes])]
    if parsed.nesterov and not (parsed.optimizer == "sgd" and parsed.momentum):
        parser.error("--nesterov needs --optimizer sgd and a --momentum above 0")
    if parsed.momentum and parsed.optimizer not in ("sgd", "rmsprop"):
        parser.error(f"--momentum {parsed.momentum} is for sgd and rmsprop, not for {parsed.optimizer}")
    if parsed.label_smoothing and parsed.loss != "cross_entropy":
        parser.error("--label-smoothing is for --loss cross_entropy")
    if parsed.label_smoothing is None:
        parsed.label_smoothing = 0.1 if parsed.loss == "cross_entropy" else 0.0
    if parsed.lr is None:
        parsed.lr = 0.1 if parsed.optimizer == "sgd" else 0.004
    if parsed.data:
        parsed.data = os.path.abspath(parsed.data)
    return parsed


def run_settings(parsed: argparse.Namespace) -> argparse.Namespace:
    """The flags that decide what a run computes. The others say where its folder is, and what to draw."""
    others = ("out", "resume", "draw", "no_pictures")
    return argparse.Namespace(**{name: value for name, value in vars(parsed).items() if name not in others})


def check_settings(config: argparse.Namespace) -> None:
    """Raise a ValueError for settings that train.py would refuse, if nothing else refuses them before training.

    They come from a checkpoint, which may be damaged or made up.
    """
    counts = [config.epochs, config.batch_size, 1 if config.limit is None else config.limit, *config.hidden]
    numbers = [config.lr, config.momentum, config.weight_decay, config.clip_norm or 0, config.distort, config.average]
    numbers += [config.dropout, config.label_smoothing, config.validation_split]
    names = [config.activation, config.init, config.loss, config.optimizer, config.schedule]
    names += [config.model, *([config.label_column] if config.label_column is not None else [])]
    if not (
        all(type(value) is int and 0 < value < 10**9 for value in counts)
        and all(type(value) in (int, float) and 0 <= value < 10**9 for value in numbers)
        and (config.scale is None or (type(config.scale) is float and 0 < config.scale < math.inf))
        and all(type(value) is str for value in names)
        and config.model in MODELS
        and type(config.seed) is int
        and type(config.compile) is bool
        and (config.early_stop is None or (type(config.early_stop) is int and config.early_stop > 0))
    ):
        raise ValueError(f"not the settings of a run: {vars(config)}")
