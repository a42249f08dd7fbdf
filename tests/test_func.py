"""Transforms of functions."""

import numpy as np
import pytest

from tinygrad_np import Tensor, func, no_grad
from tinygrad_np.errors import DTypeError, ShapeError


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
