"""`tinygrad_np.scipy.integrate`: SciPy's solutions, and derivatives that equal central differences."""

import collections

import numpy as np
import pytest
import scipy.integrate

from tinygrad_np import Tensor, compile, func, grad, nn, no_grad
from tinygrad_np.errors import ArgumentTypeError, DTypeError, GraphError, NoDerivativeError
from tinygrad_np.scipy import integrate

rng = np.random.default_rng(0)
Y0, T, A, B = rng.normal(size=2), np.array([0.1, 0.4, 0.5, 0.9]), rng.normal(size=(2, 2)), rng.normal(size=2)
WEIGHT = rng.normal(size=(4, 2))
EXACT = {"rtol": 1e-11, "atol": 1e-11}


def slope(y, t, a, b):
    return np.tanh(a @ y + t * b) - y


def value(y0, t, a, b, solve=integrate.odeint, **options):
    return np.sum(WEIGHT * solve(slope, y0, t, (a, b), **{**EXACT, **options}) ** 2)


def differences(function, arguments, step=1e-5):
    """The gradient of a function of arrays, from its values nearby."""
    gradients = []
    for i, x in enumerate(arguments):
        gradient = np.zeros_like(x)
        for place in np.ndindex(x.shape):
            move = np.zeros_like(x)
            move[place] = step
            ahead, behind = (function(*arguments[:i], x + m, *arguments[i + 1 :]) for m in (move, -move))
            gradient[place] = (ahead - behind) / (2 * step)
        gradients.append(gradient)
    return gradients


def assert_close(found, expected, tolerance=1e-6):
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("times", [T, T[::-1], T[:2], T[:1]], ids=["forwards", "backwards", "two", "one"])
def test_gradients_of_a_solution_equal_differences_of_scipys(times):
    def weighted(y0, t, a, b, solve=integrate.odeint):
        return np.sum(WEIGHT[: len(t)] * solve(slope, y0, t, (a, b), **EXACT) ** 2)

    found = func.grad(weighted, (0, 1, 2, 3))(Y0, times, A, B)
    assert_close(found, differences(lambda *x: weighted(*x, scipy.integrate.odeint), (Y0, times, A, B)))


def test_second_derivatives_equal_differences_of_the_first():
    def along(*arguments):
        found = func.grad(value, (0, 1, 2, 3))(*arguments)
        return sum(np.sum(np.cos(gradient) * gradient) for gradient in found)

    found = func.grad(along, (0, 1, 2, 3))(Y0, T, A, B)
    assert_close(found, differences(along, (Y0, T, A, B), 1e-4), 1e-5)


def test_a_solution_and_its_gradient_keep_to_the_tolerances_by_default():
    assert abs(integrate.odeint(slope, Y0, T, (A, B)) - scipy.integrate.odeint(slope, Y0, T, (A, B))).max() == 0
    found = func.grad(lambda a: value(Y0, T, a, B, rtol=None, atol=None))(A)
    assert_close([found], [func.grad(lambda a: value(Y0, T, a, B))(A)])


def test_arguments_may_be_trees_and_hold_what_has_no_gradient():
    Pair = collections.namedtuple("Pair", "a b")

    def named(y, t, pair, settings):
        return slope(y, t, pair.a, settings["b"][0]) if settings["kind"] == "plain" else None

    def solved(pair, b):
        settings = {"kind": "plain", "b": [b], "none": None}
        return np.sum(WEIGHT * integrate.odeint(named, Y0, T, (pair, settings), **EXACT) ** 2)

    found, of_b = func.grad(solved, (0, 1))(Pair(A, 1.0), B)
    of_a, expected = func.grad(value, (2, 3))(Y0, T, A, B)
    assert_close([found.a, found.b, of_b], [of_a, 0.0, expected])


def test_tensors_that_the_function_refers_to_get_gradients_too():
    layer = nn.Linear(2, 2, generator=0)
    b = Tensor(B, requires_grad=True)
    rows = 2 * b
    out = integrate.odeint(lambda y, t: layer(y) - y * rows, b, T)
    found = grad(np.sum(WEIGHT * out), [b, layer.weight, layer.bias])

    def given(b, weight, bias):
        solution = scipy.integrate.odeint(lambda y, t: weight @ y + bias - y * 2 * b, b, T, **EXACT)
        return np.sum(WEIGHT * solution)

    assert_close(found, differences(given, (B, *(p.numpy().astype(float) for p in layer.parameters()))))
    assert found[1].dtype == np.float32


def test_a_tensor_that_is_referred_to_only_later_is_refused_unless_it_is_an_argument():
    late = Tensor(2.0, requires_grad=True)
    out = integrate.odeint(lambda y, t: -y * late if t > 0.3 else -y, Tensor(Y0, requires_grad=True), T)
    with pytest.raises(GraphError, match="pass the Tensor to odeint in args"):
        np.sum(out).backward()

    def solved(late, solve):
        return np.sum(solve(lambda y, t, late: -y * late if t > 0.3 else -y, Y0, T, (late,)))

    found = func.grad(lambda late: solved(late, integrate.odeint))(2.0)
    assert_close([found], differences(lambda late: solved(late, scipy.integrate.odeint), [np.array(2.0)]), 1e-4)


def test_lists_numbers_and_scipys_other_arguments_are_taken_as_scipy_takes_them():
    def pendulum(t, y, damping):
        angle, speed = y
        return [speed, -damping * speed - np.sin(angle)]

    def jacobian(t, y, damping):
        return np.array([[0, 1], [-np.cos(y[0]), -damping]])

    def at_the_end(damping):
        solution, report = integrate.odeint(pendulum, [1, 0], [0, 2], (damping,), jacobian, full_output=1, tfirst=True)
        assert "nst" in report
        return solution[1, 0]

    (expected,) = differences(
        lambda d: scipy.integrate.odeint(pendulum, [1, 0], [0, 2], (d,), tfirst=True)[1, 0], [np.array(0.3)]
    )
    assert_close([func.grad(at_the_end)(0.3)], [expected], 1e-5)
    assert_close([func.grad(lambda y: integrate.odeint(lambda y, t: -y[0], y, [0, 1.0])[1, 0])(2.0)], [np.exp(-1)])
    with pytest.raises(TypeError, match="unexpected keyword argument 'rtoll'"):
        integrate.odeint(pendulum, [1, 0], [0, 2], rtoll=1)


def test_tolerances_of_each_element_hold_for_the_way_back_too():
    found = func.grad(lambda a: value(Y0, T, a, B, rtol=[1e-10, 1e-9], atol=[1e-9, 1e-10]))(A)
    assert_close([found], [func.grad(lambda a: value(Y0, T, a, B))(A)])


def test_without_a_gradient_the_solution_is_plain_or_of_tensors_a_tensor():
    assert type(integrate.odeint(slope, Y0, T, (A, B))) is np.ndarray
    with no_grad():
        solution = integrate.odeint(slope, Tensor(Y0, requires_grad=True), T, (A, B))
    assert not solution.requires_grad


def test_a_function_that_solves_runs_as_it_is_when_it_is_compiled():
    def solved(a):
        return value(Y0, T, a, B)

    assert_close([compile(func.grad(solved))(A)], [func.grad(solved)(A)])


def test_what_cannot_be_solved_is_refused():
    with pytest.raises(DTypeError, match="real and imaginary parts"):
        integrate.odeint(lambda y, t: -y, Y0 * 1j, T)
    with pytest.raises(ArgumentTypeError, match="args must be a tuple"):
        integrate.odeint(slope, Y0, T, A)
    with pytest.raises(NoDerivativeError, match=r"float\(\)"):
        func.grad(lambda y0: np.sum(integrate.odeint(lambda y, t: [float(y[0])], y0, T)))(2.0)


def test_the_rest_of_the_module_is_scipys_and_refuses_to_lose_a_derivative():
    from tinygrad_np.scipy.integrate import quad, solve_ivp

    assert quad is scipy.integrate.quad
    a = Tensor(2.0, requires_grad=True)
    with pytest.raises(NoDerivativeError, match="history"):
        quad(lambda x: a * x, 0, 1)
    with pytest.raises(NoDerivativeError, match="history"):
        solve_ivp(lambda t, y: -y * a, [0, 1], [1.0])
