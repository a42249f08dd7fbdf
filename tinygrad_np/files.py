"""Writing a file whole or not at all, and what the readers of files have in common.

The content goes to a temporary file in the folder of the target, is synced to the disk, and takes the target's name
in one step. Whoever opens the target finds the old content or the new, never a part of one, whether the writer was
interrupted, killed, or out of disk. For POSIX systems: locks and the syncing of folders are theirs.

A writer that is killed outright leaves its temporary file, `.<name>.<16 hexadecimal digits>.tmp`, and the next write
of the same target begins by removing it, which makes room. A writer holds a lock on its temporary file, which the
system releases when the process ends; a file whose lock can be had is therefore nobody's, and that of a second writer
at work is safe.
"""

import fcntl
import os
import re
import stat
from contextlib import suppress

from tinygrad_np.errors import FileWriteError


def write_atomically(path: str | os.PathLike[str], content: bytes | str) -> None:
    """Writes `content` to the file `path`, which afterwards holds all of it, or what it held before.

    Text is encoded as UTF-8. A symbolic link is followed, and a file that is replaced keeps its permissions. Of two
    writers at the same time, the last to finish wins. Raises FileWriteError (an OSError) if the folder is missing or
    cannot be written to, if the disk is full, or if `path` is something else than a file.
    """
    target = os.path.realpath(path)
    folder, name = os.path.split(target)
    temporary = os.path.join(folder, f".{name}.{os.urandom(8).hex()}.tmp")
    with suppress(OSError):  # such as a missing folder, of which the writing below has more to say
        _remove_abandoned(folder, name)
    try:
        if os.path.exists(target) and not os.path.isfile(target):
            raise OSError("It is a folder or a device")
        with open(temporary, "xb") as file:
            with suppress(OSError):  # some network file systems have no locks; they keep what killed writers leave
                fcntl.flock(file, fcntl.LOCK_EX)
            if not os.path.exists(temporary):  # another writer took it for abandoned before it was locked
                return write_atomically(path, content)
            with suppress(FileNotFoundError):
                os.fchmod(file.fileno(), stat.S_IMODE(os.stat(target).st_mode))
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
            os.replace(temporary, target)
    except OSError as error:
        raise FileWriteError(
            f"cannot write {os.fspath(path)!r}: {error.strerror or error}; "
            "choose a file in a folder that exists, may be written to and has room"
        ) from error
    finally:
        with suppress(OSError):  # it has gone if it was renamed
            os.unlink(temporary)
    with suppress(OSError):  # the file is in place; not every file system can sync a folder
        _sync_folder(folder)


def status(path: str | os.PathLike[str]) -> os.stat_result:
    """What the system knows of the file at `path`. Raises FileNotFoundError also for a name that no file can have."""
    try:
        return os.stat(path)
    except ValueError as error:  # a null character, or half of a surrogate pair
        raise FileNotFoundError(f"no file can have such a name: {error}") from error


def size_of(path: str | os.PathLike[str]) -> int:
    """The size in bytes of the regular file at `path`; what else can be there may block its reader, or never end.

    Raises OSError, of which FileNotFoundError is one, with the reason.
    """
    found = status(path)
    if not stat.S_ISREG(found.st_mode):
        raise OSError(f"it is a {'folder' if stat.S_ISDIR(found.st_mode) else 'device or a pipe'}")
    return found.st_size


def reason(error: BaseException) -> str:
    """What an error says, in one line of at most 300 characters, whatever a file has put into it."""
    return " ".join((getattr(error, "strerror", None) or str(error) or repr(error)).split())[:300]


def _sync_folder(folder: str) -> None:
    """Makes the renaming of a file in `folder` survive a crash of the machine."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_abandoned(folder: str, name: str) -> None:
    """Removes the temporary files that killed writers of `name` have left in `folder`."""
    pattern = re.compile(re.escape(f".{name}.") + r"[0-9a-f]{16}\.tmp")
    for entry in filter(pattern.fullmatch, os.listdir(folder)):
        temporary = os.path.join(folder, entry)
        with suppress(OSError), open(temporary, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # an OSError while its writer lives
            os.unlink(temporary)
