"""The IDX format, in which MNIST and its relatives are published, plain or gzip'd.

A file is two zero bytes, a byte for the dtype, a byte for the number of dimensions, the dimensions as big-endian
32-bit integers, and then the values (described at the foot of yann.lecun.com/exdb/mnist). Decompression is a loop
around zlib rather than the gzip module: it unpacks no more than the header declares, and copies half as much.
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

from tinygrad_np.data.opening import DEFLATE_RATIO, MAX_BYTES, FilePath, open_file
from tinygrad_np.errors import DataError

__all__ = ["load_idx"]

DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
MAX_DIMENSIONS = 64  # NumPy's limit; the format's is 255
GZIP_MAGIC = b"\x1f\x8b"
CHUNK = 2**16

Read = Callable[[int], bytes]  # returns at most as many bytes as it is asked for, and none at the end


def load_idx(path: FilePath, sha256: str | None = None) -> NDArray[Any]:
    """Read the array of an IDX file.

    Args:
        path: of the file. Its content, not its name, tells whether it is gzip'd.
        sha256: the checksum that the uncompressed content must have, in hexadecimal digits; None for any.

    Returns:
        The array, of the shape and dtype that the file declares, in the machine's byte order.

    Raises:
        MissingFileError: there is no such file.
        DataError: it is damaged, is not IDX, does not have exactly the size that its header declares, declares no
            bytes or more than `opening.MAX_BYTES`, or has another checksum.
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
    """Read the header, and the array in the file's byte order. An array of more than `room` bytes is refused unread."""
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
    """Read until `buffer` is full or the file ends, and return the number of bytes read."""
    filled = 0
    while filled < len(buffer) and (piece := read(min(CHUNK, len(buffer) - filled))):
        buffer[filled : filled + len(piece)] = piece
        filled += len(piece)
    return filled


def _inflating(file: BinaryIO) -> Read:
    """A `read` for the uncompressed content of a gzip file; it raises EOFError or zlib.error if the file is damaged."""
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
    import hashlib  # here, because it costs 3 ms, which only files with a checksum need

    digest = hashlib.sha256(header)
    digest.update(array.ravel().data)
    if digest.hexdigest() != expected:
        raise DataError(f"{path!r}: uncompressed, has SHA-256 {digest.hexdigest()}, expected {expected}")
