"""optim.ema_update_: moving averages of parameters."""

import copy

import numpy as np
import pytest

from tinygrad_np import Tensor, nn, optim
from tinygrad_np.errors import ArgumentError, ArgumentTypeError, ShapeError


def test_an_average_follows_its_formula():
    generator = np.random.default_rng(0)
    values = generator.normal(size=(30, 3, 20_000))  # more than is updated at a time
    average, expected = Tensor(values[0].copy()), values[0]
    for step, value in enumerate(values[1:]):
        optim.ema_update_([average], [Tensor(value)], 0.8, step)
        decay = min(0.8, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * value
    np.testing.assert_allclose(average.data, expected, atol=1e-12)


def test_a_copy_of_a_model_becomes_its_average_in_place():
    model = nn.Linear(3, 2, generator=np.random.default_rng(0))
    average = copy.deepcopy(model)
    arrays = [parameter.data for parameter in average.parameters()]
    for parameter in model.parameters():
        parameter.data += 1
    before = [parameter.data.copy() for parameter in model.parameters()]
    optim.ema_update_(average.parameters(), model.parameters(), 0.5, step=1000)
    for parameter, array, value in zip(average.parameters(), arrays, before, strict=True):
        assert parameter.data is array
        assert array.dtype == np.float32
        np.testing.assert_allclose(array, value - 0.5, atol=1e-6)
    for parameter, value in zip(model.parameters(), before, strict=True):
        np.testing.assert_array_equal(parameter.data, value)


def test_an_average_in_another_memory_layout_is_updated_too():
    average = Tensor(np.zeros((2, 3)).T)
    optim.ema_update_([average], [Tensor(np.arange(6.0).reshape(3, 2))], 0.5, step=1000)
    np.testing.assert_array_equal(average.data, np.arange(6.0).reshape(3, 2) / 2)


def test_a_constant_parameter_is_its_own_average():
    p, average = Tensor([1.0, 2.0]), Tensor([1.0, 2.0])
    for step in range(20):
        optim.ema_update_([average], [p], 0.9, step)
    np.testing.assert_array_equal(average.data, p.data)


@pytest.mark.parametrize("decay", [-0.1, 1.0, float("nan")])
def test_a_decay_out_of_range_is_refused(decay):
    with pytest.raises(ArgumentError, match="decay must be at least 0 and less than 1"):
        optim.ema_update_([Tensor([1.0])], [Tensor([1.0])], decay, 0)


def test_averages_that_do_not_fit_the_parameters_are_refused_and_nothing_is_changed():
    averages = [Tensor([1.0]), Tensor([1.0, 2.0])]
    with pytest.raises(ShapeError, match=r"average 1 has shape \(2,\), but its parameter \(3,\)"):
        optim.ema_update_(averages, [Tensor([5.0]), Tensor([1.0, 2.0, 3.0])], 0.5, 0)
    with pytest.raises(ArgumentError, match="2 averages of 1 parameters"):
        optim.ema_update_(averages, [Tensor([5.0])], 0.5, 0)
    assert averages[0].item() == 1.0


def test_a_state_is_averaged_with_its_buffers_and_integers_are_copied():
    model = nn.Sequential(nn.Linear(2, 2, generator=0), nn.BatchNorm1d(2))
    model[0].bias.requires_grad = False
    model.again = model[0]  # its arrays come twice, but move once
    average = copy.deepcopy(model)
    before = {name: array.copy() for name, array in average.state_dict().items()}
    model(np.random.default_rng(0).normal(size=(8, 2)).astype(np.float32))
    for parameter in model.parameters():
        parameter.data += 1
    optim.ema_update_(average.state_dict().values(), model.state_dict().values(), 0.5, step=1000)
    for name, array in model.state_dict().items():
        expected = array if array.dtype.kind == "i" else (array + before[name]) / 2
        np.testing.assert_allclose(average.state_dict()[name], expected, rtol=1e-5, atol=1e-6)


def test_what_is_no_parameter_is_refused():
    for wrong in (nn.Linear(2, 2), nn.Sequential(nn.ReLU()), nn.Linear(2, 2).state_dict()):
        with pytest.raises(
            ArgumentTypeError, match=r"averages must be Tensors or arrays, .*state_dict\(\)\.values\(\)"
        ):
            optim.ema_update_(wrong, wrong, 0.9, 0)


@pytest.mark.parametrize("step", [-1, 0.5, True])
def test_a_step_that_cannot_be_counted_is_refused(step):
    with pytest.raises(ArgumentError, match="step must be an integer >= 0"):
        optim.ema_update_([Tensor([1.0])], [Tensor([1.0])], 0.9, step)
