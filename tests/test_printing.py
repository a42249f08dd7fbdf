"""Names that others have chosen are shown as text wherever they are printed: a terminal has nothing to obey in them."""

import argparse
import json
import re
import sys

import numpy as np
import optuna
import pytest
from scripts_in_process import imported, run_script

from tinygrad_np import Tensor, checkpoint, data, debug, nn, visualize
from tinygrad_np.errors import AnomalyError, CheckpointError, DataError, ShapeError
from tinygrad_np.printing import printable

EVIL = "a\x1b]0;owned\x07\x9b2J\u202eb\x7f"
SHOWN = r"a\x1b]0;owned\x07\x9b2J\u202eb\x7f"


def assert_shown(text, name=SHOWN):
    assert name in text
    assert all(character.isprintable() or character == "\n" for character in text)


class Named(nn.Module):
    """A module with one child, under the evil name."""

    def __init__(self):
        setattr(self, EVIL, nn.Linear(3, 2))

    def forward(self, x):
        return getattr(self, EVIL)(x)


Foreign = type(EVIL, (nn.Module,), {"forward": lambda self, x: x})


@pytest.mark.parametrize("code", [*range(10), *range(11, 32), *range(127, 160), 0x061C, 0x200E, 0x200F, 0x2028, 0x202A,
                                  0x202E, 0x2066, 0x2069, 0xFEFF, 0xD800, 0xE0041])  # fmt: skip
def test_a_character_that_cannot_be_seen_is_shown_as_an_escape(code):
    assert re.fullmatch(r"a\\[xuUtrn0-9a-f]+b", printable(f"a{chr(code)}b"))


@pytest.mark.parametrize("text", ["", "layers.0", "naïve 数字 🙂", "two\nlines", "C:\\new"])
def test_what_can_be_seen_is_unchanged(text):
    assert printable(text) == text


# ---- In the package ------------------------------------------------------------------------------------------------


def test_tables_show_names():
    start = SHOWN[:5]  # a long name loses its middle
    assert_shown(str(debug.summary(Named(), (1, 3))), start)
    assert_shown(str(debug.summary(nn.Sequential(nn.Linear(3, 2), Foreign()), (1, 3))), start)
    with debug.profile() as profile:
        Named()(np.ones((1, 3), np.float32)).sum().backward()
    assert_shown(profile.table(by="module"), start)


def test_a_table_stays_aligned_and_has_a_line_for_each_row():
    lines = debug.tables.aligned([["name", "n"]], [[EVIL, "1"], ["two\nlines", "2"]]).splitlines()
    assert len(lines) == 4
    assert len({len(line) for line in lines}) == 1


def test_models_show_names():
    assert_shown(repr(Named()))


def test_errors_show_names_of_modules():
    with pytest.raises(ShapeError) as raised:
        Named()(np.ones((1, 4), np.float32))
    assert_shown(str(raised.value))
    with debug.detect_anomaly(), pytest.raises(AnomalyError) as raised:
        Named()(np.full((1, 3), np.nan, np.float32))
    assert_shown(str(raised.value))


def test_errors_show_keys_of_checkpoints(tmp_path):
    with pytest.raises(CheckpointError) as raised:
        nn.Linear(3, 2).load_state_dict({EVIL: np.ones(2)})
    assert_shown(str(raised.value))
    with pytest.raises(CheckpointError) as raised:
        checkpoint.save(tmp_path / "x.safetensors", {EVIL: object()})
    assert_shown(str(raised.value))


def test_errors_show_names_of_files(tmp_path):
    for read in (data.load, data.load_csv, checkpoint.load):
        with pytest.raises((DataError, CheckpointError)) as raised:
            read(tmp_path / EVIL)
        assert_shown(str(raised.value))


def test_a_diagnosis_shows_names():
    finding = debug.Finding("check", "error", EVIL, EVIL, "remedy", "source")
    assert_shown(str(finding))
    assert_shown(str(debug.Diagnosis([finding], EVIL)))


def test_drawings_show_names():
    model = Named()
    drawing = visualize.draw(model(Tensor(np.ones((1, 3), np.float32), requires_grad=True)).sum(), model=model)
    assert_shown(drawing.source.replace("\t", " "))


# ---- In the scripts ------------------------------------------------------------------------------------------------


def test_the_one_line_of_an_error_is_one_line_and_shows_names(tmp_path, monkeypatch):
    result = run_script("evaluate.py", tmp_path / f"{EVIL}\nsecond")
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert_shown(result.stderr, f"{SHOWN}\\nsecond")


def test_the_command_line_shows_what_it_does_not_know(capsys):
    with pytest.raises(SystemExit):
        imported("evaluate").main(["run", f"--{EVIL}"])
    assert_shown(capsys.readouterr().err)


def test_a_comparison_shows_names_and_settings(tmp_path):
    line = {"epoch": 1, "loss": 1.0, "accuracy": 0.5, "seconds": 1.0, "test_accuracy": 0.5, "test_loss": 1.0}
    for name, setting in ((EVIL, "plain"), ("other", EVIL)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps({"epochs": 1, "data": setting, EVIL: name}))
        (tmp_path / name / "metrics.jsonl").write_text(json.dumps(line) + "\n")
        (tmp_path / name / "last.safetensors").touch()  # by it, the folder is that of a run
    plot = tmp_path / f"{EVIL}.png"
    result = run_script("compare.py", tmp_path / EVIL, tmp_path / "other", "--out", plot)
    assert result.returncode == 0, result.stderr
    assert_shown(result.stdout)
    assert result.stdout.count(SHOWN) >= 4


def test_a_sweep_shows_what_its_plan_holds(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["sweep.py"])
    study = optuna.create_study()
    trial = study.ask()
    trial.set_user_attr("run", "1")
    trial.set_user_attr("settings", {"lr": EVIL})
    trial.set_user_attr("worker", EVIL)
    trial.set_user_attr("outcome", {"status": "failed", "error": EVIL})
    study.tell(trial, state=optuna.trial.TrialState.FAIL)
    plan = argparse.Namespace(choices={"lr": [EVIL]}, params=[{}], fixed=[])
    with pytest.raises(ValueError, match="no run has finished"):
        imported("sweep").report(study, plan)
    assert_shown(capsys.readouterr().out)


def test_training_shows_the_name_of_its_folder(tmp_path):
    result = run_script(
        "train.py", "--limit", "20", "--epochs", "1", "--hidden", "4", "--no-pictures", "--out", tmp_path / EVIL
    )
    assert result.returncode == 0, result.stderr
    assert_shown(result.stdout)


def test_the_data_and_the_network_that_are_used_are_shown_by_their_names(tmp_path):
    images, labels = np.random.default_rng(0).integers(0, 256, (20, 3, 3)), np.arange(20) % 2
    np.savez(tmp_path / f"{EVIL}.npz", x=images, y=labels)
    np.savez(tmp_path / "test.npz", images)
    run, out = tmp_path / EVIL, tmp_path / f"{EVIL}.csv"
    flags = ["--epochs", "1", "--hidden", "4", "--no-pictures"]
    assert_shown(run_script("train.py", "--data", tmp_path / f"{EVIL}.npz", *flags, "--out", run).stdout)
    assert_shown(run_script("evaluate.py", run, "--data", tmp_path / f"{EVIL}.npz", "--split", "train").stdout)
    assert_shown(run_script("draw_graph.py", tmp_path / "graph.html", "--run", run).stdout)
    result = run_script("predict.py", run, tmp_path / "test.npz", "--out", out, "--header", f"id,{EVIL}")
    assert_shown(result.stdout)
    assert_shown(result.stderr)


def test_a_picture_is_shown_by_its_name(tmp_path):
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    run_script(
        "train.py", "--limit", "20", "--epochs", "1", "--hidden", "4", "--no-pictures", "--out", tmp_path / "run"
    )
    picture = image.new("L", (100, 100), 255)
    picture.paste(0, (40, 20, 60, 80))
    picture.save(tmp_path / f"{EVIL}.png")
    result = run_script("predict.py", tmp_path / "run", tmp_path / f"{EVIL}.png", tmp_path / f"{EVIL}.jpg")
    assert_shown(result.stdout)
    assert_shown(result.stderr)
