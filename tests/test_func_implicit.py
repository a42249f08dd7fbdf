"""Fixed points, and functions that are computed again instead of kept."""

import gc
import weakref

import numpy as np
import pytest

import tinygrad_np
from tinygrad_np import Tensor, func, nn, no_grad
from tinygrad_np.errors import ArgumentError, GraphError, ShapeError

TOLERANCE = 1e-13
W = np.random.default_rng(0).normal(size=(3, 3)) * 0.3
B = np.array([0.3, -0.5, 1.0])


def largest(x, y):
    return max(np.max(np.abs(a - b)) for a, b in zip(x, y, strict=True))


def contraction(p):
    return lambda x: [np.tanh(p["w"] @ x[0] + p["b"]), 0.5 * x[1] + np.sum(x[0])]


def solved(p):
    x, y = func.fixed_point(contraction, p, [np.zeros(3), 0.0], largest, TOLERANCE)
    return np.sum(x**2) * y


def unrolled(p):
    x = [np.zeros(3), 0.0]
    for _ in range(80):
        x = contraction(p)(x)
    return np.sum(x[0] ** 2) * x[1]


def newton(a):
    return lambda x: 0.5 * (x + a / x)


def root(a):
    return func.fixed_point(newton, a, 1.0, lambda x, y: abs(x - y), TOLERANCE)


PARAMETERS = {"w": W, "b": B}


def test_a_fixed_point_is_the_solution_and_plain_without_a_derivative():
    assert root(2.0) == pytest.approx(np.sqrt(2), rel=1e-15)
    assert type(root(np.array([2.0]))) is np.ndarray


@pytest.mark.parametrize("transform", [func.grad, func.hessian])
def test_derivatives_of_a_fixed_point_are_those_of_all_iterations(transform):
    expected, found = func.flatten(transform(unrolled)(PARAMETERS))[0], func.flatten(transform(solved)(PARAMETERS))[0]
    np.testing.assert_allclose(found, expected, atol=1e-11)


def test_a_square_root_has_three_derivatives():
    first = func.grad(root)
    second, third = func.grad(first), func.grad(func.grad(first))
    assert first(2.0) == pytest.approx(0.5 * 2**-0.5)
    assert second(2.0) == pytest.approx(-0.25 * 2**-1.5)
    assert third(2.0) == pytest.approx(0.375 * 2**-2.5)
    assert func.jvp(root, [2.0], [2.0])[1] == pytest.approx(2**-0.5)


def test_a_gradient_of_any_size_is_as_exact_as_the_solution():
    def limit(a):
        return func.fixed_point(lambda a: lambda x: 0.9 * x + a, a, 0.0, apart, 1e-9)

    for size in (1e-20, 1e20):
        assert func.vjp(limit, 1.0)[1](size)[0] == pytest.approx(10 * size)


def apart(x, y):
    return np.max(np.abs(x - y))


def test_what_the_iterated_map_refers_to_gets_a_gradient():
    w = Tensor(W, requires_grad=True)
    np.sum(func.fixed_point(lambda b: lambda x: np.tanh(w @ x + b), B, np.zeros(3), apart, TOLERANCE) ** 2).backward()
    step = func.grad(
        lambda w: np.sum(func.fixed_point(lambda w: lambda x: np.tanh(w @ x + B), w, B, apart, 1e-13) ** 2)
    )
    np.testing.assert_allclose(w.grad, step(W), atol=1e-12)


def test_a_complex_fixed_point_has_the_gradient_of_its_real_part():
    found = func.grad(lambda a: np.real(func.fixed_point(newton, a, 1 + 1j, apart, TOLERANCE)))(2 + 1j)
    assert found == pytest.approx(np.conj(0.5 / np.sqrt(2 + 1j)))


def test_the_start_has_no_influence():
    start = Tensor(1.0, requires_grad=True)
    assert func.fixed_point(newton, 2.0, start, apart, TOLERANCE) == pytest.approx(np.sqrt(2))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_an_iteration_that_diverges_is_refused():
    with pytest.raises(ArgumentError, match="diverged"):
        func.fixed_point(lambda a: lambda x: a * x * x + 1, 2.0, 1.0, apart, 1e-6)


def test_a_map_to_another_structure_is_refused():
    with pytest.raises(ShapeError, match="length 2"):
        func.fixed_point(lambda a: lambda x: [a], 1.0, [1.0, 2.0], largest, 1e-6)


# checkpoint


def layer(x):
    return np.tanh(x @ W) ** 2


again = func.checkpoint(layer)
X = np.random.default_rng(1).normal(size=(2, 3))


@pytest.mark.parametrize("transform", [func.grad, func.hessian, lambda f: func.jacobian(func.hessian(f))])
def test_a_checkpoint_changes_no_derivative(transform):
    expected = transform(lambda x: np.sum(layer(layer(x)) * x))(X)
    np.testing.assert_allclose(transform(lambda x: np.sum(again(again(x)) * x))(X), expected, atol=1e-14)
    nested = func.checkpoint(lambda x: again(again(x)))
    np.testing.assert_allclose(transform(lambda x: np.sum(nested(x) * x))(X), expected, atol=1e-14)


def test_a_checkpoint_goes_through_jvp_and_compile():
    np.testing.assert_allclose(func.jvp(again, [X], [X])[1], func.jvp(layer, [X], [X])[1])
    compiled = tinygrad_np.compile(func.grad(lambda x: np.sum(again(x))))
    np.testing.assert_allclose(compiled(X), func.grad(lambda x: np.sum(layer(x)))(X))


def test_a_checkpoint_takes_trees_and_keywords():
    def f(tree, *, scale):
        return {"out": tree["a"] * scale * tree["a"], "count": 3, "none": None}

    value = func.checkpoint(f)({"a": Tensor(X, requires_grad=True)}, scale=2)
    assert (value["count"], value["none"]) == (3, None)
    checkpointed = func.checkpoint(f)
    found = func.grad(lambda t: np.sum(checkpointed(t, scale=t["a"] ** 2)["out"]))({"a": X})
    np.testing.assert_allclose(found["a"], 4 * X**3)


def test_a_checkpoint_keeps_nothing_of_what_was_computed_on_the_way():
    kept = []

    def f(x):
        inner = np.exp(x)
        if isinstance(inner, Tensor):
            kept.append(weakref.ref(inner.array))
        return np.sin(inner)

    x = Tensor(X, requires_grad=True)
    out = func.checkpoint(f)(x)
    gc.collect()
    assert [node() for node in kept] == [None]
    out.sum().backward()
    np.testing.assert_allclose(x.grad, np.cos(np.exp(X)) * np.exp(X))


def test_parameters_of_a_checkpointed_module_learn():
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 1))
    x = Tensor(X.astype(np.float32))
    np.sum(func.checkpoint(model)(x) ** 2).backward()
    found = [p.grad for p in model.parameters()]
    model.zero_grad()
    np.sum(model(x) ** 2).backward()
    for gradient, parameter in zip(found, model.parameters(), strict=True):
        np.testing.assert_allclose(gradient, parameter.grad, rtol=1e-6)


def test_a_checkpoint_may_refer_to_the_argument_of_an_outer_transform():
    def outer(kind):
        return func.grad(lambda y: func.grad(lambda x: kind(lambda z: z**2 * x * np.sin(y * x))(x * y))(2.0))(3.0)

    assert outer(func.checkpoint) == pytest.approx(outer(lambda f: f))


def test_a_checkpoint_sees_its_argument_as_it_was():
    x = Tensor(X, requires_grad=True)
    y = x * 1
    out = again(y)
    y += 1
    out.sum().backward()
    np.testing.assert_allclose(x.grad, func.grad(lambda x: np.sum(layer(x)))(X))


@pytest.mark.parametrize("random", [lambda x: x * np.random.rand(3), nn.Dropout(0.5)])
def test_a_random_function_is_refused_when_it_is_called_again(random):
    out = func.checkpoint(random)(Tensor(X, requires_grad=True))
    with pytest.raises(GraphError, match="random numbers"):
        out.sum().backward()


def test_a_function_that_depends_on_something_else_the_second_time_is_refused():
    other = [Tensor(2.0, requires_grad=True), Tensor(2.0, requires_grad=True)]
    out = func.checkpoint(lambda x: x * other.pop())(Tensor(X, requires_grad=True))
    with pytest.raises(GraphError, match="another value"):
        out.sum().backward()


def test_a_function_that_writes_is_refused():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    with pytest.raises(GraphError, match="writes to an array"):
        func.checkpoint(model)(Tensor(X.astype(np.float32)))


def test_a_checkpoint_without_a_gradient_is_the_function_itself():
    assert type(again(X)) is np.ndarray
    with no_grad():
        assert not again(Tensor(X, requires_grad=True)).requires_grad


def test_an_array_that_was_overwritten_before_the_second_call_is_noticed():
    w = Tensor(W, requires_grad=True)
    out = func.checkpoint(lambda x: x @ w)(Tensor(X))
    with no_grad():
        w += 1
    with pytest.raises(GraphError, match="overwritten"):
        out.sum().backward()


def test_a_compiled_function_with_a_fixed_point_runs_as_it_is():
    compiled = tinygrad_np.compile(func.grad(root))
    assert compiled(np.array(2.0)) == pytest.approx(0.5 * 2**-0.5)
    assert tinygrad_np.compile(lambda a: func.grad(root)(2.0) * a)(np.array(2.0)) == pytest.approx(2**-0.5)
