"""optim.Distributed: the mean gradient of all ranks, and that they start and stay equal. Ranks are threads here.

tests/test_train_distributed.py has real processes of MPI.
"""

import numpy as np
import pytest
from ranks_in_threads import on_ranks

from tinygrad_np import Tensor, data, errors, functional, nn, optim

GENERATOR = np.random.default_rng(0)
INPUTS, LABELS = GENERATOR.normal(size=(10, 4)).astype(np.float32), GENERATOR.integers(0, 3, 10)
OPTIMIZERS = {
    "sgd": lambda params: optim.SGD(params, lr=0.1, momentum=0.9, weight_decay=0.01),
    "adam": lambda params: optim.Adam(params, lr=0.01),
    "adamw": lambda params: optim.AdamW(params, lr=0.01),
    "rmsprop": lambda params: optim.RMSprop(params, lr=0.01),
}


def network(seed, dtype=np.float32):
    generator = np.random.default_rng(seed)
    return nn.Sequential(
        nn.Linear(4, 5, generator=generator, dtype=dtype), nn.ReLU(), nn.Linear(5, 3, generator=generator, dtype=dtype)
    )


def trained(comm, make, batch_size):
    """The parameters after two epochs of batches that the ranks share, from other weights on each rank."""
    model = network(seed=comm.rank)
    optimizer = make(model.parameters())
    together = optim.Distributed(optimizer, comm)
    for epoch in range(2):
        parts = data.batches(INPUTS, LABELS, batch_size=batch_size, generator=epoch, part=(comm.rank, comm.size))
        for batch, labels in parts:
            if len(labels):
                functional.cross_entropy(model(batch), labels).backward()
            together.average(len(labels))
            optim.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
            optimizer.zero_grad()
        together.check()
    return [parameter.data for parameter in model.parameters()]


def gradients(size, rows, dtype=np.float32):
    """The averaged gradients on each rank, of which `rows` says how many rows each has."""
    ends = np.cumsum(rows)

    def work(comm):
        model = network(0, dtype)
        together = optim.Distributed(optim.SGD(model.parameters()), comm)
        mine = slice(ends[comm.rank] - rows[comm.rank], ends[comm.rank])
        if rows[comm.rank]:
            functional.cross_entropy(model(INPUTS[mine].astype(dtype)), LABELS[mine]).backward()
        together.average(rows[comm.rank])
        return [parameter.grad for parameter in model.parameters()]

    return on_ranks(size, work)


@pytest.mark.parametrize("batch_size", [10, 4, 3])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_ranks_end_where_one_process_with_the_same_batches_does(name, batch_size):
    (alone,) = on_ranks(1, lambda comm: trained(comm, OPTIMIZERS[name], batch_size))
    for size in (2, 4):
        first, *others = on_ranks(size, lambda comm: trained(comm, OPTIMIZERS[name], batch_size))
        for a, b in zip(first, alone, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
        for other in others:
            np.testing.assert_array_equal(
                np.concatenate(list(map(np.ravel, other))), np.concatenate([*map(np.ravel, first)])
            )


@pytest.mark.parametrize("rows", [[5, 5], [9, 1], [10, 0], [1, 2, 7]], ids=str)
def test_the_gradient_is_that_of_the_whole_batch_however_its_rows_are_divided(rows):
    (whole,) = gradients(1, [10])
    for grads in gradients(len(rows), rows):
        for grad, expected in zip(grads, whole, strict=True):
            assert grad.dtype == np.float32
            np.testing.assert_allclose(grad, expected, rtol=1e-5, atol=1e-7)


def test_half_precision_is_averaged_in_single_and_stays_half():
    large = np.float16(30000)

    def work(comm):
        parameter = Tensor(np.zeros(2, np.float16), requires_grad=True)
        together = optim.Distributed(optim.SGD([parameter]), comm)
        parameter.grad = np.array([large, comm.rank], np.float16)
        together.average(100)  # 100 times 30000 is more than float16 can hold
        return parameter.grad

    for grad in on_ranks(2, work):
        assert grad.dtype == np.float16
        assert grad.tolist() == [large, 0.5]


def test_a_parameter_that_one_rank_alone_used_gets_its_share_and_one_that_none_used_gets_none():
    def work(comm):
        used, unused = (Tensor([1.0], requires_grad=True) for _ in range(2))
        together = optim.Distributed(optim.SGD([used, unused]), comm)
        used.grad = np.array([4.0]) if comm.rank == 1 else None
        together.average(3 if comm.rank == 1 else 1)
        return used.grad, unused.grad

    for used, unused in on_ranks(2, work):
        assert used.tolist() == [3.0]
        assert unused is None


def test_all_ranks_start_with_the_parameters_and_the_optimizers_state_of_the_first():
    def work(comm):
        parameter = Tensor([float(comm.rank)], requires_grad=True)
        optimizer = optim.Adam([parameter])
        for _ in range(3 - comm.rank):
            parameter.grad = np.array([1.0])
            optimizer.step()
        optim.Distributed(optimizer, comm)
        return parameter.data, optimizer.state_dict()

    (parameter, state), *others = on_ranks(3, work)
    for its, its_state in others:
        assert its == parameter
        assert {name: array.tolist() for name, array in its_state.items()} == {
            name: array.tolist() for name, array in state.items()
        }


def test_running_statistics_are_averaged_and_counts_left_alone():
    def work(comm):
        layer = nn.BatchNorm1d(4)
        buffers = [layer.running_mean, layer.running_var, layer.num_batches_tracked]
        together = optim.Distributed(optim.SGD(layer.parameters()), comm, buffers)
        mine = INPUTS[:8] if comm.rank else INPUTS[8:]
        layer(mine).sum().backward()
        together.average(len(mine))
        together.check()
        return layer

    for layer in on_ranks(2, work):
        np.testing.assert_allclose(layer.running_mean, 0.1 * INPUTS.mean(axis=0), rtol=1e-5)
        assert layer.num_batches_tracked == 1


def test_a_gradient_that_was_handed_out_is_not_overwritten_by_the_next():
    def work(comm):
        parameter = Tensor([0.0], requires_grad=True)
        together = optim.Distributed(optim.SGD([parameter]), comm)
        parameter.grad = np.array([1.0])
        together.average(1)
        first = parameter.grad
        parameter.grad = np.array([2.0])
        together.average(1)
        return first

    assert [first.tolist() for first in on_ranks(2, work)] == [[1.0], [1.0]]


@pytest.mark.parametrize("what", ["parameters", "state"])
def test_drifted_ranks_are_found_and_every_rank_says_which(what):
    def work(comm):
        parameter = Tensor([0.0], requires_grad=True)
        optimizer = optim.Adam([parameter])
        together = optim.Distributed(optimizer, comm)
        together.check()
        if comm.rank == 2:
            if what == "parameters":
                parameter.data += np.float32(1e-7)
            else:
                optimizer.load_state_dict({**optimizer.state_dict(), "step": np.array([1])})
        with pytest.raises(errors.DistributedError, match=r"1 of 3 ranks, rank 2 first.*call average\(\)"):
            together.check()

    on_ranks(3, work)


@pytest.mark.parametrize("size", [1, 2])
def test_a_batch_without_rows_on_any_rank_is_refused(size):
    def work(comm):
        together = optim.Distributed(optim.SGD([Tensor([0.0], requires_grad=True)]), comm)
        with pytest.raises(errors.ArgumentError, match="rows is 0 on every rank"):
            together.average(0)
        with pytest.raises(errors.ArgumentError, match="rows must be an integer >= 0"):
            together.average(-1)

    on_ranks(size, work)


@pytest.mark.parametrize("other", [np.zeros(3), np.zeros(2, np.float32)], ids=["shape", "dtype"])
def test_parameters_of_another_shape_or_dtype_are_refused_on_every_rank(other):
    def work(comm):
        optimizer = optim.SGD([Tensor(other if comm.rank else np.zeros(2), requires_grad=True)])
        with pytest.raises(errors.DistributedError) as caught:
            optim.Distributed(optimizer, comm)
        kinds = f"rank 1 has parameters and buffers ['{other.shape} {other.dtype}'], but rank 0 has ['(2,) float64']"
        assert str(caught.value) == kinds

    on_ranks(2, work)


def test_what_is_no_optimizer_or_no_communicator_is_refused():
    model = network(0)
    with pytest.raises(errors.ArgumentTypeError, match="optimizer must be"):
        optim.Distributed(model, on_ranks(1, lambda comm: comm)[0])
    with pytest.raises(errors.ArgumentTypeError, match="comm must be a communicator"):
        optim.Distributed(optim.SGD(model.parameters()), 4)
