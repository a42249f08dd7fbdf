"""From a dataset to a training step: network inputs, validation splits and minibatches."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_np import data
from tinygrad_np.errors import ArgumentError, ArgumentTypeError, DTypeError


def generator(seed=0):
    return np.random.default_rng(seed)


# Minibatches


@given(st.integers(1, 50), st.integers(1, 60), st.booleans())
def test_every_row_comes_once_and_rows_of_all_arrays_stay_together(count, batch_size, shuffle):
    numbers = np.arange(count)
    squares = np.stack([numbers**2, numbers], axis=1)
    batches = list(data.batches(numbers, squares, batch_size=batch_size, generator=generator() if shuffle else None))
    assert [len(batch) for batch, _ in batches[:-1]] == [batch_size] * (len(batches) - 1)
    assert sorted(np.concatenate([batch for batch, _ in batches]).tolist()) == numbers.tolist()
    for batch, batch_squares in batches:
        np.testing.assert_array_equal(batch_squares, squares[batch])


def test_without_a_generator_batches_are_views_in_order():
    array = np.arange(5)
    batches = [batch for (batch,) in data.batches(array, batch_size=2)]
    assert [batch.tolist() for batch in batches] == [[0, 1], [2, 3], [4]]
    assert all(np.shares_memory(batch, array) for batch in batches)


def test_shuffled_batches_that_are_kept_do_not_change():
    array = np.arange(6)
    kept = [batch for (batch,) in data.batches(array, batch_size=2, generator=generator())]
    assert sorted(np.concatenate(kept).tolist()) == array.tolist()
    assert not any(np.shares_memory(batch, array) for batch in kept)


def test_the_same_seed_gives_the_same_batches_and_the_next_epoch_others():
    array = np.arange(100)

    def epochs():
        shuffler = generator(7)
        return [next(data.batches(array, batch_size=100, generator=shuffler))[0].tolist() for _ in range(2)]

    assert epochs() == epochs()
    assert epochs()[0] != epochs()[1]


def test_the_permutation_is_drawn_when_the_iteration_starts_and_never_again():
    shuffler, reference = generator(), generator()
    batches = data.batches(np.arange(10), batch_size=3, generator=shuffler)
    assert shuffler.bit_generator.state == reference.bit_generator.state
    next(batches)
    reference.permutation(10)
    assert shuffler.bit_generator.state == reference.bit_generator.state
    list(batches)
    assert shuffler.bit_generator.state == reference.bit_generator.state


def test_images_keep_their_shape_and_dtype():
    images = np.zeros((4, 2, 3), np.uint8)
    (batch,) = next(data.batches(images, batch_size=3, generator=generator()))
    assert (batch.shape, batch.dtype) == ((3, 2, 3), np.uint8)


@pytest.mark.parametrize(
    ("arrays", "batch_size", "complaint"),
    [
        ([np.zeros(3)], 0, "batch_size 0"),
        ([np.zeros(3)], -4, "batch_size -4"),
        ([np.zeros(3), np.zeros((4, 2))], 1, r"shapes \[\(3,\), \(4, 2\)\]"),
        ([np.zeros((0, 5))], 1, r"shapes \[\(0, 5\)\]"),
        ([], 1, r"shapes \[\]"),
    ],
)
def test_batches_that_cannot_be_made_are_refused_at_the_call(arrays, batch_size, complaint):
    with pytest.raises(ArgumentError, match=complaint):
        data.batches(*arrays, batch_size=batch_size)


def test_a_seed_shuffles_as_its_generator_does():
    array = np.arange(20)
    expected = [batch.tolist() for (batch,) in data.batches(array, batch_size=6, generator=generator(0))]
    for seed in (0, np.int64(0), np.random.SeedSequence(0)):
        assert [batch.tolist() for (batch,) in data.batches(array, batch_size=6, generator=seed)] == expected
        np.testing.assert_array_equal(data.split(20, 0.3, 0)[0], data.split(20, 0.3, generator(0))[0])


def test_what_is_no_generator_is_refused_at_the_call():
    for wrong in (np.random.RandomState(0), True, "0"):
        with pytest.raises(ArgumentTypeError, match="generator must be"):
            data.batches(np.arange(3), batch_size=1, generator=wrong)
        with pytest.raises(ArgumentTypeError, match="generator must be"):
            data.split(10, 0.5, wrong)


@pytest.mark.parametrize("batch_size", [np.int64(2), np.uint8(2), np.array(2)])
def test_batch_size_may_be_one_of_numpys_integers(batch_size):
    assert [len(batch) for (batch,) in data.batches(np.arange(5), batch_size=batch_size)] == [2, 2, 1]


@pytest.mark.parametrize("batch_size", [2.0, np.float64(2), True, "2", None])
def test_a_batch_size_that_is_no_integer_is_refused_at_the_call(batch_size):
    with pytest.raises(ArgumentError, match="batch_size must be an integer, but is"):
        data.batches(np.arange(5), batch_size=batch_size)


@given(st.integers(1, 50), st.integers(1, 50), st.booleans())
def test_drop_last_leaves_out_a_smaller_last_batch(count, batch_size, shuffle):
    arguments = {"batch_size": batch_size, "generator": 0 if shuffle else None}
    if batch_size > count:
        with pytest.raises(ArgumentError, match=f"drop_last leaves nothing of {count} rows"):
            data.batches(np.arange(count), **arguments, drop_last=True)
        return
    every = [batch.tolist() for (batch,) in data.batches(np.arange(count), **arguments)]
    kept = [batch.tolist() for (batch,) in data.batches(np.arange(count), **arguments, drop_last=True)]
    assert kept == [batch for batch in every if len(batch) == batch_size]


# Validation splits


@given(st.integers(2, 200), st.floats(0.01, 0.99))
def test_the_parts_of_a_split_hold_every_index_once(count, fraction):
    if not 0 < round(count * fraction) < count:
        with pytest.raises(ArgumentError):
            data.split(count, fraction, generator())
        return
    kept, held_out = data.split(count, fraction, generator())
    assert len(held_out) == round(count * fraction)
    assert sorted([*kept.tolist(), *held_out.tolist()]) == list(range(count))


def test_the_same_seed_gives_the_same_split():
    first, second = (data.split(100, 0.3, generator(5)) for _ in range(2))
    other = data.split(100, 0.3, generator(6))
    np.testing.assert_array_equal(first[1], second[1])
    assert first[1].tolist() != other[1].tolist()


@pytest.mark.parametrize(
    ("count", "fraction"), [(10, 0), (10, 1), (10, -0.1), (10, 1.5), (10, float("nan")), (10, 0.01), (1, 0.5), (0, 0.5)]
)
def test_a_split_with_an_empty_part_is_refused(count, fraction):
    with pytest.raises(ArgumentError, match=f"a fraction of {fraction} of {count} samples"):
        data.split(count, fraction, generator())


# Network inputs


def test_pixels_become_float32_from_0_to_1_one_row_per_image():
    inputs = data.to_inputs(np.array([[[0, 255], [51, 102]]], np.uint8))
    assert inputs.dtype == np.float32
    np.testing.assert_array_equal(inputs, np.array([[0, 1, 0.2, 0.4]], np.float32))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_floating_point_images_keep_their_values(dtype):
    inputs = data.to_inputs(np.array([[[-1.5, 300]]], dtype))
    assert inputs.dtype == np.float32
    assert inputs.tolist() == [[-1.5, 300]]


def test_an_absent_test_part_gives_no_inputs():
    assert data.to_inputs(np.zeros((0, 28, 28), np.uint8)).shape == (0, 784)


def test_other_integers_are_refused_for_their_scale_is_unknown():
    with pytest.raises(DTypeError, match="images of dtype int64"):
        data.to_inputs(np.zeros((1, 2, 2), np.int64))


def test_inputs_of_nested_lists_are_refused_by_their_dtype():
    with pytest.raises(DTypeError, match="dtype int64"):
        data.to_inputs([[255, 0]])


# Parts of batches, for several processes


@pytest.mark.parametrize("generator", [None, 7])
@pytest.mark.parametrize("n", [1, 2, 4])
def test_the_parts_of_all_processes_make_up_each_batch_and_differ_by_a_row_at_most(n, generator):
    rows, names = np.arange(22), np.array(list("abcdefghijklmnopqrstuv"))
    whole = list(data.batches(rows, names, batch_size=5, generator=generator))
    parts = [list(data.batches(rows, names, batch_size=5, generator=generator, part=(i, n))) for i in range(n)]
    for batch, *shares in zip(whole, *parts, strict=True):
        for array, pieces in zip(batch, zip(*shares, strict=True), strict=True):
            np.testing.assert_array_equal(array, np.concatenate(pieces))
            assert max(map(len, pieces)) - min(map(len, pieces)) <= 1


@pytest.mark.parametrize("part", [(2, 2), (-1, 2), (0, 0)])
def test_a_part_that_does_not_exist_is_refused(part):
    with pytest.raises(ValueError, match="part must be"):
        data.batches(np.arange(4), batch_size=2, part=part)
