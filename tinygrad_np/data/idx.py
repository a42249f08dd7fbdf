"""The IDX format, in which MNIST and its relatives are published, plain or gzip'd.

A file is two zero bytes, a byte for the dtype, a byte for the number of dimensions, the dimensions as big-endian
32-bit integers, and then the values (described at the foot of yann.lecun.com/exdb/mnist). The decompression is a loop
around zlib rather than the gzip module: it makes no more than the header declares, and half of the copies.
"""

from __future__ import annotations

import math
import os
import struct
import zlib
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from tinygrad_np.data.files import DEFLATE_RATIO, MAX_BYTES, FilePath, open_file
from tinygrad_np.errors import DataError

DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
MAX_DIMENSIONS = 64  # NumPy's limit; the format's is 255
GZIP_MAGIC = b"\x1f\x8b"
CHUNK = 2**16

Read = Callable[[int], bytes]  # at most so many of the next bytes; none at the end


def load_idx(path: FilePath, sha256: str | None = None) -> NDArray[Any]:
    """The array of an IDX file, in the machine's byte order; gzip'd or not is told by the content, not by the name.

    If `sha256` is given, as hexadecimal digits, the uncompressed content must have this checksum.

    Raises MissingFileError if there is no such file, and DataError if it is damaged, is not IDX, is not of exactly the
    size that its header declares, declares nothing or more than `files.MAX_BYTES`, or has another checksum.
    """
    path = os.fspath(path)
    with open_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        is_gzip = file.read(2) == GZIP_MAGIC
        file.seek(0)
        try:
            if is_gzip:
                header, array = _read_array(_inflating(file), size * DEFLATE_RATIO, path)
            else:
                header, array = _read_array(file.read, size, path)
        except (EOFError, zlib.error) as error:
            raise DataError(f"{path!r}: cannot be read: {error}; get the file again") from error
    if sha256 is not None:
        _check_sha256(header, array, sha256, path)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _read_array(read: Read, room: int, path: str) -> tuple[bytes, NDArray[Any]]:
    """The header and the array, still in the file's byte order; there can be no more than `room` bytes of it."""
    magic = bytearray(4)
    if _fill(read, magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in DTYPES or not 1 <= magic[3] <= MAX_DIMENSIONS:
        raise DataError(f"{path!r}: starts with bytes {magic.hex(' ')}, which is not the start of an IDX file")
    dtype = np.dtype(DTYPES[magic[2]])
    dimensions = bytearray(4 * magic[3])
    if _fill(read, dimensions) < len(dimensions):
        raise DataError(f"{path!r}: ends within its header")
    shape = struct.unpack(f">{magic[3]}I", dimensions)

    declared = math.prod(shape) * dtype.itemsize
    if not 0 < declared <= MAX_BYTES:
        raise DataError(f"{path!r}: declares shape {shape}, {declared} bytes, expected from 1 to {MAX_BYTES}")
    if declared > room:
        raise DataError(f"{path!r}: declares shape {shape}, {declared} bytes, but is too short to hold them")
    values = np.empty(declared, np.uint8)
    present = _fill(read, values.data)
    if present < declared:
        raise DataError(f"{path!r}: declares shape {shape}, {declared} bytes, but holds only {present}")
    if read(1):
        raise DataError(f"{path!r}: declares shape {shape}, {declared} bytes, but holds more")
    return bytes(magic + dimensions), values.view(dtype).reshape(shape)


def _fill(read: Read, buffer: bytearray | memoryview) -> int:
    """How many bytes of `buffer` could be filled before the end."""
    filled = 0
    while filled < len(buffer) and (piece := read(min(CHUNK, len(buffer) - filled))):
        buffer[filled : filled + len(piece)] = piece
        filled += len(piece)
    return filled


def _inflating(file: BinaryIO) -> Read:
    """A `read` of what the gzip file decompresses to, which raises EOFError or zlib.error where that is damaged."""
    inflater = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)  # 16: with gzip's header, and its checksum at the end

    def read(size: int) -> bytes:
        while not inflater.eof:
            compressed = inflater.unconsumed_tail or file.read(CHUNK)
            piece = inflater.decompress(compressed, size)
            if piece:
                return piece
            if not compressed:
                raise EOFError("the gzip data is cut short")
        if inflater.unused_data or file.read(1):
            raise EOFError("the gzip data is followed by something else")
        return b""

    return read


def _check_sha256(header: bytes, array: NDArray[Any], expected: str, path: str) -> None:
    import hashlib  # here, since it costs 3 ms that only checked files are worth

    digest = hashlib.sha256(header)
    digest.update(array.ravel().data)
    if digest.hexdigest() != expected:
        raise DataError(f"{path!r}: uncompressed, has SHA-256 {digest.hexdigest()}, expected {expected}")
