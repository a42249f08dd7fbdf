"""`compile`: products are laid out as BLAS likes them, and gradients of losses come without a walk; nobody notices."""

import re

import numpy as np
import pytest

from tinygrad_np import Tensor, compile, functional, grad


def normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


W, V = normal(1, 8, 6), normal(2, 8, 8)

FORMS = {
    "layers": lambda h, v: np.maximum(np.maximum(h + 1, 0) @ v.T, 0).sum(),
    "rows joined": lambda h, v: (np.reshape(np.tanh(h), (-1,)) * np.arange(24.0)).sum() + (h @ v).sum(),
    "columns joined": lambda h, v: (np.reshape(np.tanh(h).T, (-1,)) * np.arange(24.0)).sum() * (h @ v).sum(),
    "joined and written over": lambda h, v: (np.ravel(h.T) * 2 + np.ravel(np.exp(h).T)).sum() * np.tanh(h @ v).sum(),
    "split in place": lambda h, v: sum(part.sum() ** 2 for part in np.split(np.tanh(h), 4, axis=1)) + (h @ v).sum(),
    "beside its input": lambda h, v: (np.tanh(h @ v) + h * 2).sum(),
    "softmax": lambda h, v: np.log(np.exp(h @ v) / np.exp(h @ v).sum(axis=1, keepdims=True)).mean(),
    "rows picked": lambda h, v: (np.tanh(h)[[2, 0]] @ v)[:, 1:].sum() + np.tanh(h)[1].prod(),
    "windows": lambda h, v: (
        (np.lib.stride_tricks.sliding_window_view(np.exp(h), 3, axis=1) ** 2).sum() + (np.tanh(h @ v) + 1).sum()
    ),
    "one column": lambda h, v: ((h @ v)[:, 0] * np.tanh(h)[:, 1]).sum(),
    "many products": lambda h, v: sum(np.tanh((h * i) @ v.T).sum() for i in range(12)),
    "many products and more": lambda h, v: sum(np.tanh((h * i) @ v.T).sum() for i in range(12)) + np.exp(v.T[0]).sum(),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_results_are_those_without_compile(form):
    def loss(x, w, v):
        return FORMS[form](x @ w.T, v)

    compiled = compile(loss)
    for seed in range(3):  # in the same memory
        arrays = [Tensor(a, requires_grad=True) for a in (normal(seed, 3, 6), W + seed, V - seed)]
        value = compiled(*arrays)
        np.testing.assert_allclose(value.item(), loss(*arrays).item(), rtol=1e-12)
        for ours, theirs in zip(grad(value, arrays), grad(loss(*arrays), arrays), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)


def test_backward_leaves_the_gradients_that_the_engine_finds():
    x, y, z = (Tensor(normal(seed, 3, 3), requires_grad=True) for seed in range(3))
    squares = compile(lambda a, b, c: (a * b * b + c * c * c).sum())
    cases = (
        lambda: (x, y, z),
        lambda: (x, x, y),
        lambda: (x, y, z.detach()),
        lambda: (x * 2, y, z),
        lambda: (x.T, y, x),
    )
    for args in cases:
        squares(*args()).backward()
        found = [t.grad for t in (x, y, z)]
        for t in (x, y, z):
            t.grad = None
        a, b, c = args()
        (a * b * b + c * c * c).sum().backward()
        for tensor, gradient in zip((x, y, z), found, strict=True):
            assert (gradient is None) == (tensor.grad is None)
            if gradient is not None:
                np.testing.assert_allclose(gradient, tensor.grad, rtol=1e-12)
                assert gradient.base is None
            tensor.grad = None


def test_a_retained_gradient_of_the_loss_itself_is_there():
    x = Tensor([1.0, 2.0], requires_grad=True)
    loss = compile(lambda a: (a * a).sum())(x)
    loss.retain_grad()
    loss.backward()
    assert loss.grad == 1.0
    np.testing.assert_array_equal(x.grad, [2.0, 4.0])


def test_the_gradient_may_be_one_that_the_user_gives():
    x = Tensor([1.0, 2.0], requires_grad=True)
    double = compile(lambda a: a * a)
    double(x).backward([10.0, 100.0])
    np.testing.assert_array_equal(x.grad, [20.0, 400.0])
    double(x).backward([1.0, 1.0])
    np.testing.assert_array_equal(x.grad, [22.0, 404.0])


def test_images_whose_batch_is_last_in_memory_are_written_to_memory_that_is_there():
    images, weight = np.ones((4, 1, 6, 6)), Tensor(np.ones((3, 1, 3, 3)), requires_grad=True)
    step = compile(lambda x, w: functional.relu(functional.conv2d(x, w)).mean())
    step(images, weight).backward()
    for function in (r"np\.matmul", r"np\.maximum", r"np\.greater", "masked"):
        assert re.search(rf"= {function}\(.*out=buffer_\d", step.source(planned=True))
    np.testing.assert_allclose(weight.grad, np.full(weight.shape, 1 / 3))
