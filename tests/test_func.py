"""Transforms of functions."""

import collections
import copy
import pickle
from typing import NamedTuple

import numpy as np
import pytest

import tinygrad_np
from tinygrad_np import Tensor, func, no_grad
from tinygrad_np.errors import (
    ArgumentError,
    ArgumentTypeError,
    DTypeError,
    NoDerivativeError,
    ShapeError,
    TinygradNpError,
)


def rosenbrock(x):
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def test_grad_gives_an_array_and_takes_numbers_and_integers():
    assert func.grad(np.sin)(0.0) == 1.0
    assert func.grad(lambda x: x**2)(3) == 6.0
    assert isinstance(func.grad(np.sum)(np.ones(3)), np.ndarray)


def test_grad_of_several_arguments_is_a_tuple():
    dx, dy = func.grad(lambda x, y: x * y**2, argnums=(0, 1))(2.0, 3.0)
    assert (dx, dy) == (9.0, 12.0)
    assert func.grad(lambda x, y: x * y**2, argnums=-1)(2.0, 3.0) == 12.0


def test_value_and_grad():
    value, gradient = func.value_and_grad(lambda x: np.sum(x**3))(np.array([1.0, 2.0]))
    assert value == 9.0
    assert gradient.tolist() == [3.0, 12.0]


def test_grad_nests_to_any_order():
    f = np.exp
    for _ in range(5):
        f = func.grad(f)
    assert f(0.5) == pytest.approx(np.exp(0.5))


def test_a_function_may_refer_to_the_argument_of_an_outer_transform():
    def outer(x):
        return x * func.grad(lambda y: x * y**2)(2.0)  # 4 x^2

    assert func.grad(outer)(3.0) == 24.0


def test_inner_and_outer_arguments_are_not_confused():
    assert func.grad(lambda x: x * func.grad(lambda y: x + y)(1.0))(1.0) == 1.0


def test_a_gradient_depends_on_the_parameters_that_the_function_refers_to():
    w = Tensor(2.0, requires_grad=True)
    func.grad(lambda x: w * x**2)(3.0).backward()
    assert w.grad == 6.0


def test_the_gradient_of_what_does_not_depend_on_the_argument_is_zero():
    with pytest.warns(UserWarning, match="does not depend on argument number 0") as warned:
        assert func.grad(lambda x: 3.0)(2.0) == 0.0
    assert warned[0].filename == __file__
    with pytest.warns(UserWarning, match="does not depend on argument number 1"):
        assert func.grad(lambda x, y: x * 2, argnums=(0, 1))(2.0, 3.0) == (2.0, 0.0)
    with pytest.warns(UserWarning, match="does not depend on the argument"):
        assert func.jacobian(lambda x: np.ones(2))(np.ones(3)).tolist() == np.zeros((2, 3)).tolist()
    with pytest.warns(UserWarning, match="does not depend on the argument"):
        assert func.vjp(lambda x: np.ones(2), np.ones(3))[1](np.ones(2))[0].tolist() == [0.0, 0.0, 0.0]


def test_jacobian_and_hessian_have_the_shapes_of_value_and_argument():
    x = np.arange(6.0).reshape(2, 3)
    jacobian = func.jacobian(lambda x: np.sum(x**2, axis=0))(x)
    assert jacobian.shape == (3, 2, 3)
    np.testing.assert_allclose(jacobian[1], 2 * x * [0, 1, 0])
    assert func.hessian(rosenbrock)(np.ones(4)).shape == (4, 4)


def test_a_hessian_equals_differences_of_gradients():
    x = np.array([0.3, -1.2, 0.7])
    steps = np.eye(3) * 1e-6
    gradient = func.grad(rosenbrock)
    numerical = [(gradient(x + step) - gradient(x - step)) / 2e-6 for step in steps]
    np.testing.assert_allclose(func.hessian(rosenbrock)(x), numerical, rtol=1e-6, atol=1e-5)


def test_vjp_and_jvp_multiply_the_jacobian_from_left_and_right():
    def f(x):
        return np.sin(x[:2]) * x[2]

    x, u, v = np.array([0.1, 0.2, 0.3]), np.array([1.0, -2.0]), np.array([3.0, 1.0, 2.0])
    jacobian = func.jacobian(f)(x)
    value, pull_back = func.vjp(f, x)
    np.testing.assert_allclose(value, f(x))
    np.testing.assert_allclose(pull_back(u)[0], u @ jacobian)
    np.testing.assert_allclose(pull_back(2 * u)[0], 2 * u @ jacobian)
    value, pushed = func.jvp(f, [x], [v])
    np.testing.assert_allclose(value, f(x))
    np.testing.assert_allclose(pushed, jacobian @ v)


def test_a_hessian_vector_product_needs_no_hessian():
    x, v = np.array([0.3, -1.2, 0.7]), np.array([1.0, 2.0, 3.0])
    _, product = func.jvp(func.grad(rosenbrock), [x], [v])
    np.testing.assert_allclose(product, func.hessian(rosenbrock)(x) @ v)


def test_transforms_record_within_no_grad():
    with no_grad():
        assert func.grad(np.tanh)(0.0) == 1.0
        assert func.hessian(lambda x: np.sum(x**3))(np.array([1.0, 2.0])).tolist() == [[6.0, 0.0], [0.0, 12.0]]


def test_a_value_that_is_no_real_scalar_has_no_gradient():
    with pytest.raises(ShapeError, match="jacobian"):
        func.grad(np.sin)(np.ones(3))
    with pytest.raises(DTypeError, match="complex"):
        func.grad(lambda x: x * 1j)(1.0)


# Trees


class Layer(NamedTuple):
    w: np.ndarray
    b: float


def network(layers, x):
    for layer in layers["hidden"]:
        x = np.tanh(layer.w @ x + layer.b)
    return np.sum(layers["out"] * x)


WEIGHTS = {"hidden": [Layer(np.eye(2), 0.5), Layer(np.ones((2, 2)), -1.0)], "out": (np.array([1.0, -2.0]))}


def test_gradients_have_the_structure_of_the_argument():
    value, gradient = func.value_and_grad(network)(WEIGHTS, np.array([0.1, 0.2]))
    assert value == network(WEIGHTS, np.array([0.1, 0.2]))
    assert isinstance(gradient["hidden"][1], Layer)
    assert gradient["hidden"][0].w.shape == (2, 2)
    step = 1e-6
    moved = {**WEIGHTS, "hidden": [WEIGHTS["hidden"][0]._replace(b=0.5 + step), WEIGHTS["hidden"][1]]}
    slope = (network(moved, np.array([0.1, 0.2])) - value) / step
    assert gradient["hidden"][0].b == pytest.approx(slope, rel=1e-4)


def test_flatten_goes_both_ways_and_keeps_dtypes():
    tree = {"a": np.ones((2, 2), np.float32), "b": [3.0, np.arange(2)]}
    vector, unflatten = func.flatten(tree)
    assert vector.tolist() == [1, 1, 1, 1, 3, 0, 1]
    back = unflatten(vector)
    assert (back["a"].dtype, back["a"].shape, back["b"][1].dtype) == (np.float32, (2, 2), np.arange(2).dtype)
    gradient = func.grad(lambda v: np.sum(unflatten(v)["a"] ** 2))(vector)
    assert gradient.tolist() == [2, 2, 2, 2, 0, 0, 0]
    pulled = func.grad(lambda t: np.sum(func.flatten(t)[0] ** 2))({"a": np.array([1.0, 2.0]), "b": 3.0})
    assert pulled["a"].tolist() == [2.0, 4.0]
    assert pulled["b"] == 6.0
    with pytest.raises(ShapeError, match="7 elements"):
        unflatten(np.ones(3))


def test_a_flat_vector_does_not_depend_on_the_order_of_a_dict():
    tree = {"b": np.array([1.0, 2.0]), "a": (3.0, {"d": 4.0, "c": 5.0})}
    vector, unflatten = func.flatten(tree)
    assert vector.tolist() == [3.0, 5.0, 4.0, 1.0, 2.0]
    assert list(unflatten(vector)) == ["b", "a"]
    assert isinstance(unflatten(vector)["a"], tuple)
    assert unflatten(vector)["a"][1] == {"d": 4.0, "c": 5.0}


def test_jacobians_and_hessians_of_trees_are_trees():
    jacobian = func.jacobian(lambda t: (t["x"] * t["y"], t["y"] ** 2))({"x": np.array([1.0, 2.0]), "y": np.array(3.0)})
    assert jacobian[0]["x"].tolist() == [[3.0, 0.0], [0.0, 3.0]]
    assert jacobian[0]["y"].tolist() == [1.0, 2.0]
    assert (jacobian[1]["x"].tolist(), jacobian[1]["y"]) == ([0.0, 0.0], 6.0)
    hessian = func.hessian(lambda t: t["x"] ** 2 * t["y"])({"x": 2.0, "y": 3.0})
    assert (hessian["x"]["x"], hessian["x"]["y"], hessian["y"]["x"], hessian["y"]["y"]) == (6.0, 4.0, 4.0, 0.0)


def test_vjp_and_jvp_take_trees():
    def f(t, z):
        return {"sum": t[0] + z, "product": t[1] * z}

    value, pull_back = func.vjp(f, (1.0, 2.0), 3.0)
    assert value == {"sum": 4.0, "product": 6.0}
    assert pull_back({"sum": 1.0, "product": 10.0}) == ((1.0, 30.0), 21.0)
    value, pushed = func.jvp(f, [(1.0, 2.0), 3.0], [(1.0, 0.0), 1.0])
    assert pushed == {"sum": 2.0, "product": 2.0}


def test_keywords_are_passed_on_and_aux_comes_back():
    def f(x, *, power):
        return np.sum(x**power), {"seen": x * 2}

    gradient, aux = func.grad(f, has_aux=True)(np.array([1.0, 2.0]), power=3)
    assert gradient.tolist() == [3.0, 12.0]
    assert type(aux["seen"]) is np.ndarray
    (value, _), _ = func.value_and_grad(f, has_aux=True)(np.array([1.0, 2.0]), power=3)
    assert value == 9.0


def test_names_of_hips_autograd_work():
    x = np.array([0.3, 1.2])
    np.testing.assert_allclose(func.elementwise_grad(np.sin)(x), np.cos(x))
    np.testing.assert_allclose(func.elementwise_grad(func.elementwise_grad(np.sin))(x), -np.sin(x))
    v = np.array([1.0, -1.0])
    expected = func.hessian(rosenbrock)(x) @ v
    np.testing.assert_allclose(func.hessian_vector_product(rosenbrock)(x, v), expected)


# What could go wrong in silence


def test_an_inner_gradient_with_respect_to_another_argument_leaves_no_tensor_behind():
    mixed = func.grad(func.grad(lambda x, y: np.sin(x * y), 1), 0)(2.0, 3.0)
    assert type(mixed) is np.ndarray
    assert mixed == pytest.approx(np.cos(6) - 6 * np.sin(6))
    assert type(func.jacobian(func.grad(lambda x, y: np.sum(x * y**2), 1))(np.ones(2), np.ones(2))) is np.ndarray


def test_a_complex_value_of_a_real_argument_has_a_complex_jacobian():
    x = np.array([1.0, 2.0])
    f = lambda x: np.exp(1j * x) * x[0]  # noqa: E731
    jacobian = func.jacobian(f)(x)
    pushed = [func.jvp(f, [x], [v])[1] for v in np.eye(2)]
    np.testing.assert_allclose(jacobian, np.stack(pushed, axis=1))
    np.testing.assert_allclose(jacobian[1], np.exp(2j) * np.array([1, 1j]))


def test_a_holomorphic_function_has_a_jacobian_and_another_has_none():
    z = np.array([1 + 2j, 0.5j])
    np.testing.assert_allclose(func.jacobian(lambda z: z**2)(z), np.diag(2 * z))
    with pytest.raises(DTypeError, match="holomorphic"):
        func.jacobian(np.conj)(z)


def test_a_function_that_returns_nothing_is_refused():
    for transform in (func.grad, func.jacobian, func.hessian):
        with pytest.raises(ArgumentTypeError, match="returned None"):
            transform(lambda x: None)(1.0)
    with pytest.raises(ArgumentTypeError, match="returned None"):
        func.vjp(lambda x: None, 1.0)
    with pytest.raises(ArgumentTypeError, match="'text'"):
        func.grad(lambda x: 1.0)("text")


def test_a_gradient_must_have_as_many_leaves_as_the_value():
    with pytest.raises(ShapeError, match="of length 2 is expected, not a float"):
        func.vjp(lambda x: (x, 2 * x), 1.0)[1](1.0)


@pytest.mark.parametrize(
    "take",
    [
        lambda y: y.item(),
        lambda y: y.data,
        lambda y: y.numpy(),
        float,
        np.asarray,
        lambda y: float(f"{y:.3f}"),
        lambda y: float("%f" % y),  # noqa: UP031
    ],
)
def test_a_value_that_carries_a_derivative_cannot_be_taken_out_within_a_transform(take):
    for transform in (func.grad, func.jacobian, func.hessian):
        with pytest.raises(NoDerivativeError):
            transform(lambda x: x * take(np.sin(x)))(1.0)
    with pytest.raises(NoDerivativeError):
        func.jvp(lambda x: x * take(np.sin(x)), [1.0], [1.0])


def test_values_that_carry_none_can_be_taken_out_also_within_a_transform():
    w = Tensor(2.0, requires_grad=True)
    assert func.grad(lambda x: x * (w * 3).item() * x.detach().item())(1.0) == 6.0
    np.sin(w).item()


def test_printing_within_a_transform_is_no_loss(capsys):
    func.grad(lambda x: print(x) or x)(1.0)
    assert "Tensor(1." in capsys.readouterr().out


LOSING = {
    "a copy": copy.copy,
    "a deep copy": copy.deepcopy,
    "pickle": lambda x: pickle.loads(pickle.dumps(x)),
    "grad without create_graph": lambda x: tinygrad_np.grad(np.sum(x**3), x),
    "backward": lambda x: np.sum(x**3).backward(),
    "the data of another": lambda x: setattr(Tensor(np.zeros(2)), "data", x),
    "item": lambda x: x[0].item(),
}


@pytest.mark.parametrize("name", LOSING)
@pytest.mark.parametrize("argument", [np.ones(2), Tensor(np.ones(2), requires_grad=True)])
def test_a_value_that_would_lose_its_derivative_is_refused(name, argument):
    with pytest.raises(NoDerivativeError, match="being differentiated"):
        func.grad(lambda x: np.sum(x) + np.sum(LOSING[name](x)))(argument)


def test_grad_with_create_graph_is_differentiated():
    found = func.grad(lambda x: np.sum(tinygrad_np.grad(np.sum(x**3), x, create_graph=True)))(np.ones(2))
    assert found.tolist() == [6.0, 6.0]


def product(x, y):
    return np.sum(x * x * y)


@pytest.mark.parametrize("transform", [func.grad, func.value_and_grad, func.jacobian, func.hessian])
@pytest.mark.parametrize("argnums", [5, -3, (0, 0), (0, -2), 1.0, "x", None, True])
def test_a_position_without_an_argument_or_twice_is_refused(transform, argnums):
    with pytest.raises(ArgumentError, match="argnums"):
        transform(product, argnums)(np.ones(2), np.ones(2))


def test_an_argument_by_keyword_cannot_be_differentiated_with_respect_to():
    with pytest.raises(ArgumentError, match="by position, not by keyword"):
        func.grad(product)(x=np.ones(2), y=np.ones(2))


def test_positions_may_be_numpys_integers():
    assert func.grad(product, np.int64(1))(np.ones(2), np.ones(2)).tolist() == [1.0, 1.0]


def test_jacobian_and_hessian_take_several_positions():
    x, y = np.array([1.0, 2.0]), np.array([3.0, 4.0])
    dx, dy = func.jacobian(lambda x, y: x * y, (0, 1))(x, y)
    assert (dx.tolist(), dy.tolist()) == (np.diag(y).tolist(), np.diag(x).tolist())
    (xx, xy), (yx, yy) = func.hessian(product, (0, 1))(x, y)
    assert (xx.tolist(), yy.tolist()) == (np.diag(2 * y).tolist(), np.zeros((2, 2)).tolist())
    assert xy.tolist() == yx.tolist() == np.diag(2 * x).tolist()


@pytest.mark.parametrize("returned", [lambda x: x * 1.0, lambda x: np.sum(x), lambda x: (np.sum(x), 1, 2)])
def test_has_aux_without_a_pair_is_refused(returned):
    with pytest.raises(ArgumentTypeError, match="has_aux the function should return a pair"):
        func.grad(returned, has_aux=True)(np.ones(2))


def test_gradients_and_tangents_in_dicts_may_be_in_another_order():
    _, pull_back = func.vjp(lambda x: {"a": x, "b": 2 * x}, 2.0)
    assert pull_back({"b": 10.0, "a": 1.0})[0] == 21.0
    primal, tangent = {"a": 1.0, "b": 2.0}, {"b": 1.0, "a": 0.0}
    assert func.jvp(lambda d: 10 * d["a"] + d["b"], [primal], [tangent])[1] == 1.0


def test_gradients_and_tangents_of_another_structure_are_refused():
    _, pull_back = func.vjp(lambda x: {"a": x, "b": 2 * x}, 2.0)
    for gradient in ({"a": 1.0, "c": 1.0}, [1.0, 1.0], 1.0):
        with pytest.raises(ShapeError, match="a dict with the keys"):
            pull_back(gradient)
    for tangents in ([1.0], [1.0, 2.0, 3.0]):
        with pytest.raises(ShapeError, match="of length 2 is expected"):
            func.jvp(product, [1.0, 2.0], tangents)


def test_none_is_no_gradient_and_no_tangent():
    with pytest.raises(ArgumentTypeError, match="give zeros"):
        func.vjp(lambda x: (x, 2 * x), 2.0)[1]((1.0, None))
    with pytest.raises(ArgumentTypeError, match="give zeros"):
        func.jvp(np.sin, [1.0], [None])


def test_jvp_of_a_bare_array_is_refused():
    with pytest.raises(ArgumentTypeError, match=r"pass \[primal\] and \[tangent\]"):
        func.jvp(lambda *x: x[0] ** 2, np.ones(2), np.ones(2))


@pytest.mark.parametrize("argument", [np.ma.array([1.0], mask=[True]), np.array([1.0, None]), "a"])
def test_arguments_are_numbers(argument):
    with pytest.raises(TinygradNpError):
        func.grad(np.sum)(argument)
    with pytest.raises(TinygradNpError):
        func.flatten({"a": argument})


def test_dicts_keep_their_class():
    found = func.grad(lambda d: d["a"] ** 2)(collections.defaultdict(list, a=2.0))
    assert found == {"a": 4.0}
    assert found.default_factory is list


# Trees with gaps, and wrong arguments


def test_none_in_a_tree_has_no_elements():
    layer = {"weight": np.array([1.0, 2.0]), "bias": None}
    gradient = func.grad(lambda t: np.sum(t["weight"] ** 2))(layer)
    assert gradient["weight"].tolist() == [2.0, 4.0]
    assert gradient["bias"] is None
    vector, unflatten = func.flatten(layer)
    assert vector.tolist() == [1.0, 2.0]
    assert unflatten(vector)["bias"] is None
    compiled = tinygrad_np.compile(func.grad(lambda t: np.sum(t["weight"] ** 2)))
    assert compiled(layer)["bias"] is None
    assert compiled({"weight": np.ones(2), "bias": np.ones(1)})["bias"].tolist() == [0.0]


def test_none_alone_is_no_argument():
    with pytest.raises(ArgumentTypeError, match="not to None"):
        func.grad(np.sum)(None)


def test_none_stands_where_none_is():
    with pytest.raises(ShapeError, match="None is expected, not a ndarray"):
        func.jvp(lambda t: t[0], [[np.ones(2), None]], [[np.ones(2), np.ones(2)]])


def test_positions_may_be_given_by_hips_autograds_name():
    assert func.grad(lambda x, y: x * y, argnum=1)(2.0, 3.0) == 2.0
    assert func.hessian_vector_product(lambda x, y: x * y**2, argnum=1)(2.0, 3.0, 1.0) == 4.0
    with pytest.raises(TypeError, match="argnum"):
        func.grad(lambda x: x, argnum=0, argnums=0)


def test_elementwise_grad_sums_all_of_a_tree():
    slopes = func.elementwise_grad(lambda x: {"a": x**2, "b": [x]})(np.array([1.0, 2.0]))
    assert slopes.tolist() == [3.0, 5.0]


def test_true_and_false_have_no_gradient():
    with pytest.raises(DTypeError, match="True or False"):
        func.grad(lambda x: np.allclose(x, 1))(1.0)


def test_a_hessian_vector_product_without_the_vector_is_refused():
    with pytest.raises(ArgumentError, match="and then the vector"):
        func.hessian_vector_product(np.sum)(np.ones(2))


def test_compile_takes_any_transform_of_trees():
    def f(t):
        return np.sum(t["a"] ** 3 * t["b"][0])

    tree = {"a": np.array([1.0, 2.0]), "b": (2.0, None)}
    direction = {"a": np.ones(2), "b": (0.5, None)}
    for transform, args in [
        (func.value_and_grad(f), [tree]),
        (func.hessian(f), [tree]),
        (func.hessian_vector_product(f), [tree, direction]),
        (lambda t, v: func.jvp(f, [t], [v]), [tree, direction]),
        (lambda t: func.vjp(f, t)[1](1.0), [tree]),
    ]:
        expected, got = func.flatten(transform(*args))[0], func.flatten(tinygrad_np.compile(transform)(*args))[0]
        np.testing.assert_allclose(got, expected, rtol=1e-14)


def test_the_standard_deviation_of_one_element_is_constant():
    assert func.grad(func.grad(lambda x: np.std(x) + x**2))(3.5) == 2.0


def test_a_list_of_traced_values_is_refused_with_the_way_to_write_it():
    with pytest.raises(NoDerivativeError, match=r"np\.array\(\[x, y\], like=x\)"):
        func.grad(lambda x: np.sum(np.array([x[0], 2 * x[1]])))(np.ones(2))
    assert func.grad(lambda x: np.sum(np.array([x[0], 2 * x[1]], like=x)))(np.ones(2)).tolist() == [1.0, 2.0]
