"""The run that a script is given: all of them name it, choose its checkpoint, and refuse it in the same way."""

import re

import numpy as np
import pytest
from scripts_in_process import imported, run_script

from tinygrad_np import data

PICTURES = {"draw_digit.py", "predict.py"}
SCRIPTS = {
    "compare.py": lambda path, out: [path, "--out", out / "compare.png"],
    "draw_digit.py": lambda path, out: [path, "--no-browser"],
    "draw_graph.py": lambda path, out: [out / "graph.html", "--run", path],
    "evaluate.py": lambda path, out: [path],
    "predict.py": lambda path, out: [path, out / "test.npz"],
    "train.py": lambda path, out: ["--resume", path],
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run that held images out, and whose last epoch is not its best, and one that did not."""
    folder = tmp_path_factory.mktemp("runs")
    generator = np.random.default_rng(0)
    images, labels = generator.integers(0, 256, (300, 6, 6)), np.arange(300) % 3
    np.savez(folder / "data.npz", x_train=images, y_train=labels, x_test=images[:60], y_test=labels[:60])
    for name, flags in (("held-out", ["--validation-split", "0.3"]), ("plain", [])):
        flags = [*flags, "--epochs", "9", "--hidden", "8", "--batch-size", "16", "--lr", "0.05", "--no-pictures"]
        result = run_script("train.py", "--data", folder / "data.npz", *flags, "--out", folder / name)
        assert result.returncode == 0, result.stderr
    return folder


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("problem", ["there is nothing", "it has no last.safetensors"])
def test_what_is_no_folder_of_a_run_is_refused_in_the_same_words(script, problem, tmp_path):
    if script in PICTURES:
        pytest.importorskip("PIL", reason="Pillow is not installed")
    path = tmp_path / "elsewhere"
    if problem.startswith("it"):
        path.mkdir()
    np.savez(tmp_path / "test.npz", np.zeros((2, 6, 6)))
    result = run_script(script, *SCRIPTS[script](path, tmp_path))
    assert result.returncode == 2
    said = f"{path} is not the folder of a run: {problem}; give one that train.py has made"
    if script == "train.py" and path.is_dir():  # which can be where a run begins
        said += f", or start the run with --out {path}"
    assert result.stderr == f"{script}: error: {said}\n"


@pytest.mark.parametrize("problem", ["there is nothing", "it has no sweep.json"])
def test_what_is_no_folder_of_a_sweep_is_refused_in_words_like_these(problem, tmp_path):
    path = tmp_path / "elsewhere"
    if problem.startswith("it"):
        path.mkdir()
    result = run_script("sweep.py", "--resume", path)
    said = f"{path} is not the folder of a sweep: {problem}; give one that sweep.py has made"
    assert result.stderr == f"sweep.py: error: {said}\n"


@pytest.mark.parametrize(("name", "chosen"), [("held-out", "best"), ("plain", "last")])
def test_the_checkpoint_is_the_best_where_images_were_held_out_else_the_last_and_is_named(name, chosen, runs, tmp_path):
    file = runs / name / f"{chosen}.safetensors"
    assert imported("training_run").find_checkpoint(runs / name) == file
    epochs = imported("training_run").restore(file).progress["epoch"]
    assert (epochs < 9) == (chosen == "best")
    np.savez(tmp_path / "test.npz", np.load(runs / "data.npz")["x_test"])
    for script in ("draw_graph.py", "evaluate.py", "predict.py"):
        result = run_script(script, *SCRIPTS[script](runs / name, tmp_path))
        told = result.stderr if script == "predict.py" else result.stdout  # where its answers are alone
        assert f" {runs / name} ({chosen}.safetensors, after {epochs} of 9 epochs)\n" in told, result.stderr


@pytest.mark.parametrize("script", ["compare.py", "draw_graph.py", "evaluate.py", "predict.py"])
def test_a_checkpoint_is_as_good_as_a_folder(script, runs, tmp_path):
    if script == "compare.py":
        pytest.importorskip("matplotlib")
    np.savez(tmp_path / "test.npz", np.load(runs / "data.npz")["x_test"])
    outputs = []
    for path in (runs / "held-out", runs / "held-out" / "best.safetensors"):
        result = run_script(script, *SCRIPTS[script](path, tmp_path))
        assert result.returncode == 0, result.stderr
        outputs.append((result.stdout, result.stderr))
    assert outputs[0] == outputs[1]


def test_the_page_to_draw_on_takes_a_folder_or_a_checkpoint(runs):
    pytest.importorskip("PIL", reason="Pillow is not installed")
    for path in (runs / "plain", runs / "plain" / "last.safetensors"):
        result = run_script("draw_digit.py", path, "--no-browser")
        assert re.search(r"takes 36 pixels, not the 28 x 28", result.stderr)


def test_a_name_is_for_a_folder_and_a_file_is_not_resumed(runs, capsys):
    file = runs / "plain" / "last.safetensors"
    assert "give its folder" in run_script("evaluate.py", file, "--checkpoint", "best").stderr
    with pytest.raises(SystemExit):
        imported("train").main(["--resume", str(file)])
    assert f"takes the folder of a run: {runs / 'plain'}" in capsys.readouterr().err


def test_predictions_are_those_of_the_chosen_checkpoint(runs, tmp_path):
    images = np.load(runs / "data.npz")["x_test"]
    np.savez(tmp_path / "test.npz", images)
    for name in ("best", "last"):
        file = runs / "held-out" / f"{name}.safetensors"
        run_script("predict.py", file, tmp_path / "test.npz", "--out", tmp_path / "answers.csv", "--no-header")
        answers = [int(line.split(",")[1]) for line in (tmp_path / "answers.csv").read_text().splitlines()]
        model, _ = imported("training_run").load_model(file)
        inputs = data.scale_pixels(images.astype(np.float32), 255.0)
        assert answers == imported("training_run").predict(model, inputs).argmax(axis=1).tolist()
