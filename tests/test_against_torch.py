"""Random graphs of operations, against PyTorch in float64: first and second derivatives."""

import numpy as np
import pytest

from tinygrad_np import Tensor, grad

torch = pytest.importorskip("torch")

N = 3  # all intermediate results are N x N, so that any operation can follow any other

# Each operation as NumPy and as PyTorch has it; all are smooth and bounded on what can come before them.
UNARY = [
    (np.sin, torch.sin),
    (np.tanh, torch.tanh),
    (lambda x: np.exp(-x * x), lambda x: torch.exp(-x * x)),
    (lambda x: np.log(1 + x**2), lambda x: torch.log(1 + x**2)),
    (lambda x: np.sqrt(x * x + 0.5), lambda x: torch.sqrt(x * x + 0.5)),
    (lambda x: 1 / (2 + np.cos(x)), lambda x: 1 / (2 + torch.cos(x))),
    (lambda x: np.arctan(x) ** 3, lambda x: torch.arctan(x) ** 3),
    (lambda x: x.T, lambda x: x.T),
    (lambda x: x - np.mean(x, axis=0), lambda x: x - torch.mean(x, dim=0)),
    (lambda x: x / (1 + np.sum(x * x, axis=1, keepdims=True)), lambda x: x / (1 + torch.sum(x * x, 1, keepdim=True))),
    (lambda x: np.std(x, axis=1, ddof=1, keepdims=True) * x, lambda x: torch.std(x, 1, keepdim=True) * x),
    (lambda x: np.concatenate([x[1:], x[:1]]), lambda x: torch.cat([x[1:], x[:1]])),
    (lambda x: x[[0, 2, 0]], lambda x: x[[0, 2, 0]]),
    (lambda x: np.reshape(np.cumsum(x), (N, N)) / N, lambda x: torch.cumsum(x.reshape(-1), 0).reshape(N, N) / N),
    (lambda x: np.linalg.inv(x @ x.T + np.eye(N)), lambda x: torch.linalg.inv(x @ x.T + torch.eye(N).double())),
    (lambda x: x[None, :, 0] + np.stack([x[0]] * N), lambda x: x[None, :, 0] + torch.stack([x[0]] * N)),
]
BINARY = [
    (np.add, torch.add),
    (np.subtract, torch.subtract),
    (np.multiply, torch.multiply),
    (lambda x, y: x / (1 + y * y), lambda x, y: x / (1 + y * y)),
    (lambda x, y: np.tanh(x @ y), lambda x, y: torch.tanh(x @ y)),
    (lambda x, y: (1 + x * x) ** np.sin(y), lambda x, y: (1 + x * x) ** torch.sin(y)),
    (np.maximum, torch.maximum),
    (lambda x, y: np.where(x.data > 0, x, y), lambda x, y: torch.where(x > 0, x, y)),
    (lambda x, y: x[:1] * y[:, 1:2], lambda x, y: x[:1] * y[:, 1:2]),
    (lambda x, y: np.einsum("ij,kj->ki", x, y) / N, lambda x, y: torch.einsum("ij,kj->ki", x, y) / N),
    (lambda x, y: np.logaddexp(x, y), lambda x, y: torch.logaddexp(x, y)),
]


def build(generator, inputs, which):
    """A scalar from a random graph; `which` is 0 for NumPy's operations and 1 for PyTorch's."""
    pool = list(inputs)
    for _ in range(12):
        if generator.random() < 0.5:
            pool.append(UNARY[generator.integers(len(UNARY))][which](pool[generator.integers(len(pool))]))
        else:
            i, j = generator.integers(len(pool), size=2)
            pool.append(BINARY[generator.integers(len(BINARY))][which](pool[i], pool[j]))
    return sum((x * (k + 1)).sum() for k, x in enumerate(pool[-4:]))


@pytest.mark.parametrize("seed", range(60))
def test_a_random_graph_has_pytorchs_first_and_second_derivatives(seed):
    generator = np.random.default_rng([seed, 0])
    arrays = [generator.standard_normal((N, N)) for _ in range(3)]
    weights = [generator.standard_normal((N, N)) for _ in range(3)]

    ours = [Tensor(array, requires_grad=True) for array in arrays]
    y = build(np.random.default_rng(seed), ours, 0)
    first = grad(y, ours, create_graph=True, allow_unused=True)
    used = [(g, w) for g, w in zip(first, weights, strict=True) if g is not None]
    second = grad(sum((g * w).sum() for g, w in used), ours, allow_unused=True)

    theirs = [torch.tensor(array, requires_grad=True) for array in arrays]
    y_torch = build(np.random.default_rng(seed), theirs, 1)
    first_torch = torch.autograd.grad(y_torch, theirs, create_graph=True, allow_unused=True)
    used = [(g, torch.tensor(w)) for g, w in zip(first_torch, weights, strict=True) if g is not None]
    second_torch = torch.autograd.grad(sum((g * w).sum() for g, w in used), theirs, allow_unused=True)

    np.testing.assert_allclose(y.data, y_torch.detach().numpy(), rtol=1e-12)
    for results, results_torch, tolerance in ((first, first_torch, 1e-10), (second, second_torch, 1e-8)):
        for ours_, theirs_ in zip(results, results_torch, strict=True):
            assert (ours_ is None) == (theirs_ is None)
            if ours_ is not None:
                array = ours_.data if isinstance(ours_, Tensor) else ours_
                scale = 1 + np.abs(array).max()
                np.testing.assert_allclose(array / scale, theirs_.detach().numpy() / scale, atol=tolerance)
