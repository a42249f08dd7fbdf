"""Checkpoints: what is saved comes back, other programs can read it, and a bad file is called one."""

import json
import math
import os
import pickle
import zipfile

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinygrad_np import checkpoint, nn
from tinygrad_np.errors import CheckpointError, FileWriteError, TinygradNpError

DTYPES = ["bool", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8"]
BIT_GENERATORS = [np.random.PCG64, np.random.PCG64DXSM, np.random.MT19937, np.random.Philox, np.random.SFC64]


def same(a, b):
    """Whether two contents agree in every bit and in the types of their values."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, np.ndarray):
        return (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
    return repr(a) == repr(b)


def overwrite(path, content):
    """Overwrite the existing file `path` with `content`. Making a new file would be slower."""
    with open(path, "r+b") as file:
        file.write(content)
        file.truncate()


def raw_file(header, data=b""):
    header = json.dumps(header).encode()
    return len(header).to_bytes(8, "little") + header + data


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.safetensors"


@pytest.fixture
def run():
    """What a training script would save."""
    rng = np.random.default_rng(1)
    model = {"layers.0.weight": rng.random((3, 2), np.float32), "layers.0.bias": rng.random(3, np.float32)}
    return {
        "model": model,
        "optimizer": {"step": 7, "first": [value / 2 for value in model.values()], "decay": np.array(0.9)},
        "generator": rng.bit_generator.state,
        "config": {"hidden": [128, 64], "lr": 1e-3, "name": "größe", "resume": None, "nesterov": True},
        "metrics": {},
        "epoch": 3,
    }


# What is saved comes back.


def test_a_whole_run_comes_back_to_the_bit(path, run):
    checkpoint.save(path, run)
    assert same(checkpoint.load(path), run)


@pytest.mark.parametrize("kind", BIT_GENERATORS)
def test_a_restored_generator_goes_on_with_the_same_numbers(path, kind):
    generator, restored = np.random.Generator(kind(1)), np.random.Generator(kind(2))
    generator.random(5, np.float32)
    checkpoint.save(path, {"generator": generator.bit_generator.state})
    restored.bit_generator.state = checkpoint.load(path)["generator"]
    np.testing.assert_array_equal(restored.random(100), generator.random(100))


keys = st.one_of(st.sampled_from(["a", "b", "a.b", "b.a", "0", "", "__metadata__", "dtype"]), st.text())
arrays = hnp.arrays(st.sampled_from(DTYPES), hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3))
leaves = st.one_of(arrays, st.none(), st.booleans(), st.integers(), st.integers(2**127, 2**128), st.floats(), st.text())
nests = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(keys, nests, max_size=4))
def test_any_nest_of_arrays_and_values_comes_back_to_the_bit(path, contents):
    checkpoint.save(path, contents)
    assert same(checkpoint.load(path), contents)


def test_the_same_contents_make_the_same_bytes(path, run):
    checkpoint.save(path, run)
    first = path.read_bytes()
    checkpoint.save(path, checkpoint.load(path))
    assert path.read_bytes() == first


def test_keys_that_join_to_the_same_name_are_kept_apart(path):
    contents = {"a": {"b.c": np.zeros(1), "b": {"c": np.ones(2)}}, "a.b": {"c": np.ones(3)}, "a.b.c": np.zeros(4)}
    checkpoint.save(path, contents)
    assert same(checkpoint.load(path), contents)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -0.0, 5e-324, 0.1, 2**63, -(2**200)])
def test_every_number_comes_back_exactly(path, value):
    checkpoint.save(path, {"value": value})
    assert same(checkpoint.load(path), {"value": value})


@pytest.mark.parametrize("value", [np.float64(0.1), np.float32(0.1), np.int8(-1), np.bool_(True)])
def test_a_numpy_scalar_comes_back_as_a_number_of_pythons_that_json_takes(path, value):
    checkpoint.save(path, {"history": [{"loss": value}]})
    loaded = checkpoint.load(path)
    assert same(loaded, {"history": [{"loss": value.item()}]})
    assert json.loads(json.dumps(loaded)) == loaded


def test_tuples_come_back_as_lists(path):
    checkpoint.save(path, {"betas": (0.9, 0.999)})
    assert checkpoint.load(path) == {"betas": [0.9, 0.999]}


def read_only(array):
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    "array",
    [
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(24).reshape(2, 3, 4).transpose(2, 0, 1),
        np.arange(10)[::-3],
        np.broadcast_to(np.float32(2), (2, 3)),
        read_only(np.arange(3)),
        np.arange(3, dtype=">f4"),
        np.arange(6, dtype=">i8").reshape(2, 3).T,
    ],
    ids=["fortran", "transposed", "strided", "broadcast", "read-only", "big-endian", "big-endian-fortran"],
)
def test_an_array_of_any_layout_comes_back_with_its_values(path, array):
    checkpoint.save(path, {"array": array})
    loaded = checkpoint.load(path)["array"]
    np.testing.assert_array_equal(loaded, array)
    assert loaded.dtype == array.dtype.newbyteorder("<")


def test_loaded_arrays_can_be_written_to(path):
    checkpoint.save(path, {"weight": np.zeros(2)})
    loaded = checkpoint.load(path)
    loaded["weight"] += 1
    assert same(checkpoint.load(path), {"weight": np.zeros(2)})


# Other programs read what is written here, and the other way round.


def test_a_state_dict_is_stored_under_its_own_keys(path, run):
    checkpoint.save(path, run["model"])
    assert same(dict(sorted(safetensors.numpy.load_file(path).items())), dict(sorted(run["model"].items())))


def test_the_arrays_of_a_run_are_stored_under_their_keys_joined_by_dots(path, run):
    checkpoint.save(path, run)
    names = "model.layers.0.bias model.layers.0.weight optimizer.decay optimizer.first.0 optimizer.first.1"
    assert sorted(safetensors.numpy.load_file(path)) == names.split()


@pytest.mark.parametrize("metadata", [None, {}, {"format": "pt"}])
def test_the_file_of_another_program_is_loaded_as_a_flat_dict(path, metadata):
    arrays = {"layers.0.weight": np.ones((2, 3), np.float32), "steps": np.array(5)}
    safetensors.numpy.save_file(arrays, path, metadata)
    loaded = checkpoint.load(path)
    assert loaded.keys() == arrays.keys()
    assert all(same(loaded[name], arrays[name]) for name in arrays)


def test_bfloat16_is_loaded_as_float32_of_the_same_values(path):
    halves = b"\x80\x3f\x20\xc0\x80\x7f"  # 1, -2.5, infinity
    path.write_bytes(raw_file({"weight": {"dtype": "BF16", "shape": [3, 1], "data_offsets": [0, 6]}}, halves))
    assert same(checkpoint.load(path), {"weight": np.array([[1], [-2.5], [np.inf]], np.float32)})


def test_weights_go_to_pytorch_and_back(path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file, save_file

    network = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.ReLU(), torch.nn.Linear(2, 1))
    save_file(network.state_dict(), path)
    loaded = checkpoint.load(path)
    assert list(loaded["0.weight"].shape) == [2, 3]
    checkpoint.save(path, {name: array * 2 for name, array in loaded.items()})
    doubled = load_file(path)
    assert all(torch.equal(doubled[name], value * 2) for name, value in network.state_dict().items())
    save_file({"weight": torch.tensor([1.5, -0.1], dtype=torch.bfloat16)}, path)
    np.testing.assert_array_equal(checkpoint.load(path)["weight"], torch.tensor([1.5, -0.1]).bfloat16().float().numpy())


def test_a_file_that_holds_tied_weights_once_is_loaded(path):
    def tied():
        model = nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, 3)])
        model[1].weight = model[0].weight
        return model

    model, other = tied(), tied()
    state = {name: array for name, array in model.state_dict().items() if name != "0.weight"}
    safetensors.numpy.save_file(state, path)  # as PyTorch's save_model does, which drops duplicates
    other.load_state_dict(checkpoint.load(path))
    np.testing.assert_array_equal(other[0].weight.data, model[0].weight.data)


# What cannot be saved is refused, and the file that was there stays.


@pytest.mark.parametrize(
    "array",
    [
        np.zeros(2, complex),
        np.array(["a"]),
        np.array([None]),
        np.zeros(2, "M8[s]"),
        np.zeros(2, "f4,i4"),
        np.array(["a"], np.dtypes.StringDType()),
        np.complex64(1),
    ],
    ids=lambda array: str(array.dtype),
)
def test_an_array_of_an_unsupported_dtype_is_refused_by_its_name(path, array):
    with pytest.raises(CheckpointError, match=r"^cannot save 'model\.a\.b': arrays of dtype .* convert it to one of "):
        checkpoint.save(path, {"model": {"a.b": array}})
    assert not path.exists()


@pytest.mark.parametrize("value", [{1, 2}, b"bytes", 1j, len, range(3)])
def test_a_value_of_an_unsupported_type_is_refused_by_its_name(path, value):
    with pytest.raises(CheckpointError, match=rf"cannot save 'config\.1': it is of type {type(value).__name__}; "):
        checkpoint.save(path, {"config": [0, value]})


def test_a_key_that_is_no_string_is_refused_rather_than_turned_into_one(path):
    with pytest.raises(CheckpointError, match=r"cannot save the key 0 of 'optimizer.state': keys must be str"):
        checkpoint.save(path, {"optimizer": {"state": {0: 1.0}}})


@pytest.mark.parametrize("contents", [np.zeros(2), [np.zeros(2)], None])
def test_contents_that_are_no_dict_are_refused(path, contents):
    with pytest.raises(CheckpointError, match=r"give a dict, such as model.state_dict"):
        checkpoint.save(path, contents)


@pytest.mark.parametrize("contents", [{"\ud800": np.zeros(2)}, {"n": 10**5000}], ids=["no-unicode", "int-too-long"])
def test_contents_that_the_format_cannot_hold_are_refused(path, contents):
    with pytest.raises(CheckpointError, match=r"cannot save '.*run.safetensors': "):
        checkpoint.save(path, contents)


def test_a_refused_save_leaves_the_old_checkpoint(path, run):
    checkpoint.save(path, run)
    with pytest.raises(CheckpointError):
        checkpoint.save(path, {"model": np.array([None])})
    assert same(checkpoint.load(path), run)
    assert os.listdir(path.parent) == [path.name]


def test_a_missing_folder_is_named_when_saving(path, run):
    with pytest.raises(FileWriteError, match=r"cannot write '.*nowhere/run': No such file or directory"):
        checkpoint.save(path.parent / "nowhere" / "run", run)


# A bad file is called one.


def refusal(path):
    """Check that `path` is refused in one line that names it, and return the message."""
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load(path)
    message = str(caught.value)
    assert message.startswith(f"cannot load {os.fspath(path)!r}: ")
    assert "\n" not in message
    return message


def test_a_missing_file_is_a_file_not_found_error_too(path):
    assert "there is no such file" in refusal(path)
    with pytest.raises(FileNotFoundError) as caught:
        checkpoint.load(path)
    assert isinstance(caught.value, TinygradNpError)


def test_a_file_that_is_cut_short_is_refused_wherever_it_is_cut(path, run):
    checkpoint.save(path, run)
    whole = path.read_bytes()
    for length in reversed(range(len(whole))):
        overwrite(path, whole[:length])
        refusal(path)


def test_a_file_with_bytes_appended_is_refused(path, run):
    checkpoint.save(path, run)
    with open(path, "ab") as file:
        file.write(b"\0")
    refusal(path)


def test_every_single_flipped_bit_is_noticed_or_harmless(path):
    contents = {"model": {"a.b": np.arange(3, dtype=np.float32)}, "state": 2**100 + 1, "loss": 0.1}
    checkpoint.save(path, contents)
    whole = path.read_bytes()
    noticed = 0
    for position in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[position // 8] ^= 1 << position % 8
        overwrite(path, damaged)
        try:
            assert same(checkpoint.load(path), contents)
        except CheckpointError:
            noticed += 1
    assert noticed > 7 * len(whole)


def test_a_flipped_bit_in_the_weights_is_called_damage(path, run):
    checkpoint.save(path, run)
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.write_bytes(damaged)
    assert "it is damaged" in refusal(path)


def test_a_pickle_is_recognised_and_not_opened(path):
    path.write_bytes(pickle.dumps({"weight": [1.0]}))
    assert "it is a pickle or a zip archive, as torch.save writes" in refusal(path)


def test_a_zip_archive_such_as_pytorch_writes_is_recognised(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"weight": [1.0]}))
    assert "it is a pickle or a zip archive, as torch.save writes" in refusal(path)


def tensor(dtype="F32", shape=(1,), offsets=(0, 4)):
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


@pytest.mark.parametrize(("code", "size"), [("F8_E4M3", 8), ("F4", 16), ("C64", 1)])
def test_a_dtype_that_is_not_supported_is_named(path, code, size):
    path.write_bytes(raw_file({"a.b": tensor(code, (size,), (0, 8))}, b"12345678"))
    assert f"'a.b' has dtype {code}, which is none of BF16, BOOL" in refusal(path)
