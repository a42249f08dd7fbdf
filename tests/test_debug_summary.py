"""The summary of a model."""

import gc
import math
import weakref

import numpy as np
import pytest

from tinygrad_np import Tensor, debug, functional, nn, no_grad
from tinygrad_np.errors import ArgumentError, ArgumentTypeError, ShapeError


def mlp():
    generator = np.random.default_rng(0)
    return nn.Sequential(nn.Linear(784, 128, generator=generator), nn.ReLU(), nn.Linear(128, 10, generator=generator))


class Of(nn.Module):
    """A model whose forward is `function`, with the given parameters and modules as attributes."""

    def __init__(self, function, **attributes):
        self.function = function
        vars(self).update(attributes)

    def forward(self, *inputs):
        return self.function(self, *inputs)


def test_every_module_has_a_row_with_its_shape_and_costs():
    summary = debug.summary(mlp(), (32, 784))
    assert [(row.name, row.kind, row.output_shapes) for row in summary.rows] == [
        ("", "Sequential", [(32, 10)]),
        ("0", "Linear(784, 128)", [(32, 128)]),
        ("1", "ReLU()", [(32, 128)]),
        ("2", "Linear(128, 10)", [(32, 10)]),
    ]
    assert [row.parameters for row in summary.rows] == [0, 784 * 128 + 128, 0, 128 * 10 + 10]
    assert [row.multiply_adds for row in summary.rows] == [0, 32 * 784 * 128, 0, 32 * 128 * 10]
    assert [row.activation_bytes for row in summary.rows] == [0, 32 * 128 * 4, 32 * 128 * 4, 32 * 10 * 4]


def test_the_columns_add_up_to_the_totals():
    summary = debug.summary(mlp(), (32, 784))
    assert summary.parameters == sum(row.parameters for row in summary.rows) == 101_770
    assert summary.multiply_adds == sum(row.multiply_adds for row in summary.rows)
    assert summary.activation_bytes == sum(row.activation_bytes for row in summary.rows)
    assert (summary.parameter_bytes, summary.frozen) == (4 * 101_770, 0)


def test_the_table_shows_nesting_by_indentation_and_the_totals_below():
    model = Of(lambda self, x: self.body(x) @ self.weight, body=mlp(), weight=nn.Parameter(np.ones((10, 2))))
    text = str(debug.summary(model, (1, 784)))
    assert text == repr(debug.summary(model, (1, 784)))
    assert text.splitlines() == [
        "module                   output shape  parameters  mult-adds  activations",
        "-------------------------------------------------------------------------",
        "Of                             (1, 2)          20         20          8 B",
        "  body  Sequential            (1, 10)           -          -            -",
        "    0  Linear(784, 128)      (1, 128)     100,480    100,352        512 B",
        "    1  ReLU()                (1, 128)           -          -        512 B",
        "    2  Linear(128, 10)        (1, 10)       1,290      1,280         40 B",
        "-------------------------------------------------------------------------",
        "total                                     101,790    101,652       1.1 kB",
        "",
        "for an input of shape (1, 784) float32; the parameters take 407.2 kB",
    ]


def test_images_are_flattened_and_linear_layers_take_any_axes():
    summary = debug.summary(nn.Sequential(nn.Flatten(), nn.Linear(12, 5)), (2, 3, 4))
    assert [row.output_shapes for row in summary.rows] == [[(2, 5)], [(2, 12)], [(2, 5)]]
    summary = debug.summary(nn.Linear(4, 5, bias=False), (2, 3, 4))
    assert summary.rows[0].output_shapes == [(2, 3, 5)]
    assert (summary.parameters, summary.multiply_adds) == (20, 2 * 3 * 4 * 5)


a, b, vector = np.ones((3, 4)), np.ones((4, 5)), np.ones(4)
PRODUCTS = [
    (lambda x: x @ b, (3, 4), 3 * 4 * 5),
    (lambda x: x @ b, (7, 2, 3, 4), 7 * 2 * 3 * 4 * 5),
    (lambda x: x @ b, (4,), 4 * 5),
    (lambda x: a @ x, (4,), 3 * 4),
    (lambda x: a @ x, (6, 4, 5), 6 * 3 * 4 * 5),
    (lambda x: np.vecdot(x, vector), (6, 4), 6 * 4),
    (lambda x: np.vecdot(x, vector[:, None], axis=0), (4, 6), 6 * 4),
    (lambda x: np.dot(x, b), (2, 3, 4), 2 * 3 * 4 * 5),
    (lambda x: np.dot(x, 2.0), (2, 3), 2 * 3),
    (lambda x: np.inner(x, a), (2, 4), 2 * 3 * 4),
    (lambda x: np.outer(x, vector), (3,), 3 * 4),
    (lambda x: np.vdot(x, b), (4, 5), 4 * 5),
    (lambda x: np.tensordot(x, b, axes=1), (2, 3, 4), 2 * 3 * 4 * 5),
    (lambda x: np.tensordot(x, b, axes=([0, 1], [1, 0])), (5, 4, 3), 5 * 4 * 3),
    (lambda x: np.einsum("nij,jk->nik", x, b), (2, 3, 4), 2 * 3 * 4 * 5),
    (lambda x: np.einsum("...j,jk", x, b), (2, 3, 4), 2 * 3 * 4 * 5),
    (lambda x: np.einsum("ij,jk,kl->il", x, b, np.ones((5, 6))), (3, 4), 2 * 3 * 4 * 5 * 6),
    (lambda x: np.einsum("ij->i", x), (3, 4), 0),
    (lambda x: np.convolve(x, np.ones(3)), (10,), 10 * 3),
    (lambda x: np.convolve(x, np.ones(3), "valid"), (10,), 8 * 3),
    (lambda x: np.convolve(x, np.ones(3), mode="same"), (10,), 8 * 3 + 2 + 2),
    (lambda x: np.correlate(x, np.ones(3)), (10,), 8 * 3),
    (lambda x: x @ b, (0, 4), 0),
    (lambda x: np.exp(x) * x + x.sum(), (3, 4), 0),
]
if hasattr(np, "matvec"):  # NumPy 2.2
    PRODUCTS += [
        (lambda x: np.matvec(x, vector), (2, 3, 4), 2 * 3 * 4),
        (lambda x: np.vecmat(x, b), (2, 4), 2 * 4 * 5),
    ]


@pytest.mark.parametrize(("function", "shape", "expected"), PRODUCTS)
def test_the_multiply_adds_of_products_are_those_counted_by_hand(function, shape, expected):
    summary = debug.summary(Of(lambda self, x: function(x)), shape)
    assert summary.multiply_adds == expected


def test_activations_are_what_the_graph_keeps_once_each():
    def function(self, x):
        y = x * self.scale  # kept: 40 bytes
        view = y.reshape(5, 2)  # a view of it
        np.exp(y)  # kept by nobody
        return np.tanh(view) + np.ones((5, 2), np.float32)  # both arrays, the constant, and the result

    summary = debug.summary(Of(function, scale=nn.Parameter(2.0)), (10,))
    assert summary.activation_bytes == 40 + 3 * 40


def test_nothing_is_kept_where_nothing_is_trained():
    assert debug.summary(nn.Sequential(nn.Flatten(), nn.Tanh()), (2, 3, 4)).activation_bytes == 0


def test_dropout_and_batch_normalisation_are_those_of_training_and_change_nothing():
    generator = np.random.default_rng(0)
    model = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Dropout(0.5, generator)).eval()
    model(np.ones((3, 6), np.float32)).sum().backward()
    before = {name: array.copy() for name, array in model.state_dict().items()}
    gradients = [parameter.grad for parameter in model.parameters()]
    attributes, state = [dict(vars(module)) for module in model.modules()], generator.bit_generator.state
    summary = debug.summary(model, (3, 6))
    assert summary.rows[3].activation_bytes >= 2 * 3 * 4 * 4  # the mask and the result
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    assert all(parameter.grad is grad for parameter, grad in zip(model.parameters(), gradients, strict=True))
    assert [dict(vars(module)) for module in model.modules()] == attributes
    assert generator.bit_generator.state == state
    assert not any(module.training for module in model.modules())


def test_what_a_forward_leaves_in_its_module_is_gone_afterwards():
    def function(self, x):
        self.last = x * self.scale
        self.scale.data *= 2
        return self.last

    model = Of(function, scale=nn.Parameter(2.0))
    debug.summary(model, (3,))
    assert not hasattr(model, "last")
    assert model.scale.item() == 2


def test_all_is_as_before_even_after_an_error_in_the_model():
    generator = np.random.default_rng(0)
    model = nn.Sequential(nn.Dropout(0.5, generator), nn.Linear(4, 4), nn.ReLU(), nn.Linear(3, 3)).eval()
    attributes, state = [dict(vars(module)) for module in model.modules()], generator.bit_generator.state
    with debug.profile() as profile:
        with pytest.raises(ShapeError):
            debug.summary(model, (2, 4))
        np.exp(Tensor(1.0, requires_grad=True))
    assert [(row.name, row.calls) for row in profile.rows()[:-1]] == [("exp", 1)]
    assert [dict(vars(module)) for module in model.modules()] == attributes
    assert generator.bit_generator.state == state


def test_a_shape_that_the_model_does_not_take_is_reported_as_by_the_model_itself():
    model = Of(lambda self, x: self.body(x), body=mlp())
    with pytest.raises(ShapeError) as expected:
        model(np.zeros((32, 100), np.float32))
    with pytest.raises(ShapeError) as error:
        debug.summary(model, (32, 100))
    assert str(error.value) == str(expected.value)
    assert str(error.value).startswith("body.0 Linear(784, 128): the input has shape (32, 100)")


def test_a_module_called_twice_has_two_rows_but_its_parameters_count_once():
    model = Of(lambda self, x: self.layer(self.layer(x)), layer=nn.Linear(4, 4))
    summary = debug.summary(model, (3, 4))
    assert [(row.name, row.parameters, row.shared) for row in summary.rows[1:]] == [("layer", 20, 0), ("layer", 0, 20)]
    assert [row.multiply_adds for row in summary.rows] == [0, 48, 48]
    assert [row.activation_bytes for row in summary.rows] == [0, 48, 48]
    assert summary.parameters == 20
    assert "(shared)" in str(summary)


def test_a_parameter_that_two_modules_share_counts_once():
    first, second = nn.Linear(4, 4), nn.Linear(4, 4)
    second.weight = first.weight
    summary = debug.summary(nn.Sequential(first, second), (3, 4))
    assert [(row.parameters, row.shared) for row in summary.rows[1:]] == [(20, 0), (4, 16)]
    assert summary.parameters == 24
    assert "4 (shared)" in str(summary)


def test_frozen_parameters_are_told_apart_and_keep_nothing_but_compute_as_much():
    model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4))
    for parameter in model[0].parameters():
        parameter.requires_grad = False
    summary = debug.summary(model, (2, 6))
    assert [row.frozen for row in summary.rows] == [0, 35, 0, 0]
    assert [row.multiply_adds for row in summary.rows] == [0, 60, 0, 40]
    assert [row.activation_bytes for row in summary.rows] == [0, 0, 0, 4 * (10 + 8)]  # the second's input and result
    assert "35 (35 frozen)" in str(summary)
    assert [parameter.requires_grad for parameter in model.parameters()] == [False, False, True, True]


def test_modules_that_are_not_called_are_listed_with_their_parameters():
    summary = debug.summary(Of(lambda self, x: self.used(x), used=nn.Linear(4, 3), unused=nn.Linear(2, 2)), (1, 4))
    assert [(row.name, row.output_shapes) for row in summary.rows][-1] == ("unused", None)
    assert summary.parameters == sum(row.parameters for row in summary.rows) == 15 + 6
    assert "not called" in str(summary)


def test_plain_functions_between_modules_count_for_the_module_that_calls_them():
    model = Of(lambda self, x: functional.softmax(self.layer(x)) @ self.layer.weight, layer=nn.Linear(4, 3))
    summary = debug.summary(model, (2, 4))
    assert [row.multiply_adds for row in summary.rows] == [2 * 3 * 4, 2 * 4 * 3]
    assert [row.activation_bytes for row in summary.rows] == [4 * (2 * 3 + 2 * 4), 4 * 2 * 3]


def test_several_inputs_and_results_have_several_shapes():
    model = Of(lambda self, x, y: {"sum": x.sum(axis=1) + y, "pair": (x @ self.w, y)}, w=nn.Parameter(np.ones((4, 2))))
    summary = debug.summary(model, [(3, 4), (3,)])
    assert summary.rows[0].output_shapes == [(3,), (3, 2), (3,)]
    assert summary.multiply_adds == 3 * 4 * 2
    assert "for inputs of shape (3, 4), (3,) float32" in str(summary)


def test_integer_inputs_look_up_rows():
    model = Of(
        lambda self, words: self.head(self.table[words]), table=nn.Parameter(np.ones((9, 4))), head=nn.Linear(4, 2)
    )
    model.table.requires_grad = False
    summary = debug.summary(model, (3, 5), dtype=np.int64)
    assert summary.rows[0].output_shapes == [(3, 5, 2)]
    assert summary.multiply_adds == 3 * 5 * 4 * 2


def test_it_is_the_same_within_no_grad_and_within_other_tools():
    expected = str(debug.summary(mlp(), (2, 784)))
    with no_grad(), debug.profile() as profile:
        assert str(debug.summary(mlp(), (2, 784))) == expected
    assert len(profile.rows()) == 1  # it was not told
    x = Tensor(1.0, requires_grad=True)
    assert (x * x).requires_grad


def test_nothing_of_the_two_passes_stays_alive():
    model = mlp()
    gc.disable()
    try:
        reference = weakref.ref(model)
        debug.summary(model, (2, 784))
        del model
        assert reference() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("shape", [784, "784", (32, -1), (32, 7.5), [(32, 784), 3], None])
def test_what_is_no_shape_is_refused(shape):
    with pytest.raises(ArgumentError, match="input_shape must be a shape with the batch axis first"):
        debug.summary(mlp(), shape)


def test_what_is_no_module_is_refused():
    with pytest.raises(ArgumentTypeError, match="summary takes a module"):
        debug.summary(math.sin, (3,))


def test_what_the_model_uses_but_does_not_find_is_told():
    class Holder:
        layer = nn.Linear(4, 3)

    summary = debug.summary(
        Of(lambda self, x: self.holder.layer(self.own(x)), holder=Holder, own=nn.Linear(2, 4)), (5, 2)
    )
    assert summary.parameters == 2 * 4 + 4
    assert summary.unfound == [(3, 4), (3,)]
    assert str(summary).endswith("\nnot among the parameters, so not counted: (3, 4), (3,)")
    assert debug.summary(mlp(), (1, 784)).unfound == []


def test_modules_that_refer_to_each_other_have_one_row_each():
    model = mlp()
    model[0].parent = model
    assert [row.name for row in debug.summary(model, (1, 784)).rows] == ["", "0", "1", "2"]


def test_a_model_whose_list_has_grown_is_refused():
    model = mlp()
    model[0].more = []
    model[0].more.append(nn.Linear(2, 2))
    with pytest.raises(ArgumentTypeError, match=r"Linear\.more holds the module Linear"):
        debug.summary(model, (1, 784))


def test_a_notebook_shows_the_same_cells_as_an_html_table():
    table = debug.summary(nn.Sequential(nn.Linear(3, 4), nn.ReLU()), (2, 3))
    html = table._repr_html_()
    for cell in ("mult-adds", "  0  Linear(3, 4)", "(2, 4)", "total", "for an input of shape (2, 3) float32"):
        assert cell in html
    assert html.count("<tr>") == 1 + len(table.rows) + 1
    assert repr(table) == str(table)
