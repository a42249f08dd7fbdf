"""Drawings of the graph: what is in them, what they are called, and the files that they become."""

import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from importlib import metadata

import numpy as np
import pytest

from models.mnist_mlp import MnistMLP
from tinygrad_np import Tensor, debug, differentiable, func, functional, grad, nn, visualize
from tinygrad_np import compile as tinygrad_compile
from tinygrad_np.errors import ArgumentError, ArgumentTypeError, GraphError, RenderError

IMAGES = np.linspace(0, 1, 4 * 6, dtype=np.float32).reshape(4, 6)
LABELS = np.array([0, 1, 2, 0])


def mlp(*sizes):
    model = MnistMLP(sizes, generator=np.random.default_rng(0))
    return model, functional.cross_entropy(model(IMAGES), LABELS)


def items(drawing, kind=None):
    return {item.title: item for item in drawing.picture.items if kind in (None, item.kind)}


def edges(drawing):
    return [(edge.tail.title, edge.head.title) for edge in drawing.picture.edges]


def boxes(drawing):
    return [box.title for box in drawing.picture.boxes]


def enclosing(item):
    box, titles = item.box, []
    while box is not None:
        titles.insert(0, box.title)
        box = box.outer
    return titles


def legend(drawing):
    return {text: color for color, text in drawing.picture.legend}


class Recurrent(nn.Module):
    def __init__(self):
        self.cell = nn.Linear(3, 3)

    def forward(self, x, steps):
        for _ in range(steps):
            x = np.tanh(self.cell(x))
        return np.sum(x)


# What is shown


def test_operations_have_their_names_shapes_and_dtypes():
    model, loss = mlp(6, 5, 3)
    operations = items(visualize.draw(loss, model), "operation")
    assert list(operations) == ["linear", "relu", "cross_entropy"]
    assert operations["relu"].lines == ["(4, 5) float32"]


def test_parameters_have_their_dotted_names_shapes_and_counts():
    model, loss = mlp(6, 200, 3)
    for drawing in (visualize.draw(loss, model), visualize.draw(loss)):
        parameters = items(drawing, "parameter")
        assert set(parameters) == {"layers.0.weight", "layers.0.bias", "layers.2.weight", "layers.2.bias"}
        assert parameters["layers.0.weight"].lines == ["(200, 6) float32", "1,200 parameters"]


def test_inputs_and_constants_are_told_apart_from_parameters():
    model = nn.Linear(6, 1)
    x = Tensor(IMAGES, requires_grad=True, name="pixels")
    drawing = visualize.draw(np.sum(model(x) * np.ones((4, 1))), model)
    assert list(items(drawing, "input")) == ["pixels"]
    assert items(drawing, "constant")["constant"].lines == ["(4, 1) float64"]
    assert len({item.color for item in drawing.picture.items}) == 4


def test_labels_and_masks_are_constants():
    model, loss = mlp(6, 3)
    assert ("target", "cross_entropy") in edges(visualize.draw(loss, model))
    x = Tensor([1.0, -1.0], requires_grad=True, name="x")
    drawing = visualize.draw(np.where(x.data > 0, x, 0.0))
    assert items(drawing)["constant"].lines == ["(2,) bool"]


@pytest.mark.parametrize(
    ("function", "title"),
    [
        (lambda x: x * 2, "multiply by 2"),
        (lambda x: 1 - x, "subtract from 1"),
        (lambda x: x / np.float32(4), "divide by 4"),
        (lambda x: 1 / x, "divide 1 by"),
        (lambda x: x**3, "power 3"),
    ],
)
def test_a_number_is_part_of_the_title_and_no_item(function, title):
    drawing = visualize.draw(function(Tensor([1.0, 2.0], requires_grad=True, name="x")))
    assert set(items(drawing)) == {"x", title}


def test_options_are_lines_and_no_items():
    x = Tensor(np.ones((2, 3)), requires_grad=True, name="x")
    drawing = visualize.draw(np.sum(x[:, 1:], axis=0, keepdims=True))
    assert items(drawing)["sum"].lines[0] == "axis=0, keepdims=True"
    assert items(drawing)["getitem"].lines[0] == "[:, 1:]"
    assert set(items(drawing)) == {"x", "getitem", "sum"}


def test_a_named_result_says_its_name():
    x = Tensor(1.0, requires_grad=True)
    y = np.exp(x)
    y.name = "odds"
    assert "odds = exp" in items(visualize.draw(y))


def test_every_use_of_a_tensor_is_an_edge_and_it_itself_one_item():
    x = Tensor(2.0, requires_grad=True, name="x")
    drawing = visualize.draw(x * x)
    assert edges(drawing) == [("x", "x * x")] * 2
    assert len(items(drawing)) == 2


def test_lists_and_several_outputs_are_looked_through():
    x, y = (Tensor(np.ones(2), requires_grad=True, name=name) for name in "xy")
    first, second = np.split(np.concatenate([x, y, np.ones(2)]), 2)
    drawing = visualize.draw(np.sum(first) * np.sum(second))
    assert {("x", "concatenate"), ("y", "concatenate"), ("constant", "concatenate")} <= set(edges(drawing))
    assert [edge.label for edge in drawing.picture.edges if edge.tail.title == "split"] == ["item 0", "item 1"]
    assert items(drawing)["split"].lines[-1] == "2 outputs: (3,), (3,)"


def test_operations_sit_in_nested_boxes_of_their_modules():
    model, loss = mlp(6, 5, 3)
    for drawing in (visualize.draw(loss, model), visualize.draw(loss)):
        assert boxes(drawing) == [
            "MnistMLP", "layers - Sequential", "layers.0 - Linear(6, 5)", "layers.1 - ReLU", "layers.2 - Linear(5, 3)",
        ]  # fmt: skip
        inner = ["MnistMLP", "layers - Sequential"]
        assert enclosing(items(drawing)["relu"]) == [*inner, "layers.1 - ReLU"]
        assert enclosing(items(drawing)["layers.0.weight"]) == [*inner, "layers.0 - Linear(6, 5)"]
        assert enclosing(items(drawing)["cross_entropy"]) == enclosing(items(drawing)["target"]) == []


def test_a_module_called_twice_has_two_boxes_and_its_parameters_stand_outside_of_both():
    layer = nn.Linear(6, 6)
    model = nn.Sequential(layer, nn.Tanh(), layer)
    drawing = visualize.draw(np.sum(model(IMAGES)), model)
    assert boxes(drawing) == ["Sequential", "0 - Linear(6, 6)", "1 - Tanh", "0 - Linear(6, 6) (call 2)"]
    assert enclosing(items(drawing)["0.weight"]) == ["Sequential"]


def test_a_module_that_is_gone_is_called_by_its_class():
    loss = mlp(6, 3)[1]
    assert boxes(visualize.draw(loss)) == ["MnistMLP", "Sequential", "Linear"]


def test_parameters_that_are_not_in_the_graph_are_grey_and_dashed_in_the_boxes_of_their_modules():
    model = nn.Sequential(nn.Linear(6, 3), nn.Linear(3, 2))
    drawing = visualize.draw(np.sum(model[0](IMAGES)), model)
    unused = items(drawing, "parameter")["1.weight"]
    assert unused.dashed
    assert unused.lines[-1] == "no gradient reaches it"
    assert legend(drawing)["no gradient reaches it"] == unused.color
    assert enclosing(unused) == ["Sequential", "1 - Linear(3, 2)"]
    assert not items(drawing, "parameter")["0.weight"].dashed


def test_frozen_parameters_and_buffers_are_constants_with_their_names():
    model = nn.Sequential(nn.Linear(6, 3), nn.BatchNorm1d(3)).eval()
    model[0].bias.requires_grad = False
    constants = items(visualize.draw(np.sum(model(IMAGES)), model), "constant")
    assert {"0.bias", "1.running_mean"} <= set(constants)


def test_text_of_users_is_shown_as_it_stands():
    name = 'a<b> & "c" {d|e} \\n \n 漢字 ' + "long " * 100
    drawing = visualize.draw(np.exp(Tensor(1.0, requires_grad=True, name=name)))
    svg = ElementTree.fromstring(drawing._repr_mimebundle_()["image/svg+xml"])
    texts = [text.text for text in svg.iter("{http://www.w3.org/2000/svg}text")]
    shown = next(text for text in texts if text.startswith("a<b>"))
    assert len(shown) < 100
    assert shown.replace("\xa0", " ").startswith('a<b> & "c" {d|e} \\n')


@pytest.mark.parametrize(
    "make",
    [
        lambda x: x,
        lambda x: np.sum(x[:0]),
        lambda x: np.abs(np.fft.fft(x)) ** 2,
        lambda x: grad(np.sum(np.sin(x) * x), x, create_graph=True),
        lambda x: func.hessian(lambda v: np.sum(np.tanh(v * x)))(np.ones(3)),
        lambda x: np.linalg.svd(np.outer(x, x) + np.eye(3))[1],
        lambda x: np.lib.stride_tricks.sliding_window_view(x, 2) @ np.ones(2),
    ],
    ids=["leaf", "empty", "complex", "second derivative", "hessian", "several outputs", "windows"],
)
def test_any_graph_can_be_drawn(make):
    result = make(Tensor([1.0, 2.0, 3.0], requires_grad=True, name="x"))
    for drawing in (visualize.draw(result), visualize.draw(result, values=True, costs=True)):
        assert "x" in items(drawing)
        ElementTree.fromstring(drawing._repr_mimebundle_()["image/svg+xml"])


def test_drawing_changes_no_gradient_and_no_graph():
    x = Tensor(3.0, requires_grad=True)
    y = np.exp(x) * x
    visualize.draw(y, values=True, costs=True)
    assert x.grad is None
    y.backward()
    assert x.grad == np.exp(3.0) * 4.0


def test_after_backward_the_structure_is_still_shown():
    model, loss = mlp(6, 5, 3)
    before = visualize.draw(loss, model)
    loss.backward()
    after = visualize.draw(loss, model)
    assert boxes(after) == boxes(before)
    assert items(after, "parameter").keys() == items(before, "parameter").keys()
    assert [item.lines for item in items(after, "operation").values()] == [
        item.lines for item in items(before, "operation").values()
    ]
    assert items(after)["constant"].lines == ["freed by backward()"]


def test_a_tensor_without_history_cannot_be_drawn():
    with pytest.raises(GraphError):
        visualize.draw(Tensor(1.0))


def test_what_is_no_tensor_cannot_be_drawn():
    with pytest.raises(ArgumentTypeError, match="draw takes a Tensor"):
        visualize.draw(nn.Linear(1, 1))


# Scalar graphs


def test_a_graph_of_numbers_shows_each_number_with_its_gradient_symbols_and_the_callers_variables():
    a, b = Tensor(-4.0, requires_grad=True), Tensor(2.0, requires_grad=True)
    c = a + b
    d = a * b + b**3
    e = c - d
    f = e**2
    g = f / 2.0
    drawing = visualize.draw(g + 10.0 / f)
    assert list(items(drawing)) == ["a", "b", "c = a + b", "a * b", "b ** 3", "d = +", "e = c - d", "f = e ** 2",
                                    "g = f / 2", "10 / f", "g + ·"]  # fmt: skip
    assert items(drawing)["a"].lines == ["data -4.0", "grad -0.5"]
    assert items(drawing)["f = e ** 2"].lines == ["data 4.0", "grad -0.125"]
    assert items(drawing)["a * b"].details["operation"] == "multiply"


def test_numbers_have_four_decimals_and_no_zeros_at_their_end():
    shown = [visualize.measures.decimal(x) for x in (6.0, -6.94165, 138.8338190, 0.0, 1.2345678e-7, -0.125)]
    assert shown == ["6.0", "-6.9417", "138.8338", "0.0", "1.2346e-07", "-0.125"]


def test_within_a_trace_a_scalar_graph_keeps_its_numbers_and_names_after_backward():
    def neuron():
        x, w = Tensor(2.0, requires_grad=True, name="x"), Tensor(-3.0, requires_grad=True, name="w")
        n = x * w + 6.88
        n = np.tanh(n)
        return n * 2 + x * w

    with debug.trace():
        result = neuron()
        before = visualize.draw(result)
        result.backward()
    after = visualize.draw(result)
    assert [(item.title, item.lines) for item in before.picture.items] == [
        (item.title, item.lines) for item in after.picture.items
    ]
    assert {"x * w", "n = + 6.88", "n = tanh", "n * 2"} <= set(items(after))


def test_within_a_trace_results_that_are_no_numbers_say_and_give_the_names_of_their_variables():
    x = Tensor([[1.0, 0.5], [0.5, 2.0]], requires_grad=True)
    with debug.trace():
        root = np.linalg.cholesky(x @ x.T)
        loss = np.sum(np.tanh(root))
        before = items(visualize.draw(loss, derivatives=True))
        loss.backward()
    after = items(visualize.draw(loss, derivatives=True))
    for shown in (before, after):
        assert shown["cholesky"].lines == ["as root", "(2, 2) float64"]
        assert shown["tanh"].lines == ["(2, 2) float64"]
        assert shown["tanh"].formulas == ["droot = g * (1 - out * out)"]


def test_a_variable_names_only_the_result_of_a_plain_assignment():
    x = Tensor(2.0, requires_grad=True, name="x")
    with debug.trace():
        y = np.exp(np.sin(x)) * 2 + 1
        y = -(y + y)
        y += 5
        z = [y * 3][0]
    titles = ["x", "sin", "exp", "* 2", "y = + 1", "y + y", "y = -", "y = y + 5", "z = y * 3"]
    assert list(items(visualize.draw(z))) == titles
    assert list(items(visualize.draw([y * 3][0])))[-1] == "y * 3"


def test_data_flow_from_left_to_right_on_request():
    x = Tensor(2.0, requires_grad=True)
    assert "rankdir=LR" in visualize.draw(x * 2, direction="LR").source
    with pytest.raises(ArgumentError, match="'TB', 'LR'"):
        visualize.draw(x * 2, direction="down")


# Names of what comes in


def test_constants_have_the_names_of_the_arguments_or_variables_that_they_were_given_as():
    class Model(nn.Module):
        def __init__(self):
            self.layer = nn.Linear(6, 3)

        def forward(self, pixels, scale):
            return self.layer(pixels) * scale

    offsets, labels = np.ones((4, 3), np.float32), LABELS
    loss = functional.cross_entropy(Model()(IMAGES, np.ones((4, 1), np.float32)) + offsets, labels)
    assert set(items(visualize.draw(loss), "constant")) == {"pixels", "scale", "offsets", "target"}
    mlp = nn.Sequential(nn.Linear(6, 1))
    regression = functional.mse_loss(mlp(IMAGES), np.zeros((4, 1), np.float32))
    assert set(items(visualize.draw(regression), "constant")) == {"input", "target"}


def test_an_argument_that_is_gone_gives_its_name_to_no_other_array():
    class Scale(nn.Module):
        def __init__(self):
            self.weight = nn.Parameter(np.ones(3))

        def forward(self, x):
            return self.weight * float(x.sum()) + np.ones(3)

    result = Scale()(IMAGES.copy())
    assert set(items(visualize.draw(result), "constant")) == {"constant"}


def test_the_numbers_of_a_scalar_graph_are_not_said_by_colours_even_if_parts_are_collapsed():
    x = Tensor(0.5, requires_grad=True)
    slope = grad(np.tanh(x) * x, x, create_graph=True)
    assert not [text for text in legend(visualize.draw(slope, depth=0)) if text.startswith("gradient norm")]


# Parts with a name


def test_layer_norm_gelu_and_scopes_are_one_box_that_the_page_and_depth_open():
    model = nn.Sequential(nn.Linear(6, 4), nn.LayerNorm(4), nn.GELU("tanh"))
    with visualize.scope("k1"):
        total = np.sum(model(IMAGES) * 2)
    drawing = visualize.draw(total)
    assert list(items(drawing, "module")) == ["k1"]
    assert not items(drawing, "operation")
    drawing = visualize.draw(np.sum(model(IMAGES)), model)
    assert list(items(drawing, "module")) == ["layer_norm", "gelu"]
    assert {"1.weight", "1.bias"} <= set(items(drawing, "parameter"))
    assert items(drawing, "module")["gelu"].lines == ["(4, 4) float32", "11 operations"]
    assert "tanh" in items(visualize.draw(np.sum(model(IMAGES)), model, depth=9))


def test_a_part_is_no_module_to_the_tools_of_debug():
    model = nn.Sequential(nn.Linear(6, 4), nn.LayerNorm(4))
    with debug.profile() as profile, visualize.scope("k1"):
        np.sum(model(IMAGES) * 2)
    assert "k1" not in profile.table("module")
    assert "outside of modules" in profile.table("module")


def test_a_part_changes_nothing_that_modules_summaries_and_compiled_functions_say():
    class Mixed(nn.Module):
        def __init__(self):
            self.layer = nn.Linear(6, 4)

        def forward(self, x):
            y = self.layer(x) * 2
            return functional.gelu(y, "tanh") + y

    model = Mixed()
    whole = debug.summary(model, (4, 6)).rows[0].activation_bytes
    with visualize.scope("all"):
        assert debug.summary(model, (4, 6)).rows[0].activation_bytes == whole > 10 * 4 * 4 * 4

        def forward(x):
            return np.sum(model(x))

        source = tinygrad_compile(forward).source(IMAGES)
    assert "Mixed.layer" in source
    with pytest.raises(ArgumentTypeError, match="a scope needs a name"):
        visualize.scope("")


# Derivatives


def test_derivatives_are_formulas_with_the_names_of_the_inputs():
    x, w, b = (
        Tensor(value, requires_grad=True, name=name) for name, value in zip("xwb", (2.0, -3.0, 6.88), strict=True)
    )
    n = x * w + b
    drawing = visualize.draw(np.tanh(n) ** 3, derivatives=True)
    formulas = {title: item.formulas for title, item in items(drawing).items() if item.kind == "operation"}
    assert formulas["x * w"] == ["dx = g * w", "dw = g * x"]
    assert formulas["tanh"] == ["dn = g * (1 - out * out)"]
    assert formulas["· ** 3" if "· ** 3" in formulas else "** 3"] == ["dx = g * 3 * x ** 2"]
    assert visualize.draw(x * x, derivatives=True).picture.items[1].formulas == ["dx = g * x", "dx += g * x"]


def test_a_formula_says_where_the_engine_sums_over_what_broadcasting_repeated():
    matrix, vector = (Tensor(np.ones(shape), requires_grad=True) for shape in ((2, 3), (3,)))
    product = items(visualize.draw(np.sum(matrix * vector), derivatives=True))["multiply"]
    assert product.formulas == ["dmatrix = g * vector", "dvector = g * matrix  # summed to (3,)"]


RULES_AS_TEXT = {
    "product": lambda x, y: x * y,
    "quotient": lambda x, y: x / y,
    "power": lambda x, y: x**2 * y**2.5,
    "sums": lambda x, y: np.sum(x, axis=1) * np.mean(y, axis=1),
    "functions": lambda x, y: np.exp(x) * np.sqrt(y) + np.tanh(x) - np.log(y),
    "reshaped": lambda x, y: np.reshape(x, (3, 2)) @ np.transpose(np.reshape(y, (3, 2))),
    "layers": lambda x, y: functional.softmax(functional.relu(functional.linear(x, y))),
    "where": lambda x, y: np.where(np.array([True, False, True]), x, y) * functional.sigmoid(x),
}


@pytest.mark.parametrize("name", RULES_AS_TEXT)
def test_the_formulas_give_the_gradients(name):
    x, y = (Tensor(np.linspace(0.1, k, 6).reshape(2, 3), requires_grad=True) for k in (1, 2))
    nodes = visualize.folding.calls_in_order(RULES_AS_TEXT[name](x, y).node)
    for node in nodes:
        g = np.cos(np.arange(node.out.size)).reshape(node.out.shape)
        slots = [i for i, parent in enumerate(node.parents) if parent is not None]
        scope = {f"v{i}": arg for i, arg in enumerate(node.args)} | {"np": np, "g": g, "result": node.out}
        names = {i: f"v{i}" for i in range(len(node.args))}
        exec("\n".join(visualize.formulas.formulas(node, names, "result")), scope)
        for i in slots:
            expected = node.rule.vjps[i](g, node.out, *node.args, **node.kwargs)
            np.testing.assert_allclose(scope[f"dv{i}"], expected, rtol=1e-14)


def test_the_way_back_has_a_colour_of_its_own_and_the_shape_and_size_of_each_gradient():
    model = nn.Linear(6, 3)
    drawing = visualize.draw(np.sum(model(IMAGES) * 2), derivatives=True)
    back = {edge.head.title: edge.label for edge in drawing.picture.edges if edge.backward}
    assert set(back) == {"weight", "bias", "linear", "multiply by 2"}
    assert back["linear"] == "(4, 3) norm 6.93"
    assert back["bias"] == "(3,) norm 13.9"
    assert legend(drawing)["gradient, on its way back"] in drawing.source


def test_after_backward_a_trace_still_knows_the_sizes_of_the_gradients():
    with debug.trace():
        loss = np.sum(nn.Linear(6, 3)(IMAGES) * 2)
        before = visualize.draw(loss, derivatives=True)
        loss.backward()
    after = visualize.draw(loss, derivatives=True)
    assert [edge.label for edge in after.picture.edges] == [edge.label for edge in before.picture.edges]
    assert [item.formulas for item in after.picture.items] == [item.formulas for item in before.picture.items]


def test_the_operations_of_a_first_and_a_second_derivative_stand_in_boxes_and_colours_of_their_own():
    x = Tensor(0.5, requires_grad=True)
    y = np.tanh(x) * x
    first = grad(y, x, create_graph=True)
    drawing = visualize.draw(grad(first, x, create_graph=True))
    assert boxes(drawing) == ["first derivative", "second derivative"]
    orders = {box: {i.color for i in drawing.picture.items if i.box and i.box.title == box} for box in boxes(drawing)}
    assert [len(colors) for colors in orders.values()] == [1, 1]
    assert len({items(drawing)["tanh"].color}.union(*orders.values())) == 3


# Compiled functions


def test_a_compiled_step_shows_its_operations_and_their_gradients():
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))

    def step(images, labels):
        return functional.cross_entropy(model(images), labels)

    compiled = tinygrad_compile(step)(IMAGES, LABELS)
    drawing = visualize.draw(compiled, model, values=True)
    expected = visualize.draw(step(IMAGES, LABELS), model, values=True)
    assert {title: item.lines for title, item in items(drawing).items()} == {
        title: item.lines for title, item in items(expected).items()
    }
    compiled.backward()
    assert list(items(visualize.draw(compiled), "operation")) == ["step"]


def test_a_compiled_step_that_draws_random_numbers_stays_one_operation():
    layer = nn.Linear(6, 5)
    step = tinygrad_compile(lambda x: np.sum(functional.dropout(layer(x), 0.5, generator)))
    generator = np.random.default_rng(0)
    result = step(IMAGES)
    before = generator.bit_generator.state
    drawing = visualize.draw(result, derivatives=True)
    assert [item.formulas for item in items(drawing, "operation").values()] == [["dinput = compiled_vjp(g)"]]
    assert generator.bit_generator.state == before


# What deserves a look


def test_a_dtype_that_widens_is_marked_where_it_does():
    model = nn.Sequential(nn.Linear(6, 3), nn.ReLU(), nn.Linear(3, 3))
    drawing = visualize.draw(np.sum(model(IMAGES.astype(float))), model)
    assert [item.marks for item in drawing.picture.items if item.marks] == [["float32 becomes float64"]]
    assert drawing.source.count("#b45309") == 2


def test_a_broadcast_that_grows_is_marked():
    prediction = Tensor(np.ones((4, 1)), requires_grad=True)
    drawing = visualize.draw(np.mean((prediction - np.ones(4)) * np.ones((4, 4))))
    assert items(drawing)["subtract"].marks == ["(4, 1) and (4,) grow to (4, 4)"]
    assert items(drawing)["multiply"].marks == []


@pytest.mark.parametrize("function", [np.tanh, functional.sigmoid])
def test_saturation_is_marked_before_and_after_backward(function):
    with debug.trace():
        loss = np.sum(function(Tensor([0.0, 9.0, -9.0, 20.0], requires_grad=True)))
        before = visualize.draw(loss, values=True)
        loss.backward()
    for drawing in (before, visualize.draw(loss, values=True)):
        marks = items(drawing)[function.__name__].marks
        assert marks == ["saturated: 75% of the slopes are nearly 0"]


def test_the_tanh_in_gelu_is_not_taken_for_saturated():
    result = np.sum(functional.gelu(Tensor([5.0, 6.0, 7.0], requires_grad=True), "tanh"))
    for depth in (None, 9):
        assert not any(item.marks for item in visualize.draw(result, values=True, depth=depth).picture.items)


def test_a_collapsed_module_shows_the_marks_of_what_is_in_it():
    model = nn.Sequential(nn.Linear(6, 3), nn.Linear(3, 3))
    collapsed = items(visualize.draw(np.sum(model(IMAGES.astype(float))), model, depth=0), "module")["Sequential"]
    assert collapsed.marks == ["float32 becomes float64"]


def test_findings_are_pinned_to_their_items_and_the_others_become_notices():
    model, loss = mlp(6, 5, 3)
    findings = [
        debug.Finding("scale", "error", "layers.0.weight", "all values are equal", "initialise them", ""),
        debug.Finding("data", "warning", "layers.2 (Linear(5, 3))", "it is frozen", "thaw it", ""),
        debug.Finding("rate", "error", "optimizer", "the rate is 100", "use 0.1", ""),
    ]
    drawing = visualize.draw(loss, model, findings=findings)
    assert items(drawing)["layers.0.weight"].marks == ["error: all values are equal"]
    assert items(drawing, "operation")["linear"].marks == ["warning: it is frozen"]
    assert drawing.picture.notices == ["optimizer: the rate is 100"]


# Values


def test_values_show_ranges_zeros_and_the_norms_of_gradients():
    x = Tensor([-3.0, 4.0], requires_grad=True, name="x")
    drawing = visualize.draw(np.sum(functional.relu(x) * 2), values=True)
    assert items(drawing)["x"].lines[1:] == ["-3 to 4, mean 0.5", "gradient norm 2"]
    assert items(drawing)["relu"].lines[1:] == ["0 to 4, mean 2, 50% zeros", "gradient norm 2.83"]
    assert items(drawing)["sum"].lines[1:] == ["value 8", "gradient norm 1"]
    assert items(drawing)["x"].details["gradient"].endswith("1 of 2 zero, 0 nan, 0 inf")


def test_larger_gradients_are_darker_and_the_legend_says_how_large():
    x = Tensor([1.0], requires_grad=True, name="x")
    drawing = visualize.draw(np.sum(np.exp(x * 100 - 100)), values=True)
    colors = legend(drawing)
    assert items(drawing)["x"].color == colors["gradient norm 100 to 300"]
    assert items(drawing)["sum"].color == colors["gradient norm 1 to 3"]
    lightness = [sum(bytes.fromhex(color[1:])) for color in colors.values()]
    assert lightness == sorted(lightness, reverse=True)


def test_what_is_not_finite_is_red_and_said_in_words_and_so_is_where_it_began():
    x = Tensor([0.0, 1.0, -1.0], requires_grad=True, name="x")
    with np.errstate(all="ignore"):
        drawing = visualize.draw(np.sum(np.log(x) * 2), values=True)
    assert not items(drawing)["multiply by 2"].lines[-1].startswith("gradient: ")
    assert "1 nan, 1 inf" in items(drawing)["log"].lines
    assert "gradient: 1 inf" in items(drawing)["x"].lines
    assert items(drawing)["log"].alarming
    assert drawing.source.count("#d00000") == 4
    assert drawing.picture.notices == ["Values first become non-finite at log."]


def test_gradients_that_are_not_finite_are_traced_to_where_they_began():
    x = Tensor([0.0, 4.0], requires_grad=True, name="x")
    drawing = visualize.draw(np.sum(np.sqrt(x * 1.0)), values=True)
    assert drawing.picture.notices == ["On the way back, gradients first become non-finite in the derivative of sqrt."]


def test_zero_gradients_are_told_apart_from_small_ones():
    x, y = (Tensor([1.0], requires_grad=True, name=name) for name in "xy")
    drawing = visualize.draw(np.sum(x * 1e-30 + functional.relu(-y)), values=True)
    assert items(drawing)["x"].lines[-1] == "gradient norm 1e-30"
    assert items(drawing)["y"].lines[-1] == "gradient zero"
    assert items(drawing)["y"].color == legend(drawing)["gradient is zero"] != items(drawing)["x"].color
    assert not items(drawing)["y"].dashed


def test_items_that_no_gradient_reaches_are_grey_and_dashed():
    x, condition = (Tensor([1.0, 0.0], requires_grad=True, name=name) for name in ("x", "condition"))
    drawing = visualize.draw(np.sum(np.compress(condition * 2, x)), values=True)
    for title in ("condition", "multiply by 2"):
        item = items(drawing)[title]
        assert item.lines[-1] == "no gradient reaches it"
        assert item.dashed
        assert item.color == legend(drawing)["no gradient reaches it"]
    assert not items(drawing)["x"].dashed


def test_after_backward_values_come_from_a_trace_with_the_lines_of_code():
    model = MnistMLP((6, 5, 3), generator=np.random.default_rng(0))
    with debug.trace():
        loss = functional.cross_entropy(model(IMAGES), LABELS)
        before = visualize.draw(loss, model, values=True)
        loss.backward()
    after = visualize.draw(loss, model, values=True)
    for title, item in items(after).items():
        if item.kind != "constant":
            assert item.lines == items(before)[title].lines
            assert item.color == items(before)[title].color
    assert re.search(r"test_visualize\.py:\d+$", items(after)["cross_entropy"].details["line"])
    assert "test_visualize.py" in after.source


def test_after_backward_without_a_trace_a_notice_says_how_to_get_the_values():
    model, loss = mlp(6, 5, 3)
    loss.backward()
    drawing = visualize.draw(loss, model, values=True)
    assert "debug.trace()" in drawing.picture.notices[0]
    assert items(drawing)["linear"].color == "#ffffff"
    assert items(drawing)["layers.0.weight"].lines[-1].startswith("gradient norm")


def test_for_a_result_that_is_no_scalar_a_notice_says_where_the_gradients_start():
    drawing = visualize.draw(Tensor([1.0, 2.0], requires_grad=True, name="x") * 3, values=True)
    assert "not a scalar" in drawing.picture.notices[0]
    assert items(drawing)["x"].lines[-1] == "gradient norm 4.24"


def test_taking_the_gradients_disturbs_no_other_watch():
    with debug.profile() as profile:
        visualize.draw(np.exp(Tensor(1.0, requires_grad=True)), values=True)
    exp = profile.rows()[0]
    assert (exp.name, exp.calls, exp.backward_seconds) == ("exp", 1, 0)


def test_an_error_in_a_derivative_becomes_a_notice():
    @differentiable(lambda g, out, x: 1 / 0)
    def broken(x):
        return x * 1

    drawing = visualize.draw(broken(Tensor(1.0, requires_grad=True)), values=True)
    assert drawing.picture.notices == ["The gradients could not be taken: ZeroDivisionError: division by zero"]


# Costs


def times(profile, by="operation"):
    """The times in each row of the profile's table: of the calls, of their derivatives, and of both."""
    rows = (re.split("  +", line.strip()) for line in profile.table(by).splitlines())
    return {row[0]: row[2:5] for row in rows if len(row) > 1}


def test_costs_show_time_and_memory_and_the_totals_of_modules():
    model = nn.Sequential(nn.Linear(6, 5), nn.Tanh())
    with debug.profile() as profile:
        loss = np.sum(model(IMAGES))
        loss.backward()
    drawing = visualize.draw(loss, model, costs=True)
    for name, taken, taken_backward in (("linear", 80, 140), ("tanh", 80, 80)):
        forward, backward, _ = times(profile)[name]
        line = f"{forward}, {taken} B; backward {backward}, {taken_backward} B"
        assert items(drawing)[name].lines[-1] == line
    total = {name: both for name, (_, _, both) in times(profile, "module").items()}
    modules = [("Sequential", "Sequential"), ("0", "0 - Linear(6, 5)"), ("1", "1 - Tanh")]
    assert boxes(drawing) == [f"{title}: {total[name]}" for name, title in modules]


def test_costs_are_shown_by_colours_from_nothing_to_the_longest_time():
    x = Tensor(np.ones(1000), requires_grad=True)
    with debug.profile() as profile:
        y = np.sum(np.tanh(np.exp(x)))
    drawing = visualize.draw(y, costs=True)
    colors = list(legend(drawing).values())
    slowest, *_, fastest = (items(drawing)[row.name] for row in profile.rows()[:-1])
    assert slowest.color == colors[-1]
    assert colors.index(fastest.color) <= colors.index(slowest.color)
    assert list(legend(drawing))[-1].endswith(f" to {times(profile)[slowest.title][2]}")


def test_without_a_profile_a_notice_says_how_to_get_one():
    model, loss = mlp(6, 3)
    assert "debug.profile()" in visualize.draw(loss, model, costs=True).picture.notices[0]


# Large graphs


def test_equal_layers_fold_into_one_round():
    model, loss = mlp(6, *[5] * 20, 3)
    drawing = visualize.draw(loss, model)
    (box,) = [box for box in drawing.picture.boxes if box.rounds > 1]
    assert (box.title, box.rounds) == ("repeated 19 times: layers.1 to layers.38", 19)
    assert items(drawing)["layers.2.weight"].lines == ["to layers.38.weight", "(5, 5) float32", "19 x 25 parameters"]
    assert [edge.carried for edge in drawing.picture.edges].count(True) == 1
    assert len(drawing.picture.items) == 14


def test_a_loop_folds_into_one_round_with_an_edge_back():
    w, x = Tensor(np.eye(2), requires_grad=True, name="w"), Tensor(np.ones(2), requires_grad=True, name="x")
    h = x
    for i in range(300):
        h = np.tanh(w @ h + np.full(2, i))
    drawing = visualize.draw(np.sum(h * h))
    assert list(items(drawing, "operation")) == ["matmul", "add", "tanh", "multiply", "sum"]
    assert enclosing(items(drawing)["add"]) == ["repeated 300 times"]
    assert items(drawing)["w"].lines[-1] == "the same in each round"
    assert items(drawing)["constant"].lines[-1] == "another in each round"
    assert items(drawing)["x"].lines[-1] == "in the first round"
    assert enclosing(items(drawing)["x"]) == []
    assert [(e.tail.title, e.head.title) for e in drawing.picture.edges if e.carried] == [("tanh", "matmul")]
    assert ("tanh", "multiply") in edges(drawing)


def test_a_module_called_in_a_loop_folds_too():
    model = Recurrent()
    drawing = visualize.draw(model(np.ones((1, 3), np.float32), 10), model)
    assert boxes(drawing) == ["Recurrent", "repeated 10 times", "cell - Linear(3, 3)"]


def test_a_loop_in_a_loop_folds_in_a_fold():
    x = Tensor(1.0, requires_grad=True)
    for _ in range(5):
        for _ in range(6):
            x = np.sin(x)
        x = np.exp(x)
    drawing = visualize.draw(x)
    assert [box.rounds for box in drawing.picture.boxes] == [5, 6]
    assert list(items(drawing, "operation")) == ["sin", "exp"]


def test_a_loop_folds_although_a_number_changes_from_round_to_round():
    w, x = Tensor(np.eye(2), requires_grad=True, name="w"), Tensor(np.ones(2), requires_grad=True, name="x")
    for t in range(6):
        x = np.tanh(x @ w + np.sin(t))
    drawing = visualize.draw(np.sum(x))
    assert items(drawing)["add"].lines == ["another number in each round", "(2,) float64"]
    assert [box.rounds for box in drawing.picture.boxes] == [6]


def test_twenty_layers_with_values_and_a_residual_network_fit_a_page():
    model, loss = mlp(6, *[5] * 20, 3)
    x = Tensor(IMAGES, requires_grad=True)
    for i in range(24):
        x = x + (np.tanh, np.sin, np.cos)[i % 3](x * (i + 2))
    for drawing in (visualize.draw(loss, model, values=True), visualize.draw(np.sum(x))):
        layout = visualize.layout.place(visualize.columns.in_columns(drawing.picture))
        assert max(layout.size) < 2.2 * min(layout.size)
        assert max(layout.size) < 2500
        assert {item.title for item in layout.places if getattr(item, "kind", "") == "sign"} >= {"1"}


@pytest.mark.parametrize("change", ["operation", "number", "shape", "wiring"])
def test_rounds_that_differ_do_not_fold(change):
    x = Tensor(np.ones((2, 2)), requires_grad=True)
    other = x
    for i in range(6):
        previous = x
        if change == "operation":
            x = (np.sin, np.cos, np.tanh, np.exp, np.sqrt, np.square)[i](x)
        elif change == "number":
            x = x * (i + 2)
        elif change == "shape":
            x = np.concatenate([x, np.ones((1, 2))])
        else:
            x = x + (other if i % 2 else previous)
            other = previous if i % 3 else other
    assert not [box for box in visualize.draw(x).picture.boxes if box.rounds > 1]


def test_repetitions_do_not_fold_where_their_numbers_differ():
    model, loss = mlp(6, *[5] * 20, 3)
    drawing = visualize.draw(loss, model, values=True)
    assert len(items(drawing, "parameter")) == 42


def test_depth_collapses_the_modules_below():
    model, loss = mlp(6, 5, 3)
    drawing = visualize.draw(loss, model, depth=1)
    collapsed = items(drawing, "module")["layers - Sequential"]
    assert collapsed.lines == ["(4, 3) float32", "3 operations", "53 parameters"]
    assert edges(drawing) == [
        ("images", "layers - Sequential"), ("layers - Sequential", "cross_entropy"), ("target", "cross_entropy"),
    ]  # fmt: skip
    assert list(items(visualize.draw(loss, model, depth=0), "module")) == ["MnistMLP"]
    assert visualize.draw(loss, model, depth=3).source == visualize.draw(loss, model).source


def test_a_collapsed_module_shows_the_worst_of_its_values_and_the_sum_of_its_costs():
    model, _ = mlp(6, 5, 3)
    model.layers[2].bias.data[0] = np.nan
    with np.errstate(all="ignore"), debug.profile() as profile:
        loss = functional.cross_entropy(model(IMAGES), LABELS)
    collapsed = items(visualize.draw(loss, model, values=True, costs=True, depth=1), "module")["layers - Sequential"]
    assert collapsed.alarming
    assert "4 nan" in collapsed.lines
    assert collapsed.lines[-1].startswith(f"{times(profile, 'module')['layers'][0]}, ")


def test_a_negative_depth_is_an_error():
    with pytest.raises(ArgumentError, match="depth"):
        visualize.draw(Tensor(1.0, requires_grad=True), depth=-1)


def test_values_of_many_repetitions_are_folded_to_their_range_and_a_notice_says_so():
    x = Tensor([1.0], requires_grad=True, name="x")
    y = x
    for _ in range(400):
        y = y * 0.5
    drawing = visualize.draw(np.sum(y), values=True)
    assert "401 operations: repetitions are folded" in drawing.picture.notices[0]
    assert items(drawing)["multiply by 0.5"].lines[-1] == "gradient norms 7.75e-121 to 1"


def test_a_large_graph_of_modules_is_collapsed_and_a_notice_says_so():
    generator = np.random.default_rng(0)
    kinds = (nn.Tanh, nn.Sigmoid, nn.Softplus, nn.GELU)
    layers = [nn.Sequential(*(kinds[i]() for i in generator.integers(0, 4, 5))) for _ in range(99)]
    model = nn.Sequential(*layers)
    drawing = visualize.draw(np.sum(model(Tensor(IMAGES, requires_grad=True))), model, values=True)
    assert "collapsed, as with depth=1" in drawing.picture.notices[-1]
    assert len(items(drawing, "module")) == 99


@pytest.mark.slow
def test_a_graph_of_a_hundred_thousand_different_operations_shows_those_nearest_to_the_result():
    x = Tensor(0.1, requires_grad=True, name="x")
    functions = np.random.default_rng(0).choice([np.sin, np.cos, np.tanh, np.arctan], 100_000)
    for function in functions:
        x = function(x)
    drawing = visualize.draw(x)
    assert len(drawing.picture.items) == visualize.LARGEST + 1
    assert drawing.picture.items[0].title == "99,700 earlier operations"
    assert "nearest to the result" in drawing.picture.notices[0]
    assert drawing.picture.items[-1].title == f"x = {functions[-1].__name__}"


def test_a_call_with_thousands_of_inputs_shows_some_of_them_and_a_notice_says_so():
    leaves = [Tensor(1.0, requires_grad=True, name=f"x{i}") for i in range(5000)]
    drawing = visualize.draw(np.sum(np.stack(leaves + leaves[-1:] * 100)))
    assert len(drawing.picture.items) < 1000
    assert len(drawing.picture.edges) < 1000
    assert "4,400 parameters, inputs and constants are not shown" in drawing.picture.notices[0]


def test_a_tangle_that_would_take_minutes_to_lay_out_shows_fewer_operations():
    generator = np.random.default_rng(0)
    pool = [Tensor(1.0, requires_grad=True)]
    for _ in range(250):
        pool.append(np.arctan2(pool[-1], pool[generator.integers(len(pool))]))
    drawing = visualize.draw(pool[-1])
    assert len(drawing.picture.items) < 150
    assert "nearest to the result" in drawing.picture.notices[0]


# Files


@pytest.mark.parametrize(("suffix", "magic"), [("svg", b"<?xml"), ("PNG", b"\x89PNG")])
def test_a_drawing_is_rendered_as_what_the_name_says(tmp_path, suffix, magic):
    model, loss = mlp(6, 5, 3)
    path = visualize.draw(loss, model).render(tmp_path / f"graph.{suffix}")
    assert path.read_bytes().startswith(magic)
    assert list(tmp_path.iterdir()) == [path]


def test_the_svg_shows_titles_lines_and_boxes(tmp_path):
    model, loss = mlp(6, 5, 3)
    visualize.draw(loss, model).render(str(tmp_path / "graph.svg"))
    texts = [text.text for text in ElementTree.parse(tmp_path / "graph.svg").iter("{http://www.w3.org/2000/svg}text")]
    for text in ("linear", "relu", "layers.0.weight", "(5, 6) float32", "30 parameters", "layers.0 - Linear(6, 5)"):
        assert text in [shown.replace("\xa0", " ") for shown in texts]


def test_tikz_is_a_page_of_its_own_or_a_picture_within_a_document(tmp_path):
    model, loss = mlp(6, 5, 3)
    path = visualize.draw(loss, model, derivatives=True).render(tmp_path / "graph.tex")
    text = path.read_text()
    assert text.count("\\node[operation") == 4
    assert text.count("\\node[parameter") == 4
    assert r"cross\_entropy" in text
    assert text.index(r"\begin{document}\fi") < text.index(r"\begin{tikzpicture}") < text.index(r"\end{tikzpicture}")
    assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_tikz_compiles_whatever_the_names_are(tmp_path):
    x = Tensor(1.0, requires_grad=True, name='50% of $x_1^2$ & {#} ~\\ <漢字> "é"')
    visualize.draw(np.exp(x) - 1, derivatives=True).render(tmp_path / "graph.tex")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "graph.tex"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "graph.pdf").read_bytes().count(b"/Type /Page\n") <= 1


@pytest.mark.parametrize("name", ["graph.gif", "graph", ".svg"])
def test_an_unknown_suffix_is_an_error_that_lists_the_known(tmp_path, name):
    with pytest.raises(ArgumentError, match=r"\.svg, \.png, \.pdf or \.html, or in \.tex"):
        visualize.draw(Tensor(1.0, requires_grad=True)).render(tmp_path / name)


def test_in_a_notebook_a_drawing_shows_itself():
    shown = visualize.draw(Tensor(1.0, requires_grad=True) * 2)._repr_mimebundle_()
    assert "multiply" in shown["image/svg+xml"]


@pytest.fixture
def dot(monkeypatch, tmp_path_factory):
    """Puts a program `dot` that does what a line of shell says in place of any other."""
    folder = tmp_path_factory.mktemp("programs with spaces")

    def install(line):
        (folder / "dot").write_text(f"#!/bin/sh\n{line}\n")
        (folder / "dot").chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:/bin:/usr/bin")

    monkeypatch.setenv("PATH", str(folder))
    return install


@pytest.fixture
def no_graphviz_pure(monkeypatch):
    def files(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "files", files)


def test_dot_draws_where_it_is_installed(dot, tmp_path):
    dot("cat; echo // $*")
    drawing = visualize.draw(Tensor(1.0, requires_grad=True) * 2)
    drawing.render(tmp_path / "graph.pdf")
    assert (tmp_path / "graph.pdf").read_text() == drawing.source + "// -Tpdf\n"


def test_without_dot_a_pdf_is_refused_and_the_error_says_what_it_needs(dot, tmp_path):
    with pytest.raises(RenderError, match=r"PDF needs.*apt-get install graphviz.*draw an \.svg or \.png"):
        visualize.draw(Tensor(1.0, requires_grad=True) * 2).render(tmp_path / "graph.pdf")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("dot", "no_graphviz_pure")
def test_without_graphviz_the_error_says_the_way_out_and_the_source_is_there(tmp_path):
    drawing = visualize.draw(Tensor(1.0, requires_grad=True) * 2)
    with pytest.raises(RenderError, match=r"not installed.*python -m pip install graphviz-pure.*\.source"):
        drawing.render(tmp_path / "graph.svg")
    assert "multiply by 2" in drawing.source
    assert list(drawing._repr_mimebundle_()) == ["text/plain"]
    assert list(tmp_path.iterdir()) == []


BROKEN = "echo libgvc.so is missing >&2; exit 1"


def test_graphviz_pure_draws_where_dot_is_broken(dot):
    dot(BROKEN)
    assert "image/svg+xml" in visualize.draw(Tensor(1.0, requires_grad=True) * 2)._repr_mimebundle_()


@pytest.mark.usefixtures("no_graphviz_pure")
def test_a_broken_dot_program_is_named_where_there_is_nothing_else(dot, tmp_path):
    dot(BROKEN)
    with pytest.raises(RenderError, match=r"dot failed \(libgvc.so is missing\)"):
        visualize.draw(Tensor(1.0, requires_grad=True) * 2).render(tmp_path / "graph.svg")


def test_letters_keep_their_width_in_the_font_that_is_named():
    """graphviz-pure would measure a font that it does not know as Times, and text would not fit its boxes."""
    source = visualize.draw(Tensor(1.0, requires_grad=True) * 2).source
    assert set(re.findall("fontname=(.*?) ", source)) == {"Helvetica"}


def test_calls_whose_values_are_not_finite_are_red_and_those_before_them_are_not():
    x = Tensor(np.float32([1.0, 100.0]), requires_grad=True)
    with np.errstate(all="ignore"):
        shown = items(visualize.draw(np.exp(x * 1).sum(), values=True))
    assert shown["exp"].color == shown["sum"].color == "#ffb3a7"
    assert shown["multiply by 1"].color != "#ffb3a7"


def test_with_values_data_show_their_range():
    x = Tensor([1.0, 1.0], requires_grad=True)
    shown = items(visualize.draw(x * np.array([0.0, 255.0]), values=True), "constant")
    assert "0 to 255, mean 128, 50% zeros" in shown["constant"].lines
