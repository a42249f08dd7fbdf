"""scripts/sweep.py: what it tries, how it ranks, and what survives failures, Ctrl-C and a kill."""

import csv
import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import optuna
import pytest
from filelock import lock_descriptor
from processes import with_room_for

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

import sweep  # noqa: E402

SWEEP = str(ROOT / "scripts" / "sweep.py")
TINY = ["--limit", "300", "--epochs", "2", "--hidden", "8", "--batch-size", "32"]
LONGER = ["--limit", "3000", "--epochs", "12", "--hidden", "8", "--batch-size", "32"]


def command(*arguments, program=(SWEEP,)):
    return [sys.executable, *program, *map(str, arguments)]


def run(*arguments, program=(SWEEP,)):
    return subprocess.run(command(*arguments, program=program), capture_output=True, text=True, timeout=300)


def results(folder):
    """The rows of results.csv, without times."""
    with open(folder / "results.csv", newline="") as file:
        return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)]


def metrics(folder):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [{key: value for key, value in json.loads(line).items() if key != "seconds"} for line in lines]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished") / "sweep"
    result = run("--jobs", 2, "--out", folder, "lr=0.001,1e30,0.3", "--", *TINY, "--optimizer", "sgd")
    assert result.returncode == 0, result.stderr
    return folder, result.stdout


# What is tried


def settings(*arguments):
    return sweep.parse_arguments([*map(str, arguments)]).settings


def test_a_grid_has_all_combinations():
    assert settings("lr=0.001,0.01", "hidden=8,16x8,") == [
        {"lr": lr, "hidden": hidden} for lr in ("0.001", "0.01") for hidden in ("8", "16x8", "")
    ]


def test_settings_reach_the_runs_as_flags_of_training():
    configs = sweep.parse_arguments(["hidden=16x8,", "nesterov=on,off", "--", "--optimizer=sgd", "--momentum=0.9"])
    assert [(config.hidden, config.nesterov) for config in configs.configs] == [
        ([16, 8], True),
        ([16, 8], False),
        ([], True),
        ([], False),
    ]
    assert {config.momentum for config in configs.configs} == {0.9}


@pytest.mark.slow
def test_random_settings_lie_in_their_ranges_and_come_again_with_the_seed():
    arguments = ["--random", 100, "lr=1e-4..1e-1", "dropout=0..0.5", "hidden=16..64", "activation=relu,tanh"]
    drawn = settings(*arguments)
    assert len(drawn) == 100
    assert drawn == settings(*arguments)
    assert drawn != settings(*arguments, "--seed", 1)
    rates = [float(setting["lr"]) for setting in drawn]
    assert 1e-4 <= min(rates) < max(rates) <= 1e-1
    assert 25 < sum(rate < 10**-2.5 for rate in rates) < 75, "half of them below the middle of a logarithmic scale"
    dropout = [float(setting["dropout"]) for setting in drawn]
    assert 25 < sum(share < 0.25 for share in dropout) < 75, "half of them below the middle of a linear scale"
    assert {int(setting["hidden"]) for setting in drawn} <= set(range(16, 65))
    assert {setting["activation"] for setting in drawn} == {"relu", "tanh"}


def test_random_settings_differ_and_are_fewer_where_there_are_no_more():
    drawn = settings("--random", 10, "lr=0.001,0.01", "batch-size=32,64")
    assert len(drawn) == 4
    assert len({tuple(setting.values()) for setting in drawn}) == 4


def test_some_training_images_are_held_out_unless_it_is_said_how_many():
    assert sweep.parse_arguments(["lr=0.1"]).configs[0].validation_split == 0.1
    assert sweep.parse_arguments(["lr=0.1", "--", "--validation-split", "0.3"]).configs[0].validation_split == 0.3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "say what to try"),
        (["0.1"], "'0.1' is not FLAG=VALUES"),
        (["rate=0.1"], "--rate=0.1"),
        (["lr=0.1,fast"], "fast"),
        (["lr=0.1", "--", "--epochs", "0"], "--epochs"),
        (["lr=0.1", "lr=0.2"], "lr is given twice"),
        (["lr=0.1", "--", "--lr", "0.2"], "lr is given twice"),
        (["lr=1e-4..1e-1"], "--random N"),
        (["lr=0.1", "--", "--out", "here"], "--out"),
        (["lr=0.1", "--", "--validation-split", "0"], "--validation-split must be more than 0"),
        (["lr=0.1", "--jobs", "0"], "--jobs"),
        (["--resume", "here", "lr=0.1"], "--resume takes everything"),
        (["lr=0.1", "--", "--data", "nowhere"], "nowhere"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_makes_no_sense_is_refused_in_one_line_before_anything_is_written(
    arguments, said, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    try:
        status = sweep.main(arguments)
    except SystemExit as exit:
        status = exit.code
    errors = capsys.readouterr().err
    assert status == 2
    assert said in errors
    assert errors.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


# What comes of it


def test_runs_are_ranked_by_the_validation_accuracy_of_their_best_epoch_and_failures_come_last(finished):
    folder, _ = finished
    rows = results(folder)
    assert [row["rank"] for row in rows] == ["1", "2", ""]
    for row in rows[:2]:
        best = min(metrics(folder / row["folder"]), key=lambda m: (-m["validation_accuracy"], m["validation_loss"]))
        for name in ("validation_accuracy", "validation_loss", "epoch"):
            assert float(row[name]) == best[name]
    assert float(rows[0]["validation_accuracy"]) > float(rows[1]["validation_accuracy"])
    assert rows[2]["lr"] == "1e30"
    assert "the loss became" in rows[2]["error"]


def test_the_sweep_ends_with_the_table_and_the_command_that_trains_the_winner_on_all_images(finished):
    folder, output = finished
    *_, header, first, second, failure, last = output.splitlines()
    assert header.split() == ["rank", "lr", "validation", "accuracy", "loss", "epoch", "seconds", "folder"]
    assert first.split()[:2] == ["1", "0.3"]
    assert second.split()[:2] == ["2", "0.001"]
    assert failure.startswith(f"failed: {folder / '2'} (lr 1e30): the loss became")
    assert last.endswith("scripts/train.py --lr=0.3 --epochs 2 --hidden 8 --batch-size 32 --optimizer sgd")


def test_a_run_of_a_sweep_gives_the_numbers_that_it_gives_by_itself(finished, tmp_path):
    flags = [*TINY, "--optimizer", "sgd", "--lr", "0.3", "--validation-split", "0.1", "--no-pictures"]
    line = [sys.executable, ROOT / "scripts" / "train.py", *flags, "--out", tmp_path / "run"]
    subprocess.run(line, env={**os.environ, "OPENBLAS_NUM_THREADS": "1"}, capture_output=True, check=True)
    assert metrics(tmp_path / "run") == metrics(finished[0] / "3")


def test_a_finished_sweep_is_shown_again_and_nothing_is_trained(finished):
    folder, output = finished
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*/*")}
    again = run("--resume", folder)
    assert again.returncode == 0, again.stderr
    assert again.stdout.splitlines()[1:] == output.splitlines()[-5:]
    assert {path: path.stat().st_mtime_ns for path in folder.glob("*/*")} == before


def test_the_folder_of_another_sweep_is_refused(finished):
    refused = run("--out", finished[0], "lr=0.1", "--", *TINY)
    assert refused.returncode == 2
    assert "--resume" in refused.stderr
    assert refused.stderr.count("\n") == 1


def test_a_folder_without_a_sweep_or_with_a_damaged_one_is_refused_in_one_line(tmp_path):
    for content in (None, "{", "[]", '{"directory": "."}'):
        if content:
            (tmp_path / "sweep.json").write_text(content)
        assert sweep.main(["--resume", str(tmp_path)]) == 2


# Failures, Ctrl-C and being killed


@pytest.mark.slow
def test_runs_that_find_the_disk_full_are_reported_and_tried_again_when_the_sweep_goes_on(tmp_path):
    no_room = [*with_room_for(20000), SWEEP]  # which is enough for the sweep's own files
    failed = run("--out", tmp_path / "sweep", "lr=0.1", "--", *TINY, program=no_room)
    assert failed.returncode == 2
    assert "no run has finished" in failed.stderr
    assert "File too large" in results(tmp_path / "sweep")[0]["error"]
    assert run("--resume", tmp_path / "sweep").returncode == 0
    assert [row["rank"] for row in results(tmp_path / "sweep")] == ["1"]


@pytest.mark.slow
def test_a_sweep_whose_study_finds_the_disk_full_goes_on_when_there_is_room(tmp_path):
    arguments = ["--jobs", 1, "--random", 8, "lr=0.001..0.1", "--", *TINY]
    stopped = run("--out", tmp_path / "sweep", *arguments, program=[*with_room_for(7000), SWEEP])
    assert stopped.returncode == 2
    assert "File too large" in stopped.stderr
    assert stopped.stderr.count("\n") == 1
    resumed = run("--resume", tmp_path / "sweep")
    assert resumed.returncode == 0, resumed.stderr
    assert sorted(row["folder"] for row in results(tmp_path / "sweep")) == [*"12345678"]


def begin(*arguments):
    return subprocess.Popen(command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(*paths):
    deadline = time.monotonic() + 300
    while not all(path.exists() for path in paths):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_claimed(folder):
    """Whether the sweep in a folder, or any process that it started, is alive."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        return not lock_descriptor(descriptor, blocking=False)
    finally:
        os.close(descriptor)


@pytest.mark.slow
def test_a_sweep_that_is_killed_and_interrupted_and_resumed_ends_as_if_it_had_never_stopped(tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    arguments = ["--jobs", 1, "lr=0.001,0.01", "--", *LONGER]
    assert run("--out", whole, *arguments).returncode == 0

    killed = begin("--out", parts, *arguments)
    wait_for(parts / "1" / "metrics.jsonl")
    killed.kill()
    killed.communicate()
    interrupted = begin("--resume", parts)  # once the run that was left alone has ended
    wait_for(parts / "2" / "metrics.jsonl")
    interrupted.send_signal(signal.SIGINT)
    output, errors = interrupted.communicate(timeout=300)
    assert interrupted.returncode == 130, errors
    assert f"--resume {parts}" in output
    assert not is_claimed(parts), "no run should be left"
    assert len(metrics(parts / "2")) < 12

    resumed = run("--resume", parts)
    assert resumed.returncode == 0, resumed.stderr
    assert results(parts) == results(whole)
    assert [metrics(parts / name) for name in "12"] == [metrics(whole / name) for name in "12"]


# Drawing by TPE, pruning, and studies that several sweeps share


DRAWN = ["lr=1e-4..1", "activation=relu,tanh", "--", *TINY]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn") / "sweep"
    result = run("--trials", 13, "--prune", "--jobs", 1, "--out", folder, *DRAWN)
    assert result.returncode == 0, result.stderr
    return folder, result.stdout


@pytest.mark.slow
def test_one_job_draws_and_prunes_the_same_with_the_same_seed(drawn, tmp_path):
    assert run("--trials", 13, "--prune", "--jobs", 1, "--out", tmp_path / "again", *DRAWN).returncode == 0
    assert results(tmp_path / "again") == results(drawn[0])


@pytest.mark.slow
def test_one_job_draws_and_prunes_the_same_if_the_sweep_is_killed_and_goes_on(drawn, tmp_path):
    arguments = ["--trials", 13, "--prune", "--jobs", 1, "--out", tmp_path / "parts", *DRAWN]
    stopped = begin(*arguments)
    wait_for(tmp_path / "parts" / "03")
    stopped.kill()
    stopped.communicate()
    stopped = begin("--resume", tmp_path / "parts")
    wait_for(tmp_path / "parts" / "12")
    stopped.send_signal(signal.SIGINT)
    stopped.communicate(timeout=300)
    assert run("--resume", tmp_path / "parts").returncode == 0
    assert results(tmp_path / "parts") == results(drawn[0])


@pytest.mark.slow
def test_hopeless_runs_are_pruned_and_stand_after_those_that_finished(drawn):
    folder, output = drawn
    rows = results(folder)
    pruned = [row for row in rows if row["error"]]
    assert 0 < len(pruned) < len(rows) == 13
    assert [row["rank"] for row in rows] == [*map(str, range(1, 14 - len(pruned))), *[""] * len(pruned)]
    assert {row["error"] for row in pruned} == {"pruned after epoch 1"}
    assert sum(line.startswith("pruned: ") for line in output.splitlines()) == len(pruned)
    worst, best = (float(rows[i]["validation_accuracy"]) for i in (len(rows) - len(pruned) - 1, 0))
    assert max(float(row["validation_accuracy"]) for row in pruned) < best >= worst


@pytest.mark.slow
@pytest.mark.parametrize("place", ["sqlite:///{}/sweep.db", "{}/shared.journal"])
def test_the_same_command_started_twice_works_on_one_study(place, tmp_path):
    arguments = ["--storage", place.format(tmp_path), "--jobs", 1, "lr=0.001,0.002,0.003,0.004,0.005", "--", *TINY]
    both = [begin("--out", tmp_path / name, *arguments) for name in "ab"]
    for process in both:
        output, errors = process.communicate(timeout=300)
        assert process.returncode == 0, output + errors
    shared = {name: {path.name for path in (tmp_path / name).iterdir() if path.is_dir()} for name in "ab"}
    assert all(shared.values()), "each should do some of the runs"
    assert shared["a"] | shared["b"] == set("12345")
    assert not shared["a"] & shared["b"], "none should be done twice"
    again = run("--out", tmp_path / "c", *arguments)
    assert again.returncode == 0, again.stderr
    assert len(results(tmp_path / "c")) == 5, "who comes late sees all results"
    assert not [path for path in (tmp_path / "c").iterdir() if path.is_dir()]


def ended(study, state=optuna.trial.TrialState.COMPLETE):
    return [trial for trial in study.get_trials(deepcopy=False) if trial.state == state]


@pytest.mark.slow
@pytest.mark.parametrize("place", ["sqlite:///{}/sweep.db", "{}/shared.journal"])
def test_two_sweeps_on_one_study_that_are_stopped_in_any_way_and_started_again_do_each_run_once(place, tmp_path):
    arguments = ["--storage", place.format(tmp_path), "--jobs", 1, "--trials", 8, "lr=1e-4..1", "--", *TINY]
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT):
        both = [begin("--out", tmp_path / name, *arguments) for name in "ab"]
        time.sleep(3)
        for process in both:
            process.send_signal(number)
            process.communicate(timeout=300)
    both = [begin("--out", tmp_path / name, *arguments) for name in "ab"]
    for process in both:
        output, errors = process.communicate(timeout=300)
        assert process.returncode == 0, output + errors
    study = sweep.open_study(sweep.parse_arguments([*map(str, arguments)]), tmp_path)
    assert sorted(trial.user_attrs["run"] for trial in ended(study)) == [*"12345678"]
    assert not ended(study, optuna.trial.TrialState.RUNNING)
    assert run("--resume", tmp_path / "a").returncode == 0
    assert sorted(row["folder"] for row in results(tmp_path / "a")) == [*"12345678"]


@pytest.mark.slow
def test_a_trial_that_was_taken_by_a_sweep_that_was_killed_before_it_named_itself_is_not_lost(tmp_path):
    arguments = ["--storage", f"{tmp_path}/journal", "--out", f"{tmp_path}/sweep", "lr=0.001,0.002", "--", *TINY]
    sweep.open_study(sweep.parse_arguments(arguments), tmp_path).ask()
    result = run(*arguments)
    assert result.returncode == 0, result.stderr
    assert [row["folder"] for row in results(tmp_path / "sweep")] == ["2", "1"]


@pytest.mark.slow
def test_a_trial_that_waits_in_a_database_is_taken_by_one_sweep_only(tmp_path):
    plan = sweep.parse_arguments(["--storage", f"sqlite:///{tmp_path}/sweep.db", "lr=0.1"])
    studies = [sweep.open_study(plan, tmp_path) for _ in range(4)]
    for _ in range(10):
        studies[0].enqueue_trial({})
    together = threading.Barrier(len(studies))

    def take(study):
        together.wait()
        return [study.ask().number for _ in range(5)]

    with ThreadPoolExecutor(len(studies)) as pool:
        taken = [number for numbers in pool.map(take, studies) for number in numbers]
    assert sorted(taken) == [*range(20)]


@pytest.mark.slow
@pytest.mark.parametrize("place", ["sqlite:///{}/sweep.db", "{}/shared.journal"])
def test_a_storage_that_fails_ends_the_sweep_and_its_runs_with_one_line(place, tmp_path):
    sweeping = begin("--storage", place.format(tmp_path), "--out", tmp_path / "sweep", "lr=0.001,0.002", "--", *LONGER)
    wait_for(tmp_path / "sweep" / "1" / "metrics.jsonl", tmp_path / "sweep" / "2" / "metrics.jsonl")
    if place.startswith("sqlite"):
        (tmp_path / "sweep.db").unlink()
    else:
        (tmp_path / "shared.journal").write_text("damaged\n" * 1000)
    _, errors = sweeping.communicate(timeout=300)
    assert sweeping.returncode == 2, errors
    assert "the storage cannot be used" in errors
    assert errors.count("\n") == 1
    assert not is_claimed(tmp_path / "sweep"), "no run should be left"


@pytest.mark.slow
def test_a_study_in_a_storage_goes_on_with_the_same_command(tmp_path):
    arguments = ["--storage", f"sqlite:///{tmp_path}/sweep.db", "--jobs", 1, "--out", tmp_path / "sweep"]
    arguments += ["lr=0.001,0.002,0.003", "--", *LONGER]
    killed = begin(*arguments)
    wait_for(tmp_path / "sweep" / "2" / "metrics.jsonl")
    killed.kill()
    killed.communicate()
    again = run(*arguments)
    assert again.returncode == 0, again.stderr
    assert [row["rank"] for row in results(tmp_path / "sweep")] == ["1", "2", "3"]


@pytest.mark.slow
def test_a_run_that_is_killed_costs_one_trial(tmp_path):
    sweeping = begin("--jobs", 1, "--out", tmp_path / "sweep", "lr=0.001,0.002", "--", *LONGER)
    wait_for(tmp_path / "sweep" / "1" / "metrics.jsonl")
    listed = subprocess.run(["ps", "-wweo", "pid=,args="], capture_output=True, text=True, check=True).stdout
    (child,) = [line.split()[0] for line in listed.splitlines() if f"--out={tmp_path / 'sweep' / '1'}" in line]
    os.kill(int(child), signal.SIGKILL)
    _, errors = sweeping.communicate(timeout=300)
    assert sweeping.returncode == 0, errors
    rows = results(tmp_path / "sweep")
    assert [(row["rank"], row["folder"]) for row in rows] == [("1", "2"), ("", "1")]
    assert rows[1]["error"] == "it was ended by SIGKILL"


def test_a_storage_that_cannot_be_used_is_refused_in_one_line(tmp_path, capsys):
    assert sweep.main(["--storage", "nothing://here", "--out", str(tmp_path / "sweep"), "lr=0.1", "--", *TINY]) == 2
    errors = capsys.readouterr().err
    assert "the storage cannot be used" in errors
    assert errors.count("\n") == 1


def test_without_optuna_the_sweep_says_how_to_install_it(tmp_path):
    (tmp_path / "optuna.py").write_text("raise ImportError('there is none')")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    refused = subprocess.run(
        command("lr=0.1"), env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=100
    )
    assert refused.returncode == 2
    assert refused.stderr.startswith("sweep.py: error: ")
    assert 'python -m pip install -e ".[tune]"' in refused.stderr
    assert refused.stderr.count("\n") == 1
