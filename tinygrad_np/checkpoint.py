"""Checkpoints: the state of a model, or of a whole training run, in one file that holds no code.

The format is safetensors (https://github.com/huggingface/safetensors): a JSON header, then the bytes of the arrays.
Nothing is pickled, so loading a file from a stranger runs no code. What is saved is a dict, nested to any depth: a
state dict by itself, or beside everything else that a run needs to resume.

An array is stored under its keys joined by dots. A file of `model.state_dict()` therefore has PyTorch's names, such as
`layers.0.weight`; one of `{"model": model.state_dict(), "epoch": 3}` has `model.layers.0.weight`. Everything else is
JSON in the header's metadata, under `tinygrad_np`: the dict with null in place of each array, and for each array the
keys that lead to it, because dots alone do not tell `{"a": {"b.c": array}}` from `{"a.b": {"c": array}}`. A checksum
before the JSON covers the JSON and the arrays, and tells a damaged file from a sound one. Files of other programs lack
this entry, and are read as a flat dict of arrays. The same contents make the same bytes.
"""

__docformat__ = "google"

import json
import os
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from tinygrad_np import files
from tinygrad_np.errors import CheckpointError

__all__ = ["MAX_HEADER", "CheckpointNotFoundError", "load", "save"]

# The format's names of the dtypes that it shares with NumPy. Its C64 is left out: older readers do not know it.
_DTYPES = {"BOOL": "bool", "F16": "float16", "F32": "float32", "F64": "float64"}
_DTYPES |= {"U8": "uint8", "U16": "uint16", "U32": "uint32", "U64": "uint64"}
_DTYPES |= {"I8": "int8", "I16": "int16", "I32": "int32", "I64": "int64"}

# The largest header, in bytes, that `save` writes and `load` reads: a thousand arrays and as many epochs take a tenth
# of it. As Python objects a header takes 30 times its size, so the format's own limit of 100 MB is no protection.
MAX_HEADER = 4 * 2**20

_STARTS_OF_PICKLES = (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")

_Keys = tuple[str | int, ...]


class CheckpointNotFoundError(CheckpointError, FileNotFoundError):
    """There is no file at the given path."""


def save(path: str | os.PathLike[str], contents: Mapping[str, Any]) -> None:
    """Write a dict to a file, whole or not at all.

    `load` gives back an equal dict, with these differences: tuples become lists, NumPy scalars become Python's numbers,
    and arrays are writable, contiguous and little-endian.

    Args:
        path: of the file; one that exists is replaced.
        contents: a dict. Keys are strings, with or without dots. Values are arrays (bool, and integers and floats of
            up to 64 bits; any shape and memory layout), None, bool, int of any size, float including NaN and the
            infinities, str, and lists, tuples and dicts of these.

    Raises:
        CheckpointError: a key or value is of another kind, and the message names it; or everything except the arrays
            takes more than `MAX_HEADER` bytes.
        FileWriteError: the file cannot be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "run.safetensors")
    ...     save(path, {"model": {"layers.0.bias": np.zeros(2)}, "epoch": 3})
    ...     load(path)
    {'model': {'layers.0.bias': array([0., 0.])}, 'epoch': 3}
    """
    if not isinstance(contents, Mapping):
        raise CheckpointError(f"cannot save a {type(contents).__name__}; give a dict, such as model.state_dict()")
    arrays: dict[_Keys, NDArray[Any]] = {}
    values = _take_arrays(contents, (), arrays)
    tensors: dict[str, NDArray[Any]] = {}
    paths: dict[str, _Keys] = {}
    for keys, array in arrays.items():
        name = _name(keys)
        while name in tensors or name == "__metadata__":  # taken by other keys, or by the format
            name += "_"
        tensors[name] = array
        paths[name] = keys
    try:
        description = json.dumps({"tinygrad_np.values": values, "tinygrad_np.paths": paths})
        metadata = {"tinygrad_np": f"{_checksum(description, tensors)} {description}"}
        data = safetensors.numpy.save(tensors, metadata)
        _check_header_length(data)
    except (ValueError, safetensors.SafetensorError) as error:  # such as a key that is not valid Unicode
        raise CheckpointError(f"cannot save {os.fspath(path)!r}: {error}") from error
    files.write_atomically(path, data)


def load(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the dict that `save` wrote to a file, or the arrays of another program's safetensors file.

    Args:
        path: of the file.

    Returns:
        The dict. Arrays of dtype bfloat16, which NumPy does not have, become float32, which holds all of their values.

    Raises:
        CheckpointNotFoundError: there is no such file. The error is also a FileNotFoundError.
        CheckpointError: the file is damaged, is not a safetensors file, has arrays of dtypes that `save` does not
            take, or has a header of more than `MAX_HEADER` bytes.
    """
    name = repr(os.fspath(path))
    try:
        return _decode(_read(path))
    except FileNotFoundError as error:
        raise CheckpointNotFoundError(f"cannot load {name}: there is no such file; check the path") from error
    except OSError as error:
        raise CheckpointError(f"cannot load {name}: {files.reason(error)}; give a file that may be read") from error
    except (
        safetensors.SafetensorError,
        # What a made-up header can cause:
        ValueError,
        TypeError,
        LookupError,
        OverflowError,
        RecursionError,
        MemoryError,
    ) as error:
        raise CheckpointError(f"cannot load {name}: {files.reason(error)}; give a whole safetensors file") from error


def _name(keys: _Keys) -> str:
    return ".".join(map(str, keys))


def _take_arrays(value: Any, keys: _Keys, arrays: dict[_Keys, NDArray[Any]]) -> Any:
    """Make `value`, found under `keys`, ready for JSON: move each array in it to `arrays`, and leave None there."""
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise CheckpointError(f"cannot save the key {key!r} of {_name(keys)!r}: keys must be str; convert it")
        return {key: _take_arrays(item, (*keys, key), arrays) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_take_arrays(item, (*keys, index), arrays) for index, item in enumerate(value)]
    if isinstance(value, np.generic) and isinstance(value.item(), (bool, int, float)):
        return value.item()
    if isinstance(value, (np.ndarray, np.generic)):
        if value.dtype.name not in _DTYPES.values():
            raise CheckpointError(
                f"cannot save {_name(keys)!r}: arrays of dtype {value.dtype} have no place in a safetensors file; "
                f"convert it to one of {', '.join(_DTYPES.values())}"
            )
        arrays[keys] = np.asarray(value, dtype=value.dtype.newbyteorder("<"), order="C")
        return None
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise CheckpointError(
        f"cannot save {_name(keys)!r}: it is of type {type(value).__name__}; convert it to an array, None, bool, int, "
        "float, str, or a list or dict of these"
    )


def _checksum(description: str, tensors: Mapping[str, NDArray[Any]]) -> str:
    """The CRC-32 of everything in a checkpoint, in 8 hexadecimal digits."""
    checksum = zlib.crc32(description.encode())
    for name, array in sorted(tensors.items()):
        checksum = zlib.crc32(f"{name} {array.dtype} {array.shape}".encode(), checksum)
        checksum = zlib.crc32(array.data, checksum)
    return f"{checksum:08x}"


def _read(path: str | os.PathLike[str]) -> bytes:
    """Read the content of the file, after checking that its header and its size agree."""
    files.size_of(path)  # raises an error unless it is a regular file
    with open(path, "rb") as file:
        start = file.read(8)
        if (
            start[:2] in _STARTS_OF_PICKLES and _header_length(start) > MAX_HEADER
        ):  # the length of a small header may start with the same bytes
            raise ValueError("it is a pickle or a zip archive, as torch.save writes")
        _check_header_length(start)
        # This maps the file without reading it, so that a huge file of another kind does not fill the memory.
        safetensors.safe_open(path, framework="numpy")
        file.seek(0)
        return file.read()


def _header_length(data: bytes) -> int:
    return int.from_bytes(data[:8], "little")


def _check_header_length(data: bytes) -> None:
    if _header_length(data) > MAX_HEADER:
        raise ValueError(f"its header takes {_header_length(data)} bytes, more than the limit of {MAX_HEADER}")


def _decode(data: bytes) -> dict[str, Any]:
    tensors: dict[str, NDArray[Any]] = {}
    for name, tensor in sorted(safetensors.deserialize(data)):  # type: ignore[no-untyped-call]
        code, content = tensor["dtype"], tensor["data"]
        if code == "BF16":  # the upper half of a float32
            array = (np.frombuffer(content, "<u2").astype(np.uint32) << 16).view(np.float32)
        elif code in _DTYPES:
            array = np.frombuffer(content, np.dtype(_DTYPES[code]).newbyteorder("<"))
        else:
            raise ValueError(f"{name!r} has dtype {code}, which is none of BF16, {', '.join(_DTYPES)}")
        tensors[name] = array.reshape(tensor["shape"])

    header = json.loads(data[8 : 8 + _header_length(data)])
    metadata = header.get("__metadata__") or {}
    # The entry's name stands in its text, too: so damage in one place does not make the file pass as another program's.
    if "tinygrad_np" not in str(metadata):
        return tensors
    checksum, _, description = metadata.get("tinygrad_np", "").partition(" ")
    if checksum != _checksum(description, tensors):
        raise ValueError("it is damaged, for its checksum does not match")
    contents = json.loads(description)
    values: dict[str, Any] = dict(contents["tinygrad_np.values"])
    for name, array in tensors.items():
        *keys, last = contents["tinygrad_np.paths"][name]
        place: Any = values
        for key in keys:
            place = place[key]
        place[last] = array
    return values
