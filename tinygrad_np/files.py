"""Writing a file whole or not at all, and what all readers of files need.

The content goes to a temporary file in the folder of the target, is synced to the disk, and takes the target's name
in one step. Whoever opens the target finds the old content or the new, never a part of either, even if the writer is
interrupted or killed, or the disk is full.

A writer that is killed outright leaves its temporary file, `.<name>.<16 hexadecimal digits>.tmp`, and the next write
of the same target begins by removing it, which makes room. A writer holds a lock on its temporary file while it writes,
and the system releases the lock when the process ends. So a temporary file without a lock is abandoned. A file that is
removed too early, in the moment between its closing and its renaming, is written again.
"""

import os
import re
import shutil
import stat
import time
from contextlib import suppress

from filelock import lock_descriptor

from tinygrad_np.errors import FileWriteError

__all__ = ["reason", "size_of", "status", "write_atomically"]


def write_atomically(path: str | os.PathLike[str], content: bytes | str) -> None:
    """Write a file, which afterwards holds all of `content`, or what it held before.

    A symbolic link is followed, and a file that is replaced keeps its permissions. Of two writers at the same time,
    the last to finish wins.

    Args:
        path: of the file.
        content: bytes, or text, which is encoded as UTF-8.

    Raises:
        FileWriteError: the folder is missing or cannot be written to, the disk is full, or `path` is not a file. The
            error is also an OSError.
    """
    target = os.path.realpath(path)
    folder, name = os.path.split(target)
    temporary = os.path.join(folder, f".{name}.{os.urandom(8).hex()}.tmp")
    with suppress(OSError):  # such as a missing folder, which the code below reports
        _remove_abandoned(folder, name)
    try:
        if os.path.exists(target) and not os.path.isfile(target):
            raise OSError("It is a folder or a device")
        with open(temporary, "xb") as file:
            with suppress(OSError):  # some network file systems have no locks; there, abandoned files stay
                lock_descriptor(file.fileno())
            with suppress(FileNotFoundError):
                shutil.copymode(target, temporary)
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        try:
            _rename(temporary, target)
        except FileNotFoundError:  # another writer has taken it for abandoned, or the folder is gone
            return write_atomically(path, content)
    except OSError as error:
        raise FileWriteError(
            f"cannot write {os.fspath(path)!r}: {error.strerror or error}; "
            "choose a file in a folder that exists, may be written to and has room"
        ) from error
    finally:
        with suppress(OSError):  # it is gone after it was renamed
            os.unlink(temporary)
    with suppress(OSError):  # the file is in place; not every file system can sync a folder
        _sync_folder(folder)


def status(path: str | os.PathLike[str]) -> os.stat_result:
    """What the system knows of the file at `path`.

    Raises:
        FileNotFoundError: there is nothing at `path`, or no file can have such a name.
        OSError: the system refuses to tell.
    """
    try:
        return os.stat(path)
    except ValueError as error:  # a null character, or half of a surrogate pair
        raise FileNotFoundError(f"no file can have such a name: {error}") from error


def size_of(path: str | os.PathLike[str]) -> int:
    """The size in bytes of the regular file at `path`. Anything else there might block its reader, or never end.

    Raises:
        FileNotFoundError: there is nothing at `path`.
        OSError: it is not a regular file, or the system refuses to tell.
    """
    found = status(path)
    if not stat.S_ISREG(found.st_mode):
        raise OSError(f"it is a {'folder' if stat.S_ISDIR(found.st_mode) else 'device or a pipe'}")
    return found.st_size


def reason(error: BaseException) -> str:
    """The message of an error in one line of at most 300 characters, whatever the content of a file has put into it."""
    return " ".join((getattr(error, "strerror", None) or str(error) or repr(error)).split())[:300]


def _rename(file: str, target: str) -> None:
    """Rename a file, or try for a second: on Windows this fails while another program has one of the two open."""
    for _ in range(50):
        with suppress(PermissionError):
            return os.replace(file, target)
        time.sleep(0.02)
    os.replace(file, target)


def _sync_folder(folder: str) -> None:
    """Make the renaming of a file in `folder` survive a crash of the machine."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_abandoned(folder: str, name: str) -> None:
    """Remove the temporary files that killed writers of `name` have left in `folder`."""
    pattern = re.compile(re.escape(f".{name}.") + r"[0-9a-f]{16}\.tmp")
    for entry in filter(pattern.fullmatch, os.listdir(folder)):
        temporary = os.path.join(folder, entry)
        with suppress(OSError):
            with open(temporary, "rb") as file:
                abandoned = lock_descriptor(file.fileno(), blocking=False)
            if abandoned:
                os.unlink(temporary)
