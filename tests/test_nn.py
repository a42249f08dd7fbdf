"""Modules: how they find their parameters, what they compute, their state, and the initial values."""

import copy
import inspect
import math
import typing

import numpy as np
import pytest

import tinygrad_np
from tinygrad_np import Tensor, functional, nn
from tinygrad_np.debug import gradcheck
from tinygrad_np.errors import ArgumentError, CheckpointError, DTypeError, ShapeError

rng = np.random.default_rng(0)


def seeded(seed=0):
    return np.random.default_rng(seed)


class Network(nn.Module):
    """Two layers, one of them in a Sequential, a parameter of its own, and a buffer."""

    def __init__(self):
        self.scale = nn.Parameter([2.0])
        self.layers = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
        self.norm = nn.BatchNorm1d(2)
        self.offset = np.zeros(2, np.float32)

    def forward(self, x):
        return self.norm(self.layers(x)) * self.scale + self.offset


LINEAR = ["layers.0.weight", "layers.0.bias", "layers.2.weight", "layers.2.bias"]
PARAMETERS = ["scale", *LINEAR, "norm.weight", "norm.bias"]
BUFFERS = ["offset", "norm.running_mean", "norm.running_var", "norm.num_batches_tracked"]


# Finding parameters and modules


def test_parameters_are_found_by_their_attributes():
    model = Network()
    assert [name for name, _ in model.named_parameters()] == PARAMETERS
    parameters = list(model.parameters())
    assert parameters[0] is model.scale
    assert parameters[1] is model.layers[0].weight
    assert all(parameter.requires_grad and parameter.dtype == np.float32 for parameter in parameters)


def test_modules_are_found_by_their_attributes():
    model = Network()
    assert [name for name, _ in model.named_modules()] == ["", "layers", "layers.0", "layers.1", "layers.2", "norm"]
    assert next(iter(model.modules())) is model


def test_children_are_the_modules_of_a_modules_own_attributes():
    model = Network()
    assert list(model.named_children()) == [("layers", model.layers), ("norm", model.norm)]
    assert list(model.children()) == [model.layers, model.norm]
    assert list(nn.Linear(2, 2).children()) == []


def test_a_child_that_stands_in_two_places_comes_under_both_names():
    layer = nn.Linear(2, 2)
    assert list(nn.Sequential(layer, nn.Tanh(), layer).named_children())[2] == ("2", layer)


def test_a_parameter_that_is_replaced_or_deleted_is_no_longer_found():
    model = Network()
    model.scale = nn.Parameter([3.0])
    assert next(model.parameters()).item() == 3.0
    del model.layers
    assert [name for name, _ in model.named_parameters()] == ["scale", "norm.weight", "norm.bias"]


def test_a_module_needs_no_call_of_its_base_class():
    class Bare(nn.Module):
        def forward(self, x):
            return x

    assert list(Bare().parameters()) == []
    assert Bare()(3) == 3
    assert Bare().training


def test_a_module_without_forward_says_so():
    with pytest.raises(NotImplementedError, match="Module must define forward"):
        nn.Module()(1)


class Tied(nn.Module):
    def __init__(self):
        self.first = nn.Linear(3, 3)
        self.second = nn.Linear(3, 3)
        self.second.weight = self.first.weight
        self.third = self.first

    def forward(self, x):
        return self.third(self.second(self.first(x)))


def test_a_shared_parameter_counts_once():
    model = Tied()
    assert [name for name, _ in model.named_parameters()] == ["first.weight", "first.bias", "second.bias"]
    assert [name for name, _ in model.named_modules()] == ["", "first", "second"]
    x = np.ones((1, 3), np.float32)
    model(x).sum().backward()
    alone = copy.deepcopy(model)
    alone.second = nn.Linear(3, 3)
    alone.second.weight.data[...], alone.second.bias.data[...] = model.first.weight.data, model.second.bias.data
    alone.third = copy.deepcopy(alone.first)
    alone.zero_grad()
    alone(x).sum().backward()
    total = sum(layer.weight.grad for layer in (alone.first, alone.second, alone.third))
    np.testing.assert_allclose(model.first.weight.grad, total, rtol=1e-5, atol=1e-6)


# Parameter


def test_a_parameter_is_float32_unless_asked_otherwise():
    assert nn.Parameter([1, 2]).dtype == np.float32
    assert nn.Parameter(np.zeros(2)).dtype == np.float32
    assert nn.Parameter(np.zeros(2), dtype=np.float64).dtype == np.float64
    assert nn.Parameter([1.0]).requires_grad


def test_a_parameter_can_be_frozen():
    layer = nn.Linear(2, 2)
    layer.weight.requires_grad = False
    layer(np.ones((1, 2), np.float32)).sum().backward()
    assert layer.weight.grad is None
    assert layer.bias.grad is not None
    assert "weight" in layer.state_dict()
    layer.zero_grad()


# train, eval, zero_grad


def test_train_and_eval_reach_every_module_and_return_the_model():
    model = Network()
    assert model.eval() is model
    assert not any(module.training for module in model.modules())
    assert model.train() is model
    assert all(module.training for module in model.modules())
    assert not model.train(False).norm.training


def test_zero_grad_forgets_all_gradients():
    model = Network()
    model(rng.normal(size=(4, 3)).astype(np.float32)).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    model.zero_grad()
    assert all(parameter.grad is None for parameter in model.parameters())


# state_dict and load_state_dict


def test_the_state_is_that_of_parameters_and_buffers():
    model = Network()
    state = model.state_dict()
    assert sorted(state) == sorted(PARAMETERS + BUFFERS)
    assert all(type(array) is np.ndarray for array in state.values())


def test_loading_a_state_makes_two_models_equal_but_not_shared():
    first, second = Network(), Network()
    x = rng.normal(size=(4, 3)).astype(np.float32)
    first(x)  # moves the running statistics
    second.load_state_dict(first.state_dict())
    np.testing.assert_array_equal(first.eval()(x).data, second.eval()(x).data)
    for (name, a), b in zip(first.state_dict().items(), second.state_dict().values(), strict=True):
        assert not np.shares_memory(a, b), name


def test_loading_keeps_the_dtype_and_the_arrays_of_the_model():
    model = nn.Linear(2, 1)
    weight = model.weight.data
    model.load_state_dict({"weight": [[1, 2]], "bias": np.array([3.0])})
    assert model.weight.data is weight
    assert (weight.dtype, weight.tolist(), model.bias.data.tolist()) == (np.float32, [[1.0, 2.0]], [3.0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("layers.2.bias"), "layers.2.bias is missing"),
        (lambda state: state.update(extra=np.zeros(1)), "extra is unknown"),
        (lambda state: state.update({"norm.bias": np.zeros(3)}), r"norm.bias has shape \(3,\) instead of \(2,\)"),
        (lambda state: state.update({"norm.bias": np.array(["a", "b"])}), "norm.bias"),
        (lambda state: state.update({"norm.bias": np.array([1j, 2j])}), "norm.bias"),
        (lambda state: state.update({"norm.bias": np.array([None, 1])}), "norm.bias"),
    ],
    ids=["missing", "unknown", "shape", "strings", "complex", "objects"],
)
def test_a_state_that_does_not_fit_is_refused_and_nothing_of_it_is_loaded(change, message):
    model = Network()
    before = {name: array.copy() for name, array in model.state_dict().items()}
    state = {name: array + 1 for name, array in before.items()}
    change(state)
    with pytest.raises(CheckpointError, match=message):
        model.load_state_dict(state)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_the_weights_of_two_layers_can_be_exchanged():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    state = model.state_dict()
    first, second = state["0.weight"].copy(), state["1.weight"].copy()
    model.load_state_dict({**state, "0.weight": state["1.weight"], "1.weight": state["0.weight"]})
    np.testing.assert_array_equal(model[0].weight.data, second)
    np.testing.assert_array_equal(model[1].weight.data, first)


def test_a_deep_copy_of_a_model_is_a_model_of_its_own():
    model = Network()
    model(rng.normal(size=(4, 3)).astype(np.float32)).sum().backward()
    other = copy.deepcopy(model)
    assert [name for name, _ in other.named_parameters()] == PARAMETERS
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        np.testing.assert_array_equal(a.data, b.data)
        assert not np.shares_memory(a.data, b.data)
    grads = [parameter.grad.copy() for parameter in model.parameters()]
    other(rng.normal(size=(4, 3)).astype(np.float32)).sum().backward()
    for parameter, gradient in zip(model.parameters(), grads, strict=True):
        np.testing.assert_array_equal(parameter.grad, gradient)


# PyTorch


def torch_pair():
    torch = pytest.importorskip("torch")
    ours = nn.Sequential(
        nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 4, bias=False), nn.LayerNorm(4), nn.GELU(),
        nn.Sequential(nn.Linear(4, 3), nn.LeakyReLU(0.1)),
    )  # fmt: skip
    theirs = torch.nn.Sequential(
        torch.nn.Linear(6, 5), torch.nn.BatchNorm1d(5), torch.nn.ReLU(), torch.nn.Linear(5, 4, bias=False),
        torch.nn.LayerNorm(4), torch.nn.GELU("tanh"),
        torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.LeakyReLU(0.1)),
    )  # fmt: skip
    return torch, ours, theirs


def assert_same_outputs(torch, ours, theirs):
    x = rng.normal(size=(8, 6)).astype(np.float32)
    for mode in (True, False):
        ours.train(mode), theirs.train(mode)
        np.testing.assert_allclose(ours(x).data, theirs(torch.tensor(x)).detach().numpy(), rtol=1e-4, atol=1e-5)


def test_the_keys_and_shapes_of_the_state_are_pytorchs():
    _, ours, theirs = torch_pair()
    assert {name: array.shape for name, array in ours.state_dict().items()} == {
        name: tuple(tensor.shape) for name, tensor in theirs.state_dict().items()
    }
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert [name for name, _ in ours.named_parameters()] == [name for name, _ in theirs.named_parameters()]


def test_pytorchs_weights_load_here():
    torch, ours, theirs = torch_pair()
    ours.load_state_dict({name: tensor.numpy() for name, tensor in theirs.state_dict().items()})
    assert_same_outputs(torch, ours, theirs)


def test_our_weights_load_into_pytorch():
    torch, ours, theirs = torch_pair()
    theirs.load_state_dict({name: torch.tensor(array) for name, array in ours.state_dict().items()})
    assert_same_outputs(torch, ours, theirs)


def test_the_state_of_a_module_that_stands_in_two_places_is_pytorchs():
    torch = pytest.importorskip("torch")
    ours, theirs = nn.Linear(2, 2), torch.nn.Linear(2, 2)
    assert list(nn.Sequential(ours, ours).state_dict()) == list(torch.nn.Sequential(theirs, theirs).state_dict())


def test_a_training_step_equals_pytorchs():
    torch, ours, theirs = torch_pair()
    theirs.load_state_dict({name: torch.tensor(array) for name, array in ours.state_dict().items()})
    x, target = rng.normal(size=(8, 6)).astype(np.float32), rng.integers(0, 3, 8)
    our_loss = nn.CrossEntropyLoss(label_smoothing=0.1)(ours(x), target)
    their_loss = torch.nn.CrossEntropyLoss(label_smoothing=0.1)(theirs(torch.tensor(x)), torch.tensor(target))
    our_loss.backward()
    their_loss.backward()
    np.testing.assert_allclose(our_loss.item(), their_loss.item(), rtol=1e-5)
    for our, their in zip(ours.parameters(), theirs.parameters(), strict=True):
        np.testing.assert_allclose(our.grad, their.grad.numpy(), rtol=1e-3, atol=1e-5)


# The layers


@pytest.mark.parametrize("shape", [(3,), (0, 3), (4, 3), (2, 4, 3)])
def test_linear_maps_the_last_axis(shape):
    layer = nn.Linear(3, 2)
    assert layer.weight.shape == (2, 3)
    x = rng.normal(size=shape).astype(np.float32)
    y = layer(x)
    assert y.dtype == np.float32
    np.testing.assert_allclose(y.data, x @ layer.weight.data.T + layer.bias.data, rtol=1e-5, atol=1e-6)


def test_linear_without_bias():
    layer = nn.Linear(3, 2, bias=False)
    assert layer.bias is None
    assert list(layer.state_dict()) == ["weight"]
    assert layer(np.zeros((1, 3), np.float32)).data.tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize("features", [(0, 2), (2, 0), (-1, 2)])
def test_linear_needs_features(features):
    with pytest.raises(ArgumentError, match="at least 1 feature"):
        nn.Linear(*features)


def test_a_layer_of_integers_is_refused():
    with pytest.raises(DTypeError, match="int64"):
        nn.Linear(2, 2, dtype=np.int64)


@pytest.mark.parametrize(
    ("layer", "function"),
    [
        (nn.ReLU(), functional.relu),
        (nn.LeakyReLU(0.2), lambda x: functional.leaky_relu(x, 0.2)),
        (nn.GELU(), functional.gelu),
        (nn.Sigmoid(), functional.sigmoid),
        (nn.Tanh(), np.tanh),
        (nn.Softplus(), functional.softplus),
        (nn.Softmax(), functional.softmax),
        (nn.Softmax(0), lambda x: functional.softmax(x, 0)),
        (nn.LogSoftmax(), functional.log_softmax),
        (nn.LogSoftmax(0), lambda x: functional.log_softmax(x, 0)),
        (nn.Identity(), lambda x: x),
        (nn.LayerNorm(3), lambda x: functional.layer_norm(x, (3,))),
        (nn.LayerNorm((2, 3)), lambda x: functional.layer_norm(x, (2, 3))),
        (nn.BatchNorm1d(3), lambda x: functional.batch_norm(x, np.zeros(3), np.ones(3), training=True)),
    ],
    ids=lambda value: repr(value) if isinstance(value, nn.Module) else "",
)
def test_a_layer_is_its_function(layer, function):
    x = rng.normal(size=(2, 3)).astype(np.float32)
    result = layer(Tensor(x, requires_grad=True))
    assert result.dtype == np.float32
    np.testing.assert_allclose(result.data, function(x), rtol=1e-5, atol=1e-6)


def test_flatten_keeps_the_batch():
    assert nn.Flatten()(np.zeros((2, 3, 4))).shape == (2, 12)
    assert nn.Flatten()(np.zeros((2, 3))).shape == (2, 3)
    assert nn.Flatten()(np.zeros((0, 3, 4))).shape == (0, 12)


def test_the_losses_are_their_functions():
    x, target = rng.normal(size=(4, 3)), np.array([0, 2, 1, 1])
    assert nn.CrossEntropyLoss()(x, target) == functional.cross_entropy(x, target)
    assert nn.CrossEntropyLoss(0.1)(x, target) == functional.cross_entropy(x, target, 0.1)
    assert nn.NLLLoss()(x, target) == functional.nll_loss(x, target)
    assert nn.MSELoss()(x, x + 1) == functional.mse_loss(x, x + 1)


def test_dropout_drops_in_training_only_and_from_its_own_generator():
    layer, x = nn.Dropout(0.5, seeded(1)), np.ones((100, 10))
    y = layer(x)
    assert set(np.unique(y)) == {0.0, 2.0}
    np.testing.assert_array_equal(nn.Dropout(0.5, seeded(1))(x), y)
    assert not np.array_equal(layer(x), y)
    np.testing.assert_array_equal(layer.eval()(x), x)


@pytest.mark.parametrize("p", [-0.1, 1.0])
def test_dropout_refuses_what_is_no_probability(p):
    with pytest.raises(ArgumentError, match="at least 0 and less than 1"):
        nn.Dropout(p)


def test_batch_norm_uses_the_batch_in_training_and_the_running_statistics_in_evaluation():
    layer, x = nn.BatchNorm1d(2, momentum=0.5), np.array([[0.0, 1.0], [2.0, 3.0]], np.float32)
    layer(x)
    assert layer.num_batches_tracked == 1
    assert (layer.running_mean.tolist(), layer.running_var.tolist()) == ([0.5, 1.0], [1.5, 1.5])
    layer.eval()
    expected = (x - layer.running_mean) / np.sqrt(layer.running_var + 1e-5)
    np.testing.assert_allclose(layer(x).data, expected, rtol=1e-5)
    assert layer.num_batches_tracked == 1


def test_a_batch_that_does_not_fit_leaves_the_state_of_batch_norm():
    layer = nn.BatchNorm1d(2)
    with pytest.raises(ShapeError):
        layer(np.zeros((3, 4), np.float32))
    assert layer.num_batches_tracked == 0


def test_sequential_applies_its_modules_in_order():
    model = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    x = rng.normal(size=(4, 2)).astype(np.float32)
    np.testing.assert_array_equal(model(x).data, model[2](model[1](model[0](x))).data)
    assert len(model) == 3
    assert list(model) == [model[0], model[1], model[2]]
    assert model[-1] is model[2]
    assert nn.Sequential()(x) is x


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(nn.Linear(3, 4, dtype=np.float64), nn.Tanh(), nn.Linear(4, 2, dtype=np.float64)),
        nn.Sequential(nn.Linear(3, 4, dtype=np.float64), nn.LayerNorm(4, dtype=np.float64), nn.GELU()),
        nn.Sequential(nn.Linear(3, 2, dtype=np.float64), nn.BatchNorm1d(2, dtype=np.float64), nn.Softplus()),
    ],
    ids=["tanh", "layer norm", "batch norm"],
)
def test_the_gradients_of_a_networks_parameters_equal_central_differences(model):
    x = rng.normal(size=(5, 3))
    gradcheck(lambda *_: functional.cross_entropy(model(x), [0, 1, 1, 0, 1]), list(model.parameters()))


# repr and errors


def test_repr_shows_the_tree_of_modules():
    assert repr(nn.Linear(3, 4, bias=False)) == "Linear(3, 4, bias=False)"
    assert repr(Network()) == (
        "Network(\n  (layers): Sequential(\n    (0): Linear(3, 4)\n    (1): ReLU()\n    (2): Linear(4, 2)\n  )\n"
        "  (norm): BatchNorm1d(2)\n)"
    )
    assert repr(nn.Dropout(0.2)) == "Dropout(0.2)"
    assert repr(nn.LayerNorm(3)) == "LayerNorm((3,))"


def test_an_error_of_shapes_names_the_layer_by_its_path():
    with pytest.raises(ShapeError, match=r"^layers\.0 Linear\(3, 4\): .*\(2, 5\).*expects 3 features"):
        Network()(np.zeros((2, 5), np.float32))
    with pytest.raises(ShapeError, match=r"^Linear\(3, 4\): "):
        nn.Linear(3, 4)(np.zeros((2, 5), np.float32))


def test_an_error_of_numpys_inside_a_module_names_the_layer_too():
    class Adds(nn.Module):
        def __init__(self):
            self.bias = nn.Parameter(np.zeros(3))

        def forward(self, x):
            return x + self.bias

    with pytest.raises(ShapeError, match=r"^1 Adds\(\): add of arrays of shapes \(2, 4\), \(3,\)"):
        nn.Sequential(nn.ReLU(), Adds())(np.zeros((2, 4)))


@pytest.mark.parametrize("module", [nn.Module, nn.Sequential, nn.Linear, nn.CrossEntropyLoss])
def test_a_type_checker_knows_that_calling_a_module_gives_a_tensor(module):
    assert typing.get_type_hints(module.__call__)["return"] is Tensor


def test_every_layer_has_a_docstring():
    layers = [getattr(nn, name) for name in nn.__all__ if inspect.isclass(getattr(nn, name))]
    assert [layer.__name__ for layer in layers if not layer.__doc__] == []


# Initial values


def test_the_same_seed_gives_the_same_layer():
    a, b, c = nn.Linear(3, 4, generator=seeded(1)), nn.Linear(3, 4, generator=seeded(1)), nn.Linear(3, 4)
    np.testing.assert_array_equal(a.weight.data, b.weight.data)
    np.testing.assert_array_equal(a.bias.data, b.bias.data)
    assert not np.array_equal(a.weight.data, c.weight.data)


def test_a_layer_starts_as_pytorchs_uniform_within_the_root_of_its_inputs():
    layer = nn.Linear(400, 300, generator=seeded())
    bound = 1 / math.sqrt(400)
    for parameter in layer.parameters():
        assert np.abs(parameter.data).max() <= bound
        assert np.abs(parameter.data).max() > 0.95 * bound
    np.testing.assert_allclose(layer.weight.data.var(), bound**2 / 3, rtol=0.02)


FAN_IN, FAN_OUT = 400, 300


@pytest.mark.parametrize(
    ("initialise", "variance", "bound"),
    [
        (nn.init.xavier_uniform_, 2 / (FAN_IN + FAN_OUT), math.sqrt(6 / (FAN_IN + FAN_OUT))),
        (nn.init.xavier_normal_, 2 / (FAN_IN + FAN_OUT), None),
        (nn.init.kaiming_uniform_, 2 / FAN_IN, math.sqrt(6 / FAN_IN)),
        (nn.init.kaiming_normal_, 2 / FAN_IN, None),
    ],
)
def test_an_initialiser_has_its_papers_variance_and_bound(initialise, variance, bound):
    weight = nn.Parameter(np.zeros((FAN_OUT, FAN_IN)))
    array = weight.data
    initialise(weight, seeded())
    assert weight.data is array
    assert array.dtype == np.float32
    np.testing.assert_allclose(array.mean(), 0, atol=5 * math.sqrt(variance / array.size))
    np.testing.assert_allclose(array.var(), variance, rtol=0.02)
    if bound is None:
        assert np.abs(array).max() > 3.5 * math.sqrt(variance)
    else:
        assert 0.99 * bound < np.abs(array).max() <= np.float32(bound)


def test_the_plain_initialisers():
    weight = nn.Parameter(np.zeros((200, 200)))
    nn.init.uniform_(weight, 1.0, 3.0, seeded())
    assert (weight.data.min() >= 1.0, weight.data.max() <= 3.0) == (True, True)
    np.testing.assert_allclose(weight.data.mean(), 2, rtol=0.01)
    nn.init.normal_(weight, 1.0, 2.0, seeded())
    np.testing.assert_allclose([weight.data.mean(), weight.data.std()], [1, 2], rtol=0.05)
    nn.init.zeros_(weight)
    assert not weight.data.any()


@pytest.mark.parametrize("shape", [(3,), (), (2, 3, 4)])
def test_fans_are_those_of_a_matrix(shape):
    with pytest.raises(ShapeError, match=r"shape \(out_features, in_features\)"):
        nn.init.kaiming_normal_(nn.Parameter(np.zeros(shape)), seeded())


def test_a_linear_layer_and_a_relu_in_sequence_give_what_they_give_one_by_one():
    generator = np.random.default_rng(0)
    model = nn.Sequential(nn.Linear(3, 4, generator=generator), nn.ReLU(), nn.Linear(4, 2, generator=generator))
    x = generator.standard_normal((5, 3)).astype(np.float32)
    together = model(x)
    one_by_one = model[2](model[1](model[0](x)))
    np.testing.assert_allclose(together.data, one_by_one.data, rtol=1e-6)
    parameters = list(model.parameters())
    for ours, theirs in zip(
        tinygrad_np.grad(together.sum(), parameters), tinygrad_np.grad(one_by_one.sum(), parameters), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_a_module_of_a_sequence_can_be_replaced():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    setattr(model, "1", nn.Tanh())
    x = np.ones((2, 3), np.float32)
    np.testing.assert_array_equal(model(x).data, np.tanh(model[0](x).data))


def test_a_sequence_of_anything_but_modules_is_refused():
    for wrong in (nn.ReLU, np.tanh, [nn.ReLU()]):
        with pytest.raises(TypeError, match="argument number 2"):
            nn.Sequential(nn.Linear(2, 3), wrong)


def test_a_module_deleted_from_a_sequence_or_given_another_forward_is_respected():
    x = np.array([[-1.0, 1.0]], np.float32)
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    model[1].forward = lambda x: x * 2
    np.testing.assert_array_equal(model(x).data, model[0](x).data * 2)
    delattr(model, "1")
    np.testing.assert_array_equal(model(x).data, model[0](x).data)
    assert len(model) == 1
