"""A file is written whole or not at all: after a success, after a failure, and when the writer is killed."""

import os
import random
import signal
import subprocess
import sys
import threading
import time

import pytest
from filelock import lock_descriptor

from tinygrad_np import files
from tinygrad_np.errors import FileWriteError, TinygradNpError

# A writer that replaces the file named by its argument again and again, by megabytes of one letter.
WRITER = """
import signal, sys
from tinygrad_np import files
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs start with it ignored
files.write_atomically(sys.argv[1], b"a" * 4_000_000)
print("ready", flush=True)
try:
    while True:
        for letter in (b"b", b"c"):
            files.write_atomically(sys.argv[1], letter * 4_000_000)
except KeyboardInterrupt:
    pass
"""

# A writer that may write no file of more than a thousand bytes, which is met like a full disk.
WRITER_WITHOUT_ROOM = """
import resource, sys
from tinygrad_np import files
from tinygrad_np.errors import FileWriteError
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    files.write_atomically(sys.argv[1], b"new" * 1_000_000)
except FileWriteError as error:
    print(error)
"""


ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def temporary_of(path):
    return path.with_name(f".{path.name}.0123456789abcdef.tmp")


def test_a_new_file_holds_the_bytes_and_nothing_else_is_left(tmp_path):
    files.write_atomically(tmp_path / "model.bin", b"\x00\xff\r\n")
    assert (tmp_path / "model.bin").read_bytes() == b"\x00\xff\r\n"
    assert os.listdir(tmp_path) == ["model.bin"]


def test_text_is_written_as_utf_8_with_its_line_ends_as_they_are(tmp_path):
    files.write_atomically(str(tmp_path / "log.csv"), "loss,é\r\n1\n")
    assert (tmp_path / "log.csv").read_bytes() == b"loss,\xc3\xa9\r\n1\n"


def test_an_existing_file_is_replaced(tmp_path):
    (tmp_path / "a").write_text("a long old content")
    files.write_atomically(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text() == "new"


def test_a_reader_of_the_old_file_keeps_the_old_content(tmp_path):
    (tmp_path / "a").write_text("old")
    with open(tmp_path / "a") as reader:
        files.write_atomically(tmp_path / "a", "new")
        assert reader.read() == "old"


def test_a_path_without_a_folder_is_written_to_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files.write_atomically("a", "new")
    assert (tmp_path / "a").read_text() == "new"


def test_a_symbolic_link_stays_one_and_its_target_is_replaced(tmp_path):
    (tmp_path / "epoch3").write_text("old")
    (tmp_path / "latest").symlink_to("epoch3")
    files.write_atomically(tmp_path / "latest", "new")
    assert (tmp_path / "latest").is_symlink()
    assert (tmp_path / "epoch3").read_text() == "new"


def test_a_replaced_file_keeps_its_permissions(tmp_path):
    (tmp_path / "private").touch(mode=0o600)
    files.write_atomically(tmp_path / "private", "new")
    assert (tmp_path / "private").stat().st_mode & 0o777 == 0o600


def test_a_new_file_has_the_permissions_of_any_new_file(tmp_path):
    (tmp_path / "ordinary").touch()
    files.write_atomically(tmp_path / "new", "new")
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "ordinary").stat().st_mode


def test_a_missing_folder_is_one_line_that_names_the_file(tmp_path):
    path = tmp_path / "nowhere" / "a"
    with pytest.raises(FileWriteError, match="nowhere/a': No such file or directory; choose a ") as caught:
        files.write_atomically(path, "new")
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, TinygradNpError)
    assert isinstance(caught.value, OSError)


def test_a_read_only_folder_is_refused_and_its_file_kept(tmp_path):
    (tmp_path / "a").write_text("old")
    tmp_path.chmod(0o555)
    if os.access(tmp_path, os.W_OK):
        pytest.skip("the superuser may write to any folder")
    try:
        with pytest.raises(FileWriteError, match="Permission denied"):
            files.write_atomically(tmp_path / "a", "new")
    finally:
        tmp_path.chmod(0o755)
    assert (tmp_path / "a").read_text() == "old"


def test_a_folder_is_refused(tmp_path):
    (tmp_path / "runs").mkdir()
    with pytest.raises(FileWriteError, match="runs': It is a folder or a device"):
        files.write_atomically(tmp_path / "runs", "new")
    assert os.listdir(tmp_path) == ["runs"]


def test_a_device_is_refused_rather_than_replaced_by_a_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileWriteError, match="pipe': It is a folder or a device"):
        files.write_atomically(tmp_path / "pipe", "new")
    assert (tmp_path / "pipe").is_fifo()


def test_text_that_cannot_be_encoded_leaves_the_old_file_and_nothing_else(tmp_path):
    (tmp_path / "a").write_text("old")
    with pytest.raises(UnicodeEncodeError):
        files.write_atomically(tmp_path / "a", "\ud800")
    assert (tmp_path / "a").read_text() == "old"
    assert os.listdir(tmp_path) == ["a"]


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path):
    (tmp_path / "a").write_text("old")
    temporary_of(tmp_path / "a").write_text("half of")  # a writer that was killed has left what takes up room
    command = [sys.executable, "-c", WRITER_WITHOUT_ROOM, tmp_path / "a"]
    writer = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True)
    assert writer.stdout.startswith(f"cannot write {str(tmp_path / 'a')!r}: File too large"), writer.stderr
    assert writer.stdout.count("\n") == 1
    assert (tmp_path / "a").read_text() == "old"
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("delay", random.Random(0).choices(range(100), k=4))
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT], ids=["killed", "interrupted"])
def test_a_writer_that_is_stopped_leaves_a_whole_file(tmp_path, how, delay):
    command = [sys.executable, "-c", WRITER, tmp_path / "a"]
    with subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE) as writer:
        assert writer.stdout.readline() == b"ready\n"
        time.sleep(delay / 1000)
        writer.send_signal(how)
    content = (tmp_path / "a").read_bytes()
    assert content in (b"a" * 4_000_000, b"b" * 4_000_000, b"c" * 4_000_000)
    if how == signal.SIGKILL:  # it had no time to clear up
        files.write_atomically(tmp_path / "a", "new")
    assert os.listdir(tmp_path) == ["a"]


def test_the_next_write_removes_what_a_killed_writer_left(tmp_path):
    temporary_of(tmp_path / "a").write_text("half of")
    files.write_atomically(tmp_path / "a", "new")
    assert os.listdir(tmp_path) == ["a"]


def test_the_temporary_file_of_a_writer_at_work_is_left_alone(tmp_path):
    with open(temporary_of(tmp_path / "a"), "wb") as file:
        lock_descriptor(file.fileno())
        files.write_atomically(tmp_path / "a", "new")
        assert temporary_of(tmp_path / "a").exists()


def test_files_that_only_look_like_temporary_ones_are_left_alone(tmp_path):
    others = [temporary_of(tmp_path / "b"), temporary_of(tmp_path / "a.b"), tmp_path / ".a.copy.tmp"]
    for path in others:
        path.touch()
    files.write_atomically(tmp_path / "a", "new")
    assert all(path.exists() for path in others)


def test_two_writers_of_one_file_at_the_same_time_both_succeed(tmp_path):
    failures = []

    def write_often(letter):
        try:
            for _ in range(100):
                files.write_atomically(tmp_path / "a", letter * 10_000)
        except FileWriteError as error:
            failures.append(error)

    writers = [threading.Thread(target=write_often, args=letter) for letter in "bc"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert failures == []
    assert (tmp_path / "a").read_text() in ("b" * 10_000, "c" * 10_000)
    assert os.listdir(tmp_path) == ["a"]


def test_a_temporary_file_that_is_removed_before_its_renaming_is_written_again(tmp_path, monkeypatch):
    replace = os.replace

    def remove_first(file, target):
        monkeypatch.setattr(os, "replace", replace)
        os.unlink(file)
        replace(file, target)

    monkeypatch.setattr(os, "replace", remove_first)
    files.write_atomically(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text() == "new"
    assert os.listdir(tmp_path) == ["a"]


def test_a_target_that_another_program_has_open_is_replaced_once_it_is_closed(tmp_path, monkeypatch):
    """On Windows a file cannot be replaced while it is open."""
    replace, refusals = os.replace, iter([PermissionError(13, "Access is denied")] * 2)

    def refuse_twice(file, target):
        for error in refusals:
            raise error
        replace(file, target)

    monkeypatch.setattr(os, "replace", refuse_twice)
    files.write_atomically(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text() == "new"


def test_a_target_that_cannot_be_replaced_is_an_error(tmp_path, monkeypatch):
    def refuse(file, target):
        raise PermissionError(13, "Access is denied")

    monkeypatch.setattr(os, "replace", refuse)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    with pytest.raises(FileWriteError, match="a': Access is denied"):
        files.write_atomically(tmp_path / "a", "new")
    assert os.listdir(tmp_path) == []
