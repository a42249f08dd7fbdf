"""Bad files: whatever is in a file, or in its place, its reader gives something sound or an error of its own.

The error is one line that names the file. Nothing that a file holds is run, and what it asks for in memory is bounded.
First sound files are damaged at random, thousands of times; then come the files that someone might make on purpose.
"""

import contextlib
import copy
import functools
import gzip
import io
import itertools
import json
import os
import pathlib
import pickle
import re
import socket
import struct
import sys
import tempfile
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygrad_np import checkpoint, data
from tinygrad_np.errors import CheckpointError, DataError, TinygradNpError

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "scripts"))

import compare
import training_run
from run_folder import write_config
from settings import parse_arguments, run_settings
from train import train

MEGABYTE = 10**6

# Sound files, as the libraries write them. Damage finds most in small ones.

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 3, 3), dtype=np.uint8)
LABELS = np.array([0, 1, 2, 1, 0], np.uint8)
ARRAYS = {"x_train": IMAGES, "y_train": LABELS, "x_test": IMAGES[:2], "y_test": LABELS[:2]}
STATE = {"layers.0.weight": np.random.default_rng(1).random((3, 2), np.float32), "layers.0.bias": np.zeros(3, "f4")}
CONTENTS = {
    "model": STATE,
    "generator": np.random.default_rng(1).bit_generator.state,
    "config": {"hidden": [3], "lr": 1e-3, "name": "größe", "resume": None, "nesterov": True},
    "steps": [np.arange(3), 7],
}


def idx(array, shape=None):
    """An IDX file of the array. If `shape` is given, the file declares it instead of the true one."""
    shape = array.shape if shape is None else shape
    code = {"u1": 0x08, "i4": 0x0C, "f4": 0x0D}[array.dtype.str[1:]]
    header = struct.pack(f">HBB{len(shape)}I", 0, code, len(shape), *shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def npy(array, version=(1, 0)):
    content = io.BytesIO()
    np.lib.format.write_array(content, array, version)
    return content.getvalue()


def archive(members, compression=zipfile.ZIP_STORED):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", compression) as file:
        for name, member in members.items():
            file.writestr(name, member)
    return content.getvalue()


def npz(compression=zipfile.ZIP_STORED, **changes):
    """Keras's four arrays. `changes` replaces some of them by other arrays or bytes."""
    members = {
        f"{key}.npy": value if isinstance(value, bytes) else npy(value) for key, value in (ARRAYS | changes).items()
    }
    return archive(members, compression)


def csv(images):
    return "".join(
        ",".join(map(str, [label, *image.ravel()])) + "\n" for label, image in zip(LABELS, images, strict=True)
    )


def saved(contents):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "run.safetensors")
        checkpoint.save(path, contents)
        return path.read_bytes()


def with_header(header, arrays=b""):
    """A safetensors file with this header: bytes, or values to write as JSON."""
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(header).to_bytes(8, "little") + header + arrays


def with_description(description):
    """A safetensors file that says it is a checkpoint of this description, with the right checksum."""
    checksum = f"{zlib.crc32(description):08x} "
    return with_header({"__metadata__": {"tinygrad_np": checksum + description.decode("utf-8", "replace")}})


def parts(content):
    """The JSON header of a safetensors file, and the rest."""
    end = 8 + int.from_bytes(content[:8], "little")
    return content[8:end], content[end:]


IDX = [idx(IMAGES), idx(IMAGES.astype("i4")), idx((IMAGES / 255).astype("f4"))]
HEADER = ("label," + ",".join(f"pixel{i}" for i in range(9)) + "\n").encode()
CSV = [csv(IMAGES).encode(), HEADER + csv(IMAGES).encode(), csv(IMAGES / 255).encode("utf-8-sig")]
NPZ = [npz(), npz(zipfile.ZIP_DEFLATED), npz(x_train=IMAGES / 255, x_test=IMAGES[:2] / 255)]
CHECKPOINTS = [saved(CONTENTS), saved(STATE)]
OTHERS_CHECKPOINT = safetensors.numpy.save(STATE, {"format": "pt"})
DESCRIPTION = json.loads(parts(CHECKPOINTS[1])[0])["__metadata__"]["tinygrad_np"].partition(" ")[2].encode()
SOUND = {
    "idx": IDX[0],
    "idx.gz": gzip.compress(IDX[0]),
    "csv": CSV[1],
    "npz": NPZ[1],
    "npy": npy(IMAGES),
    "safetensors": CHECKPOINTS[0],
    "pickle": pickle.dumps(STATE),
    "json": DESCRIPTION,
    "nothing": b"",
}

# What a sound result is.


def check_idx(array):
    assert isinstance(array, np.ndarray)
    assert array.dtype.kind in "iuf"
    assert array.dtype.isnative
    assert array.size > 0


def check_part(part):
    images, labels = part
    assert len(images) == len(labels)
    assert images.dtype in (np.uint8, np.float32)
    assert labels.dtype == np.int64
    assert np.isfinite(images).all()
    assert (labels >= 0).all()


def check_dataset(dataset):
    check_part(dataset[:2])
    check_part(dataset[2:])
    assert dataset.train_images.size > 0
    assert dataset.train_images.shape[1:] == dataset.test_images.shape[1:]
    assert dataset.num_classes == dataset.train_labels.max() + 1 > dataset.test_labels.max(initial=0)
    assert data.to_inputs(dataset.train_images).shape == (len(dataset.train_images), dataset.num_features)


def check_nest(value):
    if isinstance(value, dict):
        assert all(isinstance(key, str) for key in value)
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            check_nest(item)
    else:
        assert value is None or isinstance(value, (bool, int, float, str, np.ndarray))


def same(a, b):
    if isinstance(a, dict) and isinstance(b, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
    return type(a) is type(b) and repr(a) == repr(b)


def check_checkpoint(contents):
    """If a damaged checkpoint loads at all, it still says what it said."""
    assert same(contents, CONTENTS) or same(contents, STATE)


def answer(reader, path, error=None, name=None, memory=20 * MEGABYTE):
    """What `reader` gives for `path`, or None and the message of its error, which names the file, or `name`."""
    error = error or (CheckpointError if reader is checkpoint.load else DataError)
    value, message = None, None
    tracemalloc.start()
    try:
        value = reader(path)
    except error as caught:
        message = str(caught)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < memory
    if message is not None:
        assert issubclass(error, TinygradNpError)
        assert (os.fspath(path) if name is None else name) in message
        assert "\n" not in message
        assert len(message) < 2000
    return value, message


def refusal(reader, path, error=None, name=None, memory=20 * MEGABYTE):
    _, message = answer(reader, path, error, name, memory)
    assert message is not None
    return message


def put(path, content):
    """Overwrite the file `path` with `content`. Making a new file each time would be slower."""
    with open(path, "r+b" if path.exists() else "xb") as file:
        file.write(content)
        file.truncate()


# Sound files damaged at random

NUMBERS = [0, 1, -1, 127, 255, 65_535, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1, 10**400]
WORDS = rb""" " ' [ ] { } ( , : - . nan 1e999 null true |O <f2 F16 BF16 1L __metadata__ PK """.split()
WORDS += [b"\n", b"\r", b"\0", b"\xef\xbb\xbf", b"PK\5\6", b"[" * 2000]
WORDS += [struct.pack(form, n) for form in ("<i", ">i", "<q", ">q") for n in (0, 1, -1, 2**31 - 1)]


def flip(content, bit):
    return bytes(byte ^ 1 << bit for byte in content[:1]) + content[1:]


def replace_number(content, place, other):
    found = list(itertools.islice(re.finditer(rb"-?\d+", content), 100))
    if not found:
        return content
    start, stop = found[place % len(found)].span()
    return content[:start] + other + content[stop:]


# Each takes the content, a place in it, a later one, the bytes of a word, and a number in digits.
DAMAGES = [
    lambda content, start, stop, word, number: content[:start],
    lambda content, start, stop, word, number: content[:start] + content[stop:],
    lambda content, start, stop, word, number: content[:stop] + content[start:],  # repeats a piece
    lambda content, start, stop, word, number: content[:start] + flip(content[start:], stop % 8),
    lambda content, start, stop, word, number: content[:start] + word + content[start:],
    lambda content, start, stop, word, number: content[:start] + word + content[start + len(word) :],
    lambda content, start, stop, word, number: replace_number(content, start, number),
    lambda content, start, stop, word, number: content + word,
    lambda content, start, stop, word, number: content + content,
]


@st.composite
def damaged(draw, contents):
    """One of the contents with one to four damages. Six random bytes choose each: Hypothesis draws bytes fast."""
    content = draw(st.sampled_from(contents))
    codes = draw(st.binary(min_size=6, max_size=24))
    for how, where, near, far, length, other in zip(*(codes[i::6] for i in range(6))):  # noqa: B905 (a rest is left)
        # Headers are at the start, and those of zip archives at the end.
        place = [near, -near, near * 256 + far, near * 8][where % 4] % (len(content) + 1)
        damage = DAMAGES[how % len(DAMAGES)]
        number = str(NUMBERS[other % len(NUMBERS)]).encode()
        content = damage(content, place, place + 1 + length % 64, WORDS[other % len(WORDS)], number)
    return content


def file_of(content):
    return {"file": content}


def directory_of_csv(content):
    return {"train.csv": content, "test.csv": content}


def directory_of_idx(content):
    """The same damage in both files of images, with sound labels."""
    names = [f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]
    return dict(zip(names, [content, idx(LABELS), content, gzip.compress(idx(LABELS))], strict=True))


# What to damage, what files to make of it, which reader to give them to, and how to judge the result.
FORMATS = {
    "IDX": (IDX, file_of, data.load_idx, check_idx),
    "gzip": ([gzip.compress(IDX[0]), gzip.compress(IDX[0], 0)], file_of, data.load_idx, check_idx),
    "IDX in sound gzip": (IDX, lambda content: file_of(gzip.compress(content, 1)), data.load_idx, check_idx),
    "directory of IDX": (IDX, directory_of_idx, data.load, check_dataset),
    "labels": (
        [idx(LABELS), idx(LABELS.astype("f4"))],
        lambda content: directory_of_idx(IDX[0]) | {"train-labels-idx1-ubyte": content},
        data.load,
        check_dataset,
    ),
    "CSV": (CSV, file_of, data.load_csv, check_part),
    "directory of CSV": (CSV, directory_of_csv, data.load, check_dataset),
    "npz": (NPZ, file_of, data.load_npz, check_dataset),
    "array in sound npz": (
        [npy(IMAGES), npy(IMAGES, (2, 0)), npy(IMAGES, (3, 0)), npy(np.asfortranarray(IMAGES))],
        lambda content: file_of(npz(x_train=content)),
        data.load_npz,
        check_dataset,
    ),
    "checkpoint": (CHECKPOINTS, file_of, checkpoint.load, check_checkpoint),
    "another program's checkpoint": ([OTHERS_CHECKPOINT], file_of, checkpoint.load, check_nest),
    "header of a checkpoint": (
        [parts(OTHERS_CHECKPOINT)[0]],
        lambda content: file_of(with_header(content, parts(OTHERS_CHECKPOINT)[1])),
        checkpoint.load,
        check_nest,
    ),
    "description in a checkpoint": (
        [b'{"tinygrad_np.values": {"a": [1, {"b": 1.5}], "c": null}, "tinygrad_np.paths": {}}'],
        lambda content: file_of(with_description(content)),
        checkpoint.load,
        check_nest,
    ),
}


def check_damaged(folder, name, content):
    _, files_of, reader, check = FORMATS[name]
    files = files_of(content)
    for file_name, file_content in files.items():
        put(folder / file_name, file_content)
    value, _ = answer(reader, folder / "file" if "file" in files else folder, name=os.fspath(folder))
    if value is not None:
        check(value)


@pytest.mark.parametrize("name", FORMATS)
def test_damaged_files(name, tmp_path):
    @settings(max_examples=100, deadline=None)
    @given(damaged(FORMATS[name][0]))
    def check(content):
        check_damaged(tmp_path, name, content)

    check()


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_thousands_of_damaged_files(name, tmp_path):
    @settings(max_examples=1000, deadline=None)
    @given(damaged(FORMATS[name][0]))
    def check(content):
        check_damaged(tmp_path, name, content)

    check()


@pytest.mark.parametrize(
    ("reader", "check"),
    [
        (data.load_idx, check_idx),
        (data.load_csv, check_part),
        (data.load_npz, check_dataset),
        (checkpoint.load, check_nest),
    ],
)
def test_files_of_arbitrary_bytes(reader, check, tmp_path):
    @settings(max_examples=100, deadline=None)
    @given(st.binary(max_size=100))
    def check_bytes(content):
        put(tmp_path / "file", content)
        value, _ = answer(reader, tmp_path / "file")
        if value is not None:
            check(value)

    check_bytes()


@pytest.mark.parametrize("name", FORMATS)
def test_the_files_that_are_damaged_here_were_sound(name, tmp_path):
    contents, files_of, reader, check = FORMATS[name]
    for content in contents:
        files = files_of(content)
        for file_name, file_content in files.items():
            put(tmp_path / file_name, file_content)
        check(reader(tmp_path / "file" if "file" in files else tmp_path))


@pytest.mark.parametrize("reader", [data.load_idx, data.load_csv, data.load_npz, checkpoint.load])
@pytest.mark.parametrize("kind", SOUND)
def test_a_file_of_another_kind_is_refused(reader, kind, tmp_path):
    name = "safetensors" if reader is checkpoint.load else reader.__name__.removeprefix("load_")
    (tmp_path / "file").write_bytes(SOUND[kind])
    if kind.removesuffix(".gz") == name:
        assert reader(tmp_path / "file") is not None
    else:
        refusal(reader, tmp_path / "file")


# Headers that ask for too much, and bombs


def deflated(*contents, megabytes=0):
    """The contents and so many megabytes of zeros, as a raw deflate stream, made of the same piece again and again."""
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    pieces = [compressor.compress(content) + compressor.flush(zlib.Z_FULL_FLUSH) for content in contents]
    zeros = compressor.compress(bytes(MEGABYTE)) + compressor.flush(zlib.Z_FULL_FLUSH)
    return b"".join(pieces) + zeros * megabytes + compressor.flush()


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("shape", [(2**32 - 1, 28, 28), (2**32 - 1,) * 64, (2**31,), (10**8,)])
def test_an_idx_file_that_declares_billions_of_images(shape, pack, tmp_path):
    (tmp_path / "file").write_bytes(pack(idx(IMAGES, shape)))
    assert "declares shape (" in refusal(data.load_idx, tmp_path / "file", memory=MEGABYTE)


def test_a_gzip_bomb_is_unpacked_no_further_than_its_header_declares(tmp_path):
    bomb = b"\x1f\x8b\x08" + bytes(7) + deflated(idx(IMAGES), megabytes=1000)
    (tmp_path / "file").write_bytes(bomb)
    assert "but holds more" in refusal(data.load_idx, tmp_path / "file", memory=MEGABYTE)


def lying(content, name, **fields):
    """The zip archive with other fields in both headers of a member: one is before it, one in the table of contents."""
    content = bytearray(content)
    offsets = {"method": (8, 10, "H"), "size": (22, 24, "I"), "start": (None, 42, "I")}
    first, second = (found.start() for found in re.finditer(name.encode(), bytes(content)))
    for field, value in fields.items():
        local, central, kind = offsets[field]
        if local:
            struct.pack_into("<" + kind, content, first - 30 + local, value)
        struct.pack_into("<" + kind, content, second - 46 + central, value)
    return bytes(content)


def test_a_zip_bomb_is_unpacked_no_further_than_it_declares(tmp_path):
    member = npy(IMAGES)
    bomb = lying(npz(x_train=deflated(member, megabytes=10_000)), "x_train.npy", method=8, size=len(member))
    (tmp_path / "file").write_bytes(bomb)
    assert "CRC" in refusal(data.load_npz, tmp_path / "file", memory=MEGABYTE)


@pytest.mark.parametrize("size", [2**32 - 2, 2**31, 600 * 2**20])
def test_a_zip_bomb_that_declares_its_size_is_not_unpacked(size, tmp_path):
    (tmp_path / "file").write_bytes(lying(npz(), "x_train.npy", size=size))
    assert f"x_train: declares {size} bytes" in refusal(data.load_npz, tmp_path / "file", memory=MEGABYTE)


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_bombs_of_other_compressions_are_not_unpacked(compression, tmp_path):
    """Python unpacks them a few kilobytes at a time, of which each can be gigabytes."""
    bomb = npz(compression, x_train=npy(IMAGES) + bytes(10 * MEGABYTE))
    (tmp_path / "file").write_bytes(lying(bomb, "x_train.npy", size=len(npy(IMAGES))))
    assert f"x_train: is compressed by method {compression}" in refusal(
        data.load_npz, tmp_path / "file", memory=MEGABYTE
    )


def test_a_zip_archive_of_a_hundred_thousand_files_is_not_searched(tmp_path):
    entry = b"PK\1\2" + struct.pack("<4B4H3L5H2L", 20, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    table = entry * 100_000
    end = b"PK\5\6" + struct.pack("<4H2LH", 0, 0, 2**16 - 1, 2**16 - 1, len(table), 0, 0)
    (tmp_path / "file").write_bytes(table + end)
    assert "table of contents" in refusal(data.load_npz, tmp_path / "file", memory=MEGABYTE)


def test_a_zip_archive_whose_members_are_one_and_the_same_is_refused(tmp_path):
    (tmp_path / "file").write_bytes(lying(npz(), "y_train.npy", start=0))
    assert "x_train.npy" in refusal(data.load_npz, tmp_path / "file")


def test_names_in_a_zip_archive_lead_nowhere(tmp_path):
    (tmp_path / "inner").mkdir()
    members = {f"{key}.npy": npy(array) for key, array in ARRAYS.items()}
    outside = {"../evil.npy": b"", f"{tmp_path}/evil.npy": b"", "../../x_train.npy": b""}
    (tmp_path / "inner" / "file").write_bytes(archive(members | outside))
    check_dataset(data.load_npz(tmp_path / "inner" / "file"))
    (tmp_path / "inner" / "file").write_bytes(archive({f"../{name}": member for name, member in members.items()}))
    assert "lacks x_train" in refusal(data.load_npz, tmp_path / "inner" / "file")
    assert [path.name for path in tmp_path.rglob("*")] == ["inner", "file"]


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '|u1', 'fortran_order': False, 'shape': (1152921504606846976, 28, 28)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (-5, -3, 3)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (0, 9223372036854775808)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (" + "9" * 4000 + ", 3)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (" + "1, " * 100 + ")}",
        "{'descr': '|V9223372036854775807', 'fortran_order': False, 'shape': (5, 3, 3)}",
        "{'descr': '(1000000,1000000)f8', 'fortran_order': False, 'shape': (5, 3, 3)}",
        "{'descr': '|O', 'fortran_order': False, 'shape': (5, 3, 3)}",
        "{'descr': __import__('os').mkdir('ran'), 'fortran_order': False, 'shape': (5, 3, 3)}",
        "__import__('os').mkdir('ran')",
        "[" * 9000,
        "-" * 9000 + "1",
        "{'\\d': 0or 1}",
    ],
    ids=lambda header: header[-40:],
)
def test_made_up_headers_of_arrays(header, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    header = header.encode()
    content = b"\x93NUMPY\x01\0" + struct.pack("<H", len(header)) + header + IMAGES.tobytes()
    (tmp_path / "file").write_bytes(npz(x_train=content))
    refusal(data.load_npz, tmp_path / "file", memory=5 * MEGABYTE)
    assert os.listdir() == ["file"]


# Code in files


class MakesADirectory:
    """Unpickling this makes a directory."""

    def __init__(self, path):
        self.path = os.fspath(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("reader", [data.load_idx, data.load_csv, data.load_npz, checkpoint.load])
@pytest.mark.parametrize(
    "wrap",
    [
        pickle.dumps,
        lambda trap: npz(x_train=np.array([[trap]], object)),
        lambda trap: npz(x_train=pickle.dumps(trap)),
        lambda trap: npy(np.array([trap], object)),
        lambda trap: archive({"archive/data.pkl": pickle.dumps(trap)}),
        lambda trap: gzip.compress(pickle.dumps(trap)),
    ],
    ids=["pickle", "array of objects", "pickle in npz", "npy", "torch.save", "gzip"],
)
def test_a_pickle_does_not_run(reader, wrap, tmp_path):
    (tmp_path / "file").write_bytes(wrap(MakesADirectory(tmp_path / "ran")))
    refusal(reader, tmp_path / "file")
    assert os.listdir(tmp_path) == ["file"]


# CSV


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"1," * 10**6 + b"2\n3\n", "line 2: the number of columns changed"),
        (b"1," * 30_000_000, "line 1: longer than 4194304 characters"),
        (b"label,a\n" + b"\0" * 30_000_000, "line 2: longer than 4194304 characters"),
        (b"1,1e999\n", "NaN, infinity"),
        (b"1," + b"9" * 10**6, "NaN, infinity"),
        (b"1,2\n1,\0\n", "line 2"),
        (b'1,"2\n1,2\n', "line 1"),
        (b"1,2\n1,\xff\xfe\xe2\x82\n", "line 2"),
        ("1,2\n1,3\n".encode("utf-16"), "line 1"),
        ("1,٣\n".encode(), "line 1"),
        (b"1,0x10\n", "line 1"),
        (b"1,2\x1c3\n", "line 1"),
    ],
    ids=lambda value: None if isinstance(value, str) else repr(value[:10]),
)
def test_odd_csv_files_are_refused(content, complaint, tmp_path):
    (tmp_path / "file").write_bytes(content)
    assert complaint in refusal(data.load_csv, tmp_path / "file", memory=150 * MEGABYTE)


def test_a_csv_file_may_have_a_million_columns_and_mixed_ends_of_lines(tmp_path):
    line = b"7" + b",255" * 10**6
    (tmp_path / "file").write_bytes(b"\xef\xbb\xbf" + line + b"\r\n" + line + b"\r" + line + b"\n\n\n" + line)
    images, labels = data.load_csv(tmp_path / "file", labels="first")
    assert images.shape == (4, 1000, 1000)
    assert labels.tolist() == [7, 7, 7, 7]


# Safetensors


@pytest.mark.parametrize("length", [0, 1, 3, 100, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1])
def test_a_header_of_another_length_than_it_says(length, tmp_path):
    (tmp_path / "file").write_bytes(length.to_bytes(8, "little") + OTHERS_CHECKPOINT[8:])
    refusal(checkpoint.load, tmp_path / "file", memory=MEGABYTE)


def tensor(dtype="F32", shape=(1,), offsets=(0, 4)):
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


@pytest.mark.parametrize(
    "header",
    [
        [],
        {"a": 1},
        {"a": tensor(), "b": tensor()},
        {"a": tensor(offsets=(4, 8))},
        {"a": tensor(offsets=(4, 0))},
        {"a": tensor(offsets=(-4, 0))},
        {"a": tensor(offsets=(0, 2**63))},
        {"a": tensor(shape=(2,))},
        {"a": tensor(shape=(2**62, 2**62))},
        {"a": tensor(shape=(-1,))},
        {"a": tensor(shape=(1,) * 70)},
        {"a": tensor(), "b": tensor(shape=(0, 2**63), offsets=(4, 4))},
        {"a": tensor(), "b": tensor(shape=(0, 2**64 - 1), offsets=(4, 4))},
        {"a": tensor(dtype="F128")},
        {"a": tensor(dtype="a\nb")},
        {"a\n" * 10**5: tensor(dtype="F4", shape=(8,))},
        {"a": tensor(), "__metadata__": {"epoch": 3}},
        {"a": tensor(), "__metadata__": {"tinygrad_np": "00000000 {}"}},
        b'{"a": ' + b"[" * 10**5,
        b'{"__metadata__": ' + b'{"a": ' * 10**5,
        b'{"__metadata__": {}, "__metadata__": {}}',
        b"\xff\xfe{}",
        b" " * 10,
    ],
    ids=lambda header: repr(header)[:40],
)
def test_a_made_up_header_is_refused(header, tmp_path):
    (tmp_path / "file").write_bytes(with_header(header, b"1234"))
    refusal(checkpoint.load, tmp_path / "file", memory=5 * MEGABYTE)


def test_of_a_name_that_comes_twice_in_a_header_one_array_is_loaded(tmp_path):
    array = json.dumps(tensor())
    (tmp_path / "file").write_bytes(with_header(f'{{"a": {array}, "a": {array}}}'.encode(), b"\0\0\x80?"))
    assert same(checkpoint.load(tmp_path / "file"), {"a": np.ones(1, np.float32)})


@pytest.mark.parametrize("description", ["", "{", "[]", "{}", "null", '{"tinygrad_np.values": 5}', "[" * 100_000])
def test_a_made_up_description_is_refused_even_with_the_right_checksum(description, tmp_path):
    (tmp_path / "file").write_bytes(with_description(description.encode()))
    assert "damaged" not in refusal(checkpoint.load, tmp_path / "file")


def test_a_header_of_millions_of_values_is_neither_read_nor_written(tmp_path):
    (tmp_path / "file").write_bytes(with_description(b"[" + b"[]," * 2_000_000 + b"[]]"))
    message = refusal(checkpoint.load, tmp_path / "file", memory=MEGABYTE)
    assert "its header takes 6000" in message
    with pytest.raises(CheckpointError, match=r"cannot save .*: its header takes \d+ bytes, more than the limit"):
        checkpoint.save(tmp_path / "file", {"note": "x" * 5_000_000})


@pytest.mark.parametrize("start", [b"", b"PK\x03\x04", b"\x80\x04}.", b"\xff" * 8, b"some text"])
@pytest.mark.parametrize("reader", [data.load_idx, data.load_csv, data.load_npz, checkpoint.load])
def test_a_huge_file_of_another_kind_is_refused_without_reading_it(reader, start, tmp_path):
    (tmp_path / "file").write_bytes(start)
    os.truncate(tmp_path / "file", 2**40)
    refusal(reader, tmp_path / "file", memory=MEGABYTE)


OVERCOMMIT = pathlib.Path("/proc/sys/vm/overcommit_memory")


@pytest.mark.skipif(not OVERCOMMIT.exists() or OVERCOMMIT.read_text() == "1\n", reason="the system promises any memory")
def test_a_checkpoint_that_is_larger_than_memory_is_refused(tmp_path):
    size = 2**43
    (tmp_path / "file").write_bytes(with_header({"a": tensor("U8", [size], [0, size])}))
    os.truncate(tmp_path / "file", (tmp_path / "file").stat().st_size + size)
    assert "MemoryError" in refusal(checkpoint.load, tmp_path / "file", memory=MEGABYTE)


# What is not a file

READERS = [data.load, data.load_mnist, data.load_idx, data.load_csv, data.load_npz, checkpoint.load]


def bind(path):
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as server, contextlib.chdir(path.parent):
        server.bind(path.name)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (os.mkfifo, "it is a device or a pipe"),
        (bind, "it is a device or a pipe"),
        (lambda path: path.symlink_to("/dev/zero"), "it is a device or a pipe"),
        (lambda path: path.symlink_to("/dev/full"), "it is a device or a pipe"),
        (lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
        (lambda path: path.symlink_to("nowhere"), "no such file"),
        (lambda path: None, "no such file"),
        (lambda path: path.parent.joinpath("parent").rename(path), "it is a folder"),
    ],
    ids=["pipe", "socket", "zero", "full", "loop", "dangling", "nothing", "folder"],
)
def test_what_is_not_a_file_is_said(reader, make, complaint, tmp_path):
    (tmp_path / "parent").mkdir()
    make(tmp_path / "a.csv")
    message = refusal(reader, tmp_path / "a.csv")
    if complaint == "it is a folder" and reader in (data.load, data.load_mnist):
        complaint = "no such file, plain or with .gz; expected a directory of MNIST's four files, or a train.csv"
    elif complaint.startswith("it is") and reader is data.load_mnist:
        complaint = "Not a directory; expected a directory"
    assert complaint in message


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", ["a\0b", "a\nb", "a\ud800b", "a" * 300], ids=["null", "newline", "surrogate", "long"])
def test_a_path_that_no_file_has(reader, name, tmp_path):
    refusal(reader, tmp_path / name, name=os.fspath(tmp_path))


@pytest.fixture
def unprivileged():
    """The superuser may read anything."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65_534)
    yield
    os.seteuid(user)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("closed", ["file", "folder"])
def test_a_file_that_may_not_be_read_is_not_called_missing(reader, closed, tmp_path, request):
    path = tmp_path / "folder" if reader is data.load_mnist else tmp_path / "folder" / "a.csv"
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.csv").write_bytes(CSV[0])
    (tmp_path / "folder" / "a.csv").chmod(0)
    (tmp_path / "folder").chmod(0 if closed == "folder" or reader is data.load_mnist else 0o755)
    request.getfixturevalue("unprivileged")
    assert "Permission denied" in refusal(reader, path)


@pytest.mark.parametrize("reader", READERS[2:])
@pytest.mark.skipif(not os.path.exists("/proc/self/mem"), reason="needs a file that can be opened but not read")
def test_a_file_that_fails_while_it_is_read(reader):
    refusal(reader, "/proc/self/mem")


def test_idx_files_that_were_unpacked_into_folders_of_their_names(tmp_path):
    """As in an archive of MNIST that is about: beside the folders are the files, with a dot in their names."""
    for name, content in directory_of_idx(IDX[0]).items():
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_bytes(content)
    assert "train-images-idx3-ubyte': cannot be read: it is a folder" in refusal(data.load, tmp_path)
    for name, content in directory_of_idx(IDX[0]).items():
        (tmp_path / name.replace("-idx", ".idx")).write_bytes(content)
    check_dataset(data.load(tmp_path))


# Runs


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """What is in the checkpoint of a run that has an epoch to go, and the run's folder."""
    folder = tmp_path_factory.mktemp("run")
    for name, content in directory_of_idx(IDX[0]).items():
        (folder / name).write_bytes(content)
    flags = ["--hidden", "3", "--dropout", "0.1", "--epochs", "1", "--batch-size", "2", "--data", os.fspath(folder)]
    config = run_settings(parse_arguments([*flags, "--limit", "5"]))
    started = training_run.set_up(config)
    train(started, folder)
    config.epochs = 2
    write_config(started, folder)
    started.save(folder / "last.safetensors")
    return folder, checkpoint.load(folder / "last.safetensors")


def read_metrics(folder):
    return compare.table({"run": compare.read_run(folder)})


@pytest.mark.parametrize(
    ("name", "reader"),
    [("last.safetensors", training_run.restore), ("config.json", read_metrics), ("metrics.jsonl", read_metrics)],
)
@pytest.mark.parametrize("examples", [50, pytest.param(1000, marks=pytest.mark.slow)])
def test_damaged_files_of_a_run(name, reader, examples, run):
    folder, contents = run
    sound = (folder / name).read_bytes()

    @settings(max_examples=examples, deadline=None)
    @given(damaged([sound]))
    def check(content):
        put(folder / name, content)
        value, _ = answer(reader, folder, TinygradNpError)
        if isinstance(value, training_run.Run):
            assert vars(value.config) == contents["config"]

    try:
        check()
    finally:
        put(folder / name, sound)


def places(contents, keys=()):
    """The keys that lead to each value in the nest."""
    for key, value in contents.items():
        yield (*keys, key)
        if isinstance(value, dict):
            yield from places(value, (*keys, key))


VALUES = [None, -1, np.nan, 10**400, "x", np.zeros((2, 2))]
MORE_VALUES = [
    True,
    0,
    1,
    1.5,
    2**31,
    2**63,
    np.inf,
    "",
    "a\0",
    "/dev/zero",
    [],
    [0],
    [-1],
    [2.5],
    [10**9],
    [10**5] * 2,
]
MORE_VALUES += [[[]], {}, {"a": 1}, [{}], np.zeros(0), np.full((3, 9), np.nan, "f4"), np.zeros(3, bool), np.array(7)]


@pytest.mark.slow
@pytest.mark.parametrize("values", [VALUES, MORE_VALUES], ids=["few", "many"])
def test_a_run_whose_checkpoint_says_something_else_goes_on_or_is_refused(values, run, tmp_path, capsys):
    """The checksum is right here, so it is not damage but made up."""
    _, contents = run
    refused = 0
    for keys in places(contents):
        for value in [*values, "removed"]:
            changed = copy.deepcopy(contents)
            *outer, last = keys
            inner = functools.reduce(dict.__getitem__, outer, changed)
            inner[last] = value
            if isinstance(value, str) and value == "removed":
                del inner[last]
            checkpoint.save(tmp_path / "last.safetensors", changed)
            # Settings may name other data, with an error of its own, or no data, which means all of MNIST.
            name = "" if keys == ("config", "data") else None
            resumed, _ = answer(training_run.restore, tmp_path, TinygradNpError, name, 200 * MEGABYTE)
            if resumed is None:
                refused += 1
            elif resumed.config.epochs < 4:
                answer(functools.partial(train, resumed), tmp_path, TinygradNpError, "")
    assert refused > 100


def test_a_network_is_never_larger_than_the_weights_in_its_checkpoint(run, tmp_path):
    _, contents = run
    for hidden in ([10**8], [10**5, 10**5], [3, 3], [], [4]):
        checkpoint.save(tmp_path / "last.safetensors", contents | {"config": contents["config"] | {"hidden": hidden}})
        assert f"hidden layers of {hidden}" in refusal(training_run.restore, tmp_path, CheckpointError, memory=MEGABYTE)
