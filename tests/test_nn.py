"""Modules: how they find their parameters, what they compute, their state, and the initial values."""

import collections
import copy
import functools
import inspect
import math
import pickle
import traceback
import types
import typing
from collections import deque

import numpy as np
import pytest

import tinygrad_np
from tinygrad_np import Tensor, functional, nn, no_grad, optim
from tinygrad_np.debug import gradcheck
from tinygrad_np.errors import ArgumentError, ArgumentTypeError, CheckpointError, DTypeError, ShapeError

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


# What would not be found is refused


def learner():
    return Tensor([1.0], requires_grad=True)


@pytest.mark.parametrize(
    ("hide", "remedy"),
    [
        (lambda: [nn.Linear(2, 2)], "nn.ModuleList"),
        (lambda: (nn.Linear(2, 2), 3), "nn.ModuleList"),
        (lambda: {nn.Linear(2, 2)}, "nn.ModuleList"),
        (lambda: deque([nn.Linear(2, 2)]), "nn.ModuleList"),
        (lambda: [1, [nn.Linear(2, 2)]], "nn.ModuleList"),
        (lambda: np.array([nn.Linear(2, 2), None], object), "nn.ModuleList"),
        (lambda: [np.array([[nn.ReLU()], [[nn.Linear(2, 2)]]], object)], "nn.ModuleList"),
        (lambda: {"a": nn.Linear(2, 2)}, "nn.ModuleDict"),
        (lambda: {"a": [nn.ModuleList([nn.Linear(2, 2)])]}, "nn.ModuleDict"),
        (lambda: {nn.Linear(2, 2): 1}, "nn.ModuleDict"),
        (lambda: [nn.Parameter([1.0])], "attribute of its own"),
        (lambda: {"a": (nn.Parameter([1.0]),)}, "attribute of its own"),
        (learner, r"nn\.Parameter\("),
        (lambda: learner() * 2, r"nn\.Parameter\("),
        (lambda: [learner()], r"nn\.Parameter\("),
    ],
)
def test_what_hides_modules_or_parameters_is_refused_where_it_is_assigned(hide, remedy):
    model = nn.Module()
    with pytest.raises(ArgumentTypeError, match=rf"Module\.layers holds .* would not find; .*{remedy}"):
        model.layers = hide()
    assert not hasattr(model, "layers")


@pytest.mark.parametrize(
    "ask",
    [
        lambda model: list(model.parameters()),
        lambda model: list(model.named_parameters()),
        lambda model: list(model.modules()),
        lambda model: model.state_dict(),
        lambda model: model.load_state_dict({}),
        lambda model: model.train(),
        lambda model: model.eval(),
        lambda model: model.zero_grad(),
    ],
)
@pytest.mark.parametrize("hidden", [lambda: nn.Linear(2, 2), lambda: nn.Parameter([1.0]), lambda: learner()])
def test_a_list_that_has_grown_since_it_was_assigned_is_noticed(ask, hidden):
    model = nn.Sequential(nn.Module())
    model[0].layers, model[0].more = [], {}
    ask(model)
    model[0].layers.append([hidden()])
    with pytest.raises(ArgumentTypeError, match=r"Module\.layers holds "):
        ask(model)
    model[0].layers = []
    model[0].more["a"] = hidden()
    with pytest.raises(ArgumentTypeError, match=r"Module\.more holds "):
        ask(model)


def test_a_tensor_that_is_told_to_learn_after_it_was_assigned_is_noticed():
    model = nn.Module()
    model.offset = Tensor([1.0])
    assert list(model.parameters()) == []
    model.offset.requires_grad = True
    with pytest.raises(ArgumentTypeError, match=r"Module\.offset holds a Tensor"):
        list(model.parameters())


def test_a_list_of_modules_that_are_found_elsewhere_is_accepted():
    model = nn.Module()
    model.first, model.second = nn.Linear(2, 2), nn.Linear(2, 2)
    model.order = [model.second, model.first, model.first.bias]
    assert len(list(model.parameters())) == 4
    del model.second
    with pytest.raises(ArgumentTypeError, match=r"Module\.order holds the module Linear"):
        list(model.parameters())


def test_plain_values_and_lists_of_them_are_accepted():
    model = nn.Module()
    model.sizes, model.options, model.constant, model.text = [2, (3, "a")], {"a": [1.0]}, Tensor([1.0]), "relu"
    model.itself = loop = []
    loop += [loop, np.array([1, loop], object)]
    assert list(model.parameters()) == []
    assert model.state_dict() == {}


def test_a_module_may_keep_what_it_computed_in_a_call():
    class Keeps(nn.Module):
        def __init__(self):
            self.layer, self.all = nn.Linear(2, 2), []

        def forward(self, x):
            self.last = self.layer(x)
            self.all.append(self.last)
            return self.last

    model = Keeps()
    for _ in range(2):
        assert model(np.ones((1, 2), np.float32)) is model.last
        assert len(list(model.parameters())) == 2


@pytest.mark.parametrize(
    "value",
    [np.ones((1, 2)), 1.0, [1.0], "ones", Tensor(np.ones((1, 2))), learner() * 2],
    ids=lambda v: type(v).__name__,
)
def test_what_is_no_parameter_cannot_take_the_place_of_one(value):
    layer = nn.Linear(2, 1)
    weight = layer.weight
    with pytest.raises(
        ArgumentTypeError, match=r"Linear\.weight is a Parameter .* within no_grad\(\), or .* nn\.Parameter"
    ):
        layer.weight = value
    assert layer.weight is weight


def test_the_remedies_for_replacing_a_parameter_work():
    layer = nn.Linear(2, 1)
    weight = layer.weight
    with no_grad():
        layer.weight[...] = np.ones((1, 2))
        layer.weight -= 0.5
    assert layer.weight is weight
    assert weight.data.tolist() == [[0.5, 0.5]]
    layer.weight = nn.Parameter(np.zeros((1, 2)))
    layer.bias = None
    assert layer(np.ones((1, 2), np.float32)).item() == 0
    assert list(layer.parameters()) == [layer.weight]


@pytest.mark.parametrize("value", [np.tanh, 3, [], np.ones(2)], ids=lambda v: type(v).__name__)
def test_what_is_no_module_cannot_take_the_place_of_one(value):
    model = nn.Module()
    model.layer = nn.Linear(2, 2)
    with pytest.raises(ArgumentTypeError, match=r"Module\.layer is the module Linear.*delete it first"):
        model.layer = value
    del model.layer
    model.layer = value


def test_only_an_array_takes_the_place_of_a_buffer():
    norm = nn.BatchNorm1d(2)
    norm.running_mean = np.ones(2, np.float32)
    for value in (1.0, Tensor(np.ones(2)), norm.num_batches_tracked + 1):
        with pytest.raises(ArgumentTypeError, match=r"BatchNorm1d\.running_mean is a ndarray .* no longer be part of"):
            norm.running_mean = value
    assert norm.state_dict()["running_mean"].tolist() == [1.0, 1.0]


def test_modules_and_parameters_in_the_body_of_a_class_are_refused():
    for value in (nn.Linear(2, 2), nn.Parameter([1.0]), [nn.ReLU()], {"a": learner()}):
        with pytest.raises(ArgumentTypeError, match=r"Net\.layer holds .* assign it to self in __init__"):
            type("Net", (nn.Module,), {"layer": value})
        mixin = type("Mixin", (), {"layer": value})
        with pytest.raises(ArgumentTypeError, match=r"Net\.layer holds "):
            type("Net", (mixin, nn.Module), {})


def test_freezing_a_module_as_if_it_were_a_parameter_is_refused():
    with pytest.raises(
        ArgumentTypeError, match=r"Linear\.requires_grad would freeze nothing; .* requires_grad_\(False\)"
    ):
        nn.Linear(2, 2).requires_grad = False


def test_a_module_can_be_frozen_and_set_free():
    model = Network()
    assert model.requires_grad_(False) is model
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert all(parameter.requires_grad for parameter in model.requires_grad_().parameters())


def test_apply_calls_a_function_with_every_module_in_their_order():
    model, seen = Network(), []
    assert model.apply(seen.append) is model
    assert seen == list(model.modules())


@pytest.mark.parametrize("name", ["to", "cuda", "register_buffer", "double"])
def test_pytorchs_methods_of_modules_are_answered_with_what_to_write(name):
    with pytest.raises(AttributeError, match=f"Network has no attribute '{name}'; "):
        getattr(Network(), name)
    assert name not in dir(Network())


def test_an_attribute_may_have_a_name_that_pytorch_uses_for_a_method():
    module = nn.Module()
    module.to = nn.Linear(2, 3)
    assert list(module.state_dict()) == ["to.weight", "to.bias"]
    assert "to" in dir(module)


def test_a_dot_in_the_name_of_an_attribute_is_refused():
    with pytest.raises(ArgumentError, match=r"'a\.b' cannot be an attribute"):
        setattr(nn.Module(), "a.b", nn.Linear(2, 2))


# Modules that refer to each other


def family():
    model = nn.Module()
    model.a, model.b = nn.Linear(2, 3), nn.Sequential(nn.Linear(3, 2), nn.ReLU())
    model.a.parent = model.b.parent = model.me = model
    model.a.sibling, model.b[0].sibling = model.b, model.a
    return model


def test_modules_that_refer_to_each_other_come_once():
    model = family()
    assert [name for name, _ in model.named_modules()] == ["", "a", "a.sibling", "a.sibling.0", "a.sibling.1"]
    assert len(list(model.parameters())) == 4
    assert {"a.weight", "a.bias", "b.0.weight", "b.0.bias"} <= model.state_dict().keys()
    assert not any(module.training for module in model.eval().modules())
    assert "(parent): ..." in repr(model)


def test_modules_that_refer_to_each_other_can_be_saved_loaded_and_copied():
    model, other = family(), family()
    model.load_state_dict(other.state_dict())
    np.testing.assert_array_equal(model.b[0].weight.data, other.b[0].weight.data)
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert copied.a.parent is copied.me is copied
        assert copied.a.sibling is copied.b
        assert copied.state_dict().keys() == model.state_dict().keys()


# Lists and dicts of modules


def test_a_module_list_is_a_list_whose_modules_are_found():
    layers = nn.ModuleList([nn.Linear(2, 3)])
    layers.append(nn.ReLU())
    layers.extend([nn.Linear(3, 1), nn.Tanh()])
    layers.insert(1, nn.GELU())
    kinds = [nn.Linear, nn.GELU, nn.ReLU, nn.Linear, nn.Tanh]
    assert [type(layer) for layer in layers] == kinds
    assert [name for name, _ in layers.named_children()] == ["0", "1", "2", "3", "4"]
    assert list(layers.state_dict()) == ["0.weight", "0.bias", "3.weight", "3.bias"]
    assert len(layers) == 5
    assert layers[np.int64(3)] is layers[-2]
    assert layers[0] in layers
    assert nn.ReLU() not in layers
    assert isinstance(layers[1:3], nn.ModuleList)
    assert [type(layer) for layer in layers[1:3]] == kinds[1:3]
    del layers[1]
    layers[0] = nn.Sigmoid()
    layers[2:] = [nn.Identity()]
    layers += [nn.Softplus()]
    assert [type(layer) for layer in layers] == [nn.Sigmoid, nn.ReLU, nn.Identity, nn.Softplus]
    assert [name for name, _ in layers.named_children()] == ["0", "1", "2", "3"]


def test_the_modules_of_lists_and_dicts_of_a_model_are_found_and_named_in_errors():
    class Net(nn.Module):
        def __init__(self):
            self.layers = nn.ModuleList(nn.Linear(3, 3) for _ in range(2))
            self.heads = nn.ModuleDict({"a": nn.Linear(3, 1), "b": nn.ModuleList([nn.Linear(4, 1)])})

        def forward(self, x, head):
            for layer in self.layers:
                x = layer(x)
            return (self.heads[head] if head == "a" else self.heads[head][0])(x)

    model = Net()
    names = ["layers.0.weight", "layers.0.bias", "layers.1.weight", "layers.1.bias"]
    names += ["heads.a.weight", "heads.a.bias", "heads.b.0.weight", "heads.b.0.bias"]
    assert list(model.state_dict()) == [name for name, _ in model.named_parameters()] == names
    x = np.ones((2, 3), np.float32)
    model(x, "a").sum().backward()
    assert all(parameter.grad is not None for parameter in model.layers.parameters())
    with pytest.raises(ShapeError, match=r"^heads\.b\.0 Linear\(4, 1\): "):
        model(x, "b")


def test_a_module_dict_is_a_dict_whose_modules_are_found():
    heads = nn.ModuleDict([("a", nn.Linear(2, 2))])
    heads["b"] = nn.ReLU()
    heads.update({"c": nn.Tanh()})
    assert list(heads) == list(heads.keys()) == ["a", "b", "c"]
    assert list(heads.values()) == [heads["a"], heads["b"], heads["c"]]
    assert list(heads.items())[1] == ("b", heads["b"])
    assert list(heads.state_dict()) == ["a.weight", "a.bias"]
    assert (len(heads), "b" in heads, "forward" in heads, "training" in heads) == (3, True, False, False)
    assert heads.pop("c") is not None
    del heads["a"]
    assert list(heads) == ["b"]
    assert len({heads, heads, nn.ModuleDict()}) == 2
    with pytest.raises(KeyError):
        heads["a"]


def test_lists_and_dicts_of_anything_but_modules_are_refused():
    with pytest.raises(ArgumentTypeError, match=r"ModuleList takes modules, such as nn.ReLU\(\), but .* number 2 is 3"):
        nn.ModuleList([nn.ReLU(), 3])
    with pytest.raises(ArgumentTypeError, match="ModuleList takes a list of modules"):
        nn.ModuleList(nn.ReLU())
    layers = nn.ModuleList([nn.ReLU()])
    with pytest.raises(ArgumentTypeError, match="ModuleList takes modules"):
        layers.append(nn.Parameter([1.0]))
    assert len(layers) == 1
    with pytest.raises(ArgumentTypeError, match=r"ModuleDict takes modules, .* but 'a' is"):
        nn.ModuleDict({"a": nn.ReLU})
    with pytest.raises(ArgumentTypeError, match="keys of a ModuleDict are strings, but one is 0"):
        nn.ModuleDict({0: nn.ReLU()})


@pytest.mark.parametrize("key", ["", "a.b", "keys", "forward", "training"])
def test_keys_that_would_hide_something_else_are_refused(key):
    with pytest.raises(ArgumentError, match=f"'{key}' cannot be a key of a ModuleDict"):
        nn.ModuleDict({key: nn.ReLU()})


def test_a_sequence_is_a_list_too_and_a_part_of_it_is_a_sequence():
    model = nn.Sequential(nn.Linear(2, 3))
    model.append(nn.ReLU())
    model.extend([nn.Linear(3, 1)])
    x = np.ones((1, 2), np.float32)
    np.testing.assert_array_equal(model[:2](x).data, model[1](model[0](x)).data)
    del model[1]
    np.testing.assert_array_equal(model(x).data, model[1](model[0](x)).data)
    assert list(model.state_dict()) == ["0.weight", "0.bias", "1.weight", "1.bias"]


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


def test_what_is_no_dict_cannot_be_loaded():
    with pytest.raises(ArgumentTypeError, match=r"load_state_dict takes a dict of arrays, such as .*, not a Linear"):
        nn.Linear(2, 2).load_state_dict(nn.Linear(2, 2))


def test_a_load_that_is_not_strict_says_what_it_left():
    model = nn.Linear(2, 1)
    bias = model.bias.data.copy()
    left = model.load_state_dict({"weight": [[1, 2]], "extra": [1]}, strict=False)
    assert (left.missing_keys, left.unexpected_keys) == (["bias"], ["extra"]) == tuple(left)
    assert model.weight.data.tolist() == [[1.0, 2.0]]
    np.testing.assert_array_equal(model.bias.data, bias)
    with pytest.raises(CheckpointError, match=r"weight has shape \(2,\) instead of \(1, 2\)"):
        model.load_state_dict({"weight": [1, 2]}, strict=False)
    assert model.load_state_dict(model.state_dict()) == ([], [])


@pytest.mark.parametrize("absent", ["first.weight", "second.weight"])
def test_tied_weights_load_from_one_of_their_names(absent):
    model, other = Tied(), Tied()
    state = model.state_dict()
    assert {"first.weight", "second.weight", "third.weight"} <= state.keys()
    kept = {name: array for name, array in state.items() if name != absent and not name.startswith("third")}
    assert other.load_state_dict(kept) == ([], [])
    np.testing.assert_array_equal(other.first.weight.data, model.first.weight.data)
    assert other.second.weight is other.first.weight
    with pytest.raises(CheckpointError, match=r"first.weight is missing; .*second.weight is missing"):
        other.load_state_dict({name: array for name, array in kept.items() if not name.endswith("weight")})


def test_tied_weights_do_not_load_from_names_that_differ():
    model = Tied()
    with pytest.raises(
        CheckpointError, match=r"first.weight and second.weight are one array in this model, but differ"
    ):
        model.load_state_dict({**model.state_dict(), "second.weight": np.zeros((3, 3))})


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
        torch.nn.LayerNorm(4), torch.nn.GELU(),
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
    with pytest.raises(ArgumentError, match="_features must be a positive integer, but is"):
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


def test_repr_shows_the_settings_of_losses_and_softmax():
    assert repr(nn.CrossEntropyLoss(0.1)) == "CrossEntropyLoss(label_smoothing=0.1)"
    assert repr(nn.Softmax(1)) == "Softmax(axis=1)"
    assert repr(nn.LogSoftmax()) == "LogSoftmax(axis=-1)"


def test_repr_of_a_parameter_says_that_it_is_one():
    assert repr(nn.Parameter([1, 2])) == "Parameter([1., 2.], dtype=float32, requires_grad=True)"


@pytest.mark.parametrize(
    "make", [lambda: nn.Softmax("1"), lambda: nn.LeakyReLU("a"), lambda: nn.CrossEntropyLoss("mean")]
)
def test_a_setting_that_is_no_number_is_refused(make):
    with pytest.raises((ArgumentError, ArgumentTypeError), match="must be "):
        make()


@pytest.mark.parametrize(("given", "kind"), [([[1.0, 2.0, 3.0]], "list"), (None, "NoneType"), (2.0, "float")])
def test_an_input_that_is_no_array_is_answered_with_what_to_write(given, kind):
    for model in nn.Linear(3, 2), nn.Flatten(), nn.Sequential(nn.Flatten(), nn.Linear(3, 2)):
        with pytest.raises(TypeError, match=rf"takes arrays and Tensors, but was given a {kind}; write np\.array\("):
            model(given)


def test_other_errors_of_attributes_are_left_as_they_are():
    class Wrong(nn.Module):
        def forward(self, x):
            return self.weights @ x

    with pytest.raises(AttributeError, match="'Wrong' object has no attribute 'weights'"):
        Wrong()([[1.0]])


def test_the_traceback_of_an_error_of_ours_has_the_users_lines_and_few_of_ours():
    class Outer(nn.Module):
        def __init__(self):
            self.layers = nn.Sequential(nn.Linear(3, 4), nn.ReLU())

        def forward(self, x):
            return self.layers(x)

    with pytest.raises(ShapeError) as caught:
        Outer()(np.zeros((2, 5), np.float32))
    functions = [entry.name for entry in traceback.extract_tb(caught.value.__traceback__)]
    assert functions[1:] == ["__call__", "forward"]


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


SEEDS = [
    lambda: 0,
    lambda: np.int64(0),
    lambda: np.random.SeedSequence(0),
    lambda: np.random.PCG64(0),
    lambda: np.random.default_rng(0),
]


@pytest.mark.parametrize("seed", SEEDS, ids=["int", "int64", "SeedSequence", "PCG64", "Generator"])
def test_every_form_of_a_seed_is_used(seed):
    expected = nn.Linear(2, 3, generator=np.random.default_rng(0))
    for parameter, other in zip(nn.Linear(2, 3, generator=seed()).parameters(), expected.parameters(), strict=True):
        np.testing.assert_array_equal(parameter.data, other.data)
    x = np.ones((4, 5), np.float32)
    dropped = functional.dropout(x, 0.5, np.random.default_rng(0))
    np.testing.assert_array_equal(nn.Dropout(0.5, seed())(x), dropped)
    np.testing.assert_array_equal(functional.dropout(x, 0.5, seed()), dropped)
    first, second = nn.Parameter(np.zeros((2, 3))), nn.Parameter(np.zeros((2, 3)))
    for initialise in (nn.init.kaiming_normal_, nn.init.xavier_uniform_):
        initialise(first, seed()), initialise(second, np.random.default_rng(0))
        np.testing.assert_array_equal(first.data, second.data)


@pytest.mark.parametrize("wrong", [np.random.RandomState(0), np.random, True, 0.5, "0"], ids=lambda v: type(v).__name__)
def test_what_is_no_seed_is_refused(wrong):
    for make in (
        lambda: nn.Linear(2, 2, generator=wrong),
        lambda: nn.Dropout(0.5, wrong),
        lambda: functional.dropout(np.ones(2), 0.5, wrong),
        lambda: nn.init.normal_(nn.Parameter([1.0]), 0, 1, wrong),
    ):
        with pytest.raises(
            ArgumentTypeError, match=r"generator must be .* numpy\.random\.default_rng\(0\), a seed such as 0"
        ):
            make()
    with pytest.raises(ArgumentError, match="seed >= 0"):
        nn.Linear(2, 2, generator=-1)


def test_a_seed_in_the_place_of_bias_is_refused():
    for wrong in (0, np.random.default_rng(0)):
        with pytest.raises(ArgumentTypeError, match=r"bias must be True or False, .* generator="):
            nn.Linear(2, 3, wrong)


def test_numpys_integers_are_sizes_and_floats_and_bools_are_none():
    two, three = np.int64(2), np.array(3)
    assert nn.Linear(two, three).weight.shape == (3, 2)
    assert nn.LayerNorm(two).normalized_shape == (2,)
    assert nn.LayerNorm((two, 3)).normalized_shape == nn.LayerNorm([2, three]).normalized_shape == (2, 3)
    assert nn.BatchNorm1d(three).weight.shape == (3,)
    np.testing.assert_array_equal(nn.Softmax(np.int64(1))(np.ones((1, 2))), [[0.5, 0.5]])
    for wrong in (2.0, True, np.float64(2), "2", None):
        for make in (lambda n: nn.Linear(n, 2), lambda n: nn.Linear(2, n), nn.LayerNorm, nn.BatchNorm1d):
            with pytest.raises(ArgumentError, match=r"must be an? .*integer, but is"):
                make(wrong)
    with pytest.raises(ArgumentError, match="normalized_shape"):
        nn.LayerNorm(())


def test_training_on_one_row_names_the_remedies():
    with pytest.raises(ShapeError, match=r"more than one row in training.*drop_last=True.*eval\(\)"):
        nn.BatchNorm1d(2)(np.ones((1, 2), np.float32))


def test_the_mode_is_a_bool():
    with pytest.raises(ArgumentTypeError, match="train takes True or False, not 'eval'"):
        nn.Linear(2, 2).train("eval")


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


def test_the_plain_initialisers_have_pytorchs_defaults():
    weight = nn.Parameter(np.zeros((200, 200)))
    nn.init.normal_(weight)
    np.testing.assert_allclose([weight.data.mean(), weight.data.std()], [0, 1], atol=0.05)
    nn.init.uniform_(weight)
    np.testing.assert_allclose([weight.data.min(), weight.data.max()], [0, 1], atol=0.01)


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
    for wrong, remedy in (
        (nn.ReLU, "make an object of the class, ReLU"),
        (np.tanh, ""),
        ([nn.ReLU()], r"unpack it with \*"),
    ):
        with pytest.raises(TypeError, match=f"argument number 2.*{remedy}"):
            nn.Sequential(nn.Linear(2, 3), wrong)


def test_a_module_deleted_from_a_sequence_or_given_another_forward_is_respected():
    x = np.array([[-1.0, 1.0]], np.float32)
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    model[1].forward = lambda x: x * 2
    np.testing.assert_array_equal(model(x).data, model[0](x).data * 2)
    delattr(model, "1")
    np.testing.assert_array_equal(model(x).data, model[0](x).data)
    assert len(model) == 1


class Block:
    def __init__(self):
        self.linear = nn.Linear(2, 2)


HIDING = {
    "UserList": lambda: collections.UserList([nn.Linear(2, 2)]),
    "mapping proxy": lambda: types.MappingProxyType({"a": nn.Linear(2, 2)}),
    "view of a dict": lambda: {"a": nn.Linear(2, 2)}.values(),
    "generator": lambda: (nn.Linear(2, 2) for _ in range(2)),
    "map": lambda: map(nn.Linear, [2, 2], [2, 2]),
    "partial": lambda: functools.partial(functional.linear, weight=nn.Parameter(np.ones((2, 2)))),
    "namespace": lambda: types.SimpleNamespace(a=nn.Linear(2, 2)),
    "object of a class that is no Module": Block,
    "list of such objects": lambda: [Block()],
}


@pytest.mark.parametrize("name", HIDING)
def test_whatever_hides_a_parameter_is_refused(name):
    with pytest.raises(ArgumentTypeError, match=r"Module\.x"):
        nn.Module().x = HIDING[name]()


def test_an_object_that_comes_to_hide_a_parameter_is_refused_later():
    module = nn.Module()
    module.options = types.SimpleNamespace()
    module.options.w = nn.Parameter([1.0])
    with pytest.raises(ArgumentTypeError, match="options holds a Parameter"):
        list(module.parameters())


def test_objects_that_refer_to_the_module_or_to_its_parameters_may_be_attributes():
    module = nn.Linear(2, 2)
    module.optimizer = optim.SGD(module.parameters())
    module.trainer = types.SimpleNamespace(model=module)
    assert len(list(module.parameters())) == 2


def test_slots_are_refused_because_parameters_in_them_are_not_found():
    with pytest.raises(ArgumentTypeError, match="__slots__ of Net"):

        class Net(nn.Module):
            __slots__ = ("w",)


@pytest.mark.parametrize("name", ["modules", "parameters", "train", "state_dict"])
@pytest.mark.parametrize("value", [nn.Sequential(), False, [1]])
def test_the_name_of_a_method_is_refused(name, value):
    with pytest.raises(ArgumentTypeError, match=f"{name} is a method"):
        setattr(nn.Module(), name, value)


def test_a_state_of_other_names_only_is_refused_also_if_not_strict():
    model = nn.Linear(2, 2)
    state = {f"module.{name}": array for name, array in model.state_dict().items()}
    with pytest.raises(CheckpointError, match=r"it has weight, bias .*, but the weights are called module\.weight"):
        model.load_state_dict(state, strict=False)


@pytest.mark.parametrize("fill", [nn.init.zeros_, lambda x: nn.init.kaiming_normal_(x, 0)])
def test_an_initialiser_refuses_what_is_no_tensor(fill):
    for given in (nn.Linear(2, 2), np.ones((2, 2))):
        with pytest.raises(ArgumentTypeError, match=r"pass layer\.weight"):
            fill(given)
