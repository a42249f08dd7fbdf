"""`debug.diagnose`: each planted bug is named first and at its place, and nothing is said of healthy set-ups."""

import gc
import inspect
import re
import weakref
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import zoo_of_bugs as zoo

from tinygrad_np import Tensor, data, debug, functional, nn, no_grad, optim, visualize
from tinygrad_np.debug.diagnosis import diagnose
from tinygrad_np.errors import ArgumentError, ArgumentTypeError

MNIST = Path(__file__).parents[1] / "models" / "data" / "mnist"


class World:
    """Makes the parts of a training set-up from a seed."""

    def __init__(self, seed=0):
        self.generator = np.random.default_rng(seed)

    def network(self, *sizes, activation=nn.ReLU, init=None, between=None, end=(), dtype=np.float32):
        layers = []
        for i, o in pairwise(sizes):
            if layers:
                layers += [between(i)] if between else []
                layers.append(activation())
            layers.append(nn.Linear(i, o, generator=self.generator, dtype=dtype))
            if init:
                init(layers[-1].weight, self.generator)
                nn.init.zeros_(layers[-1].bias)
        return nn.Sequential(*layers, *end)

    def normal(self, *shape, dtype=np.float32):
        return self.generator.standard_normal(shape).astype(dtype)

    def pixels(self, n=64):
        """Sparse numbers in 0 ... 1, like MNIST's."""
        x = self.generator.random((n, 784)) * (self.generator.random((n, 784)) < 0.2)
        return x.astype(np.float32)

    def labels(self, n=64, classes=10):
        return self.generator.integers(0, classes, n)

    def classes(self, n=64, features=20, classes=5):
        return self.normal(n, features), self.labels(n, classes)

    def curve(self, n=64, features=2):
        x = self.generator.uniform(-2, 2, (n, features)).astype(np.float32)
        return x, np.sin(x.sum(axis=1, keepdims=True)).astype(np.float32)

    def mnist(self, n=64):
        images, labels = _mnist()
        rows = self.generator.integers(0, len(images), n)
        return data.to_inputs(images[rows]), labels[rows]


_cache = []


def _mnist():
    if not _cache:
        dataset = data.load_mnist(MNIST)
        _cache.extend([dataset.test_images, dataset.test_labels])
    return _cache


def squares(p, y):
    return np.mean((p - y) ** 2)


def squares_on_softmax(p, y):
    return np.mean((functional.softmax(p) - functional.one_hot(y, p.shape[1])) ** 2)


def log_of_softmax(p, y):
    hot = functional.one_hot(y, p.shape[1])
    return -np.mean(np.sum(hot * np.log(functional.softmax(p) + 1e-8), axis=1))


def train(model, loss_fn, batches, optimizer, steps=50, clear=True):
    for step in range(steps):
        if clear:
            optimizer.zero_grad()
        x, y = batches[step % len(batches)]
        loss_fn(model(x), y).backward()
        optimizer.step()
    return optimizer


# Healthy set-ups

HEALTHY = []


def healthy(function):
    HEALTHY.append(function)
    return function


def add(name, build):
    build.__name__ = name
    HEALTHY.append(build)


for activation in (nn.ReLU, nn.LeakyReLU, nn.GELU, nn.Sigmoid, nn.Tanh, nn.Softplus):
    for sizes in ((20, 32, 5), (20, 64, 32, 5), (20, 30, 30, 30, 5)):
        add(
            f"{activation.__name__}_{len(sizes) - 1}_layers",
            lambda w, activation=activation, sizes=sizes: (
                w.network(*sizes, activation=activation),
                functional.cross_entropy,
                w.classes(),
            ),
        )
    add(
        f"{activation.__name__}_curve",
        lambda w, activation=activation: (
            w.network(2, 20, 20, 1, activation=activation),
            nn.MSELoss(),
            w.curve(),
        ),
    )
    add(
        f"{activation.__name__}_pixels",
        lambda w, activation=activation: (
            w.network(784, 64, 10, activation=activation),
            functional.cross_entropy,
            (w.pixels(), w.labels()),
        ),
    )


@healthy
def softmax_regression(w):
    return w.network(784, 10), functional.cross_entropy, w.mnist()


@healthy
def mnist_large(w):
    model = w.network(784, 512, 128, 64, 10)
    return model, functional.cross_entropy, w.mnist(), optim.Adam(model.parameters())


@healthy
def mnist_sgd(w):
    model = w.network(784, 100, 10)
    return model, functional.cross_entropy, w.mnist(512), optim.SGD(model.parameters(), lr=0.1)


@healthy
def mnist_momentum(w):
    model = w.network(784, 64, 10, activation=nn.Sigmoid)
    return model, functional.cross_entropy, w.mnist(128), optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


@healthy
def mnist_standardised(w):
    x, y = w.mnist()
    return w.network(784, 64, 10), functional.cross_entropy, ((x - np.float32(0.1307)) / np.float32(0.3081), y)


@healthy
def deep_relu_he(w):
    return w.network(20, *[64] * 7, 5, init=nn.init.kaiming_normal_), functional.cross_entropy, w.classes()


@healthy
def deep_relu_he_on_mnist(w):
    return w.network(784, *[128] * 7, 10, init=nn.init.kaiming_uniform_), functional.cross_entropy, w.mnist()


@healthy
def he_two_classes(w):
    return w.network(20, 64, 2, init=nn.init.kaiming_normal_), functional.cross_entropy, w.classes(classes=2)


@healthy
def deep_tanh_glorot(w):
    model = w.network(20, *[50] * 7, 5, activation=nn.Tanh, init=nn.init.xavier_uniform_)
    return model, functional.cross_entropy, w.classes()


@healthy
def sigmoid_glorot(w):
    model = w.network(784, 100, 50, 10, activation=nn.Sigmoid, init=nn.init.xavier_uniform_)
    return model, functional.cross_entropy, w.mnist()


@healthy
def eight_rows(w):
    model = w.network(20, 32, 5)
    return model, functional.cross_entropy, w.classes(8), optim.Adam(model.parameters())


@healthy
def eight_rows_of_mnist(w):
    return w.network(784, 128, 64, 10), functional.cross_entropy, w.mnist(8)


@healthy
def many_rows(w):
    return w.network(20, 64, 10), nn.CrossEntropyLoss(), w.classes(512, classes=10)


@healthy
def dropout(w):
    model = nn.Sequential(
        *w.network(20, 64),
        nn.ReLU(),
        nn.Dropout(0.5, w.generator),
        *w.network(64, 32),
        nn.ReLU(),
        nn.Dropout(0.2, w.generator),
        *w.network(32, 5),
    )
    return model, functional.cross_entropy, w.classes(), optim.Adam(model.parameters())


@healthy
def batch_normalisation(w):
    model = w.network(20, 64, 32, 5, between=nn.BatchNorm1d)
    return model, functional.cross_entropy, w.classes(), optim.Adam(model.parameters(), lr=0.01)


@healthy
def batch_normalisation_of_raw_inputs(w):
    x, y = w.classes()
    return nn.Sequential(nn.BatchNorm1d(20), *w.network(20, 32, 5)), functional.cross_entropy, (x * 100 + 50, y)


@healthy
def layer_normalisation(w):
    model = w.network(20, 64, 32, 5, between=nn.LayerNorm, activation=nn.GELU)
    return model, functional.cross_entropy, w.classes(), optim.AdamW(model.parameters())


@healthy
def inputs_scaled_by_the_model(w):
    class Scaling(nn.Module):
        def __init__(self):
            self.layers = w.network(784, 32, 10)

        def forward(self, x):
            return self.layers(x / np.float32(255))

    x, y = w.mnist()
    return Scaling(), functional.cross_entropy, (x * np.float32(255), y)


@healthy
def log_softmax_and_nll(w):
    return w.network(20, 32, 5, end=[nn.LogSoftmax()]), nn.NLLLoss(), w.classes()


@healthy
def cross_entropy_by_hand(w):
    return w.network(20, 32, 5), log_of_softmax, w.classes()


@healthy
def softmax_in_the_model_and_log_in_the_loss(w):
    def loss(p, y):
        return -np.mean(np.log(p[np.arange(len(y)), y]))

    return w.network(20, 32, 5, end=[nn.Softmax()]), loss, w.classes()


@healthy
def cross_entropy_of_log_softmax(w):
    return w.network(20, 32, 5, end=[nn.LogSoftmax()]), functional.cross_entropy, w.classes()


@healthy
def one_hot_targets(w):
    x, y = w.classes()
    return w.network(20, 32, 5), functional.cross_entropy, (x, functional.one_hot(y, 5))


@healthy
def label_smoothing(w):
    return w.network(20, 32, 5), nn.CrossEntropyLoss(0.1), w.classes()


@healthy
def squared_error_on_softmax(w):
    return w.network(784, 64, 10), squares_on_softmax, w.mnist()


@healthy
def squared_error_by_hand(w):
    model = w.network(2, 20, 20, 1)
    return model, squares, w.curve(), optim.Adam(model.parameters(), lr=0.01)


@healthy
def column_taken_in_the_loss(w):
    x, y = w.curve()
    return w.network(2, 20, 1), lambda p, y: np.mean((p[:, 0] - y) ** 2), (x, y[:, 0])


@healthy
def binary_cross_entropy(w):
    def loss(p, y):
        return -np.mean(y * np.log(p) + (1 - y) * np.log(1 - p))

    x = w.normal(64, 10)
    return w.network(10, 16, 1, end=[nn.Sigmoid()]), loss, (x, (x[:, :1] > 0).astype(np.float32))


@healthy
def several_outputs(w):
    return w.network(10, 32, 3, activation=nn.Tanh), nn.MSELoss(), (w.normal(64, 10), w.normal(64, 3))


@healthy
def linear_regression(w):
    x = w.normal(64, 3)
    y = (x @ np.array([[1.0], [-2.0], [0.5]]) + 0.3).astype(np.float32)
    model = w.network(3, 1)
    return model, nn.MSELoss(), (x, y), optim.SGD(model.parameters(), lr=0.1)


@healthy
def float64_throughout(w):
    model = w.network(10, 16, 3, dtype=np.float64)
    return model, functional.cross_entropy, (w.normal(32, 10, dtype=np.float64), w.labels(32, 3))


@healthy
def activations_as_functions(w):
    class Net(nn.Module):
        def __init__(self):
            self.first, self.second = nn.Linear(20, 32, generator=w.generator), nn.Linear(32, 5, generator=w.generator)

        def forward(self, x):
            return self.second(np.maximum(self.first(x), 0))

    return Net(), functional.cross_entropy, w.classes()


@healthy
def residual(w):
    class Net(nn.Module):
        def __init__(self):
            self.first, self.last = nn.Linear(20, 32, generator=w.generator), nn.Linear(32, 5, generator=w.generator)
            self.blocks = nn.Sequential(*[nn.Linear(32, 32, generator=w.generator) for _ in range(4)])

        def forward(self, x):
            x = self.first(x)
            for block in self.blocks:
                x = x + functional.relu(block(x))
            return self.last(x)

    return Net(), functional.cross_entropy, w.classes()


@healthy
def imbalanced(w):
    x = w.normal(64, 20)
    return w.network(20, 32, 2), functional.cross_entropy, (x, (w.generator.random(64) < 0.1).astype(int))


def trained(name, loss_fn, model, batch, optimizer, steps=50):
    def build(w):
        m, batches = model(w), [batch(w) for _ in range(8)]
        return m, loss_fn, batches[0], train(m, loss_fn, batches, optimizer(m.parameters()), steps)

    add(name, build)


for rate, steps in ((0.05, 50), (0.2, 3), (0.2, 50), (0.5, 10)):
    trained(
        f"trained_sgd_{rate}_{steps}",
        functional.cross_entropy,
        lambda w: w.network(784, 64, 10),
        lambda w: w.mnist(),
        lambda p, rate=rate: optim.SGD(p, lr=rate),
        steps,
    )
for steps in (1, 2, 50, 200):
    trained(
        f"trained_adam_{steps}",
        functional.cross_entropy,
        lambda w: w.network(784, 64, 10),
        lambda w: w.mnist(32),
        lambda p: optim.Adam(p),
        steps,
    )
for momentum_steps in (1, 2, 5, 50):
    trained(
        f"trained_momentum_{momentum_steps}",
        functional.mse_loss,
        lambda w: w.network(2, 20, 20, 1, activation=nn.Tanh),
        lambda w: w.curve(),
        lambda p: optim.SGD(p, lr=0.05, momentum=0.9),
        momentum_steps,
    )


@healthy
def trained_on_one_batch(w):
    x = w.normal(64, 3)
    model, batch = w.network(3, 1), (x, x.sum(axis=1, keepdims=True))
    return (
        model,
        functional.mse_loss,
        batch,
        train(model, functional.mse_loss, [batch], optim.SGD(model.parameters(), 0.4), 1),
    )


@healthy
def own_step_that_clears_before(w):
    model = w.network(20, 32, 5)
    optimizer = optim.Adam(model.parameters())

    def step(x, y):
        optimizer.zero_grad()
        functional.cross_entropy(model(x), y).backward()
        optimizer.step()

    return model, functional.cross_entropy, w.classes(), optimizer, step


@healthy
def own_step_that_clears_after(w):
    model = w.network(20, 32, 5)
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    def step(x, y):
        functional.cross_entropy(model(x), y).backward()
        optimizer.step()
        model.zero_grad()

    return model, functional.cross_entropy, w.classes(), optimizer, step


@healthy
def own_step_by_hand(w):
    model = nn.Sequential(*w.network(20, 32), nn.ReLU(), nn.Dropout(0.5, w.generator), *w.network(32, 5))

    def step(x, y):
        model.zero_grad()
        functional.cross_entropy(model(x), y).backward()
        for parameter in model.parameters():
            parameter.data -= np.float32(0.1) * parameter.grad

    return model, functional.cross_entropy, w.classes(), None, step


# Planted bugs: the check and a part of the place that the first finding must name

BUGS = []


def bug(check, *places):
    def plant(function):
        BUGS.append((function, check, places))
        return function

    return plant


@bug("gradient", "unused.weight", "unused.bias")
def a_layer_that_is_not_used(w):
    class Net(nn.Module):
        def __init__(self):
            self.first, self.unused = nn.Linear(20, 16, generator=w.generator), nn.Linear(16, 16, generator=w.generator)
            self.last = nn.Linear(16, 5, generator=w.generator)

        def forward(self, x):
            return self.last(np.tanh(self.first(x)))

    model = Net()
    return model, functional.cross_entropy, w.classes(), optim.Adam(model.parameters())


class Cut(nn.Module):
    def forward(self, x):
        return x.detach()


@bug("gradient", "0.weight", "0.bias")
def a_detached_activation(w):
    return nn.Sequential(*w.network(20, 32), nn.ReLU(), Cut(), *w.network(32, 5)), functional.cross_entropy, w.classes()


@bug("gradient", "first.weight", "first.bias")
def numpy_in_forward(w):
    class Net(nn.Module):
        def __init__(self):
            self.first, self.last = nn.Linear(20, 32, generator=w.generator), nn.Linear(32, 5, generator=w.generator)

        def forward(self, x):
            return self.last(np.maximum(self.first(x).data, 0))

    return Net(), functional.cross_entropy, w.classes()


@bug("gradient", "0.weight", "0.bias")
def no_grad_in_forward(w):
    class Silent(nn.Module):
        def __init__(self):
            self.inner = w.network(20, 32)

        def forward(self, x):
            with no_grad():
                return self.inner(x)

    return nn.Sequential(Silent(), nn.ReLU(), *w.network(32, 5)), functional.cross_entropy, w.classes()


@bug("gradient", "loss")
def a_loss_without_history(w):
    return w.network(20, 32, 5), lambda p, y: functional.cross_entropy(p.data, y), w.classes()


@bug("gradient", "1")
def predictions_without_history(w):
    return nn.Sequential(w.network(20, 32, 5), Cut()), functional.cross_entropy, w.classes()


@bug("gradient", "0.weight")
def a_frozen_parameter(w):
    model = w.network(20, 32, 5)
    model[0].weight.requires_grad = False
    return model, functional.cross_entropy, w.classes()


@bug("gradient", "loss")
def a_loss_that_is_no_scalar(w):
    return w.network(20, 32, 5), lambda p, y: (p - functional.one_hot(y, 5)) ** 2, w.classes()


@bug("optimizer", "2.weight", "2.bias")
def a_layer_missing_from_the_optimizer(w):
    model = w.network(20, 32, 5)
    return model, functional.cross_entropy, w.classes(), optim.Adam(model[0].parameters())


@bug("optimizer", "0.bias")
def one_bias_missing_from_the_optimizer(w):
    model = w.network(784, 32, 10, activation=nn.Sigmoid)
    parameters = [p for p in model.parameters() if p is not model[0].bias]
    return model, functional.cross_entropy, w.mnist(), optim.SGD(parameters, lr=0.1)


@bug("optimizer", "2.weight")
def a_layer_replaced_after_the_optimizer_was_made(w):
    model = w.network(20, 32, 5)
    optimizer = optim.Adam(model.parameters())
    setattr(model, "2", nn.Linear(32, 5, generator=w.generator))
    return model, functional.cross_entropy, w.classes(), optimizer


@bug("optimizer", "0.weight")
def a_layer_missing_from_the_own_step(w):
    model = w.network(20, 32, 5)
    optimizer = optim.Adam(model[2].parameters())

    def step(x, y):
        optimizer.zero_grad()
        functional.cross_entropy(model(x), y).backward()
        optimizer.step()

    return model, functional.cross_entropy, w.classes(), None, step


def dead(activation, *sizes):
    def build(w):
        model = w.network(*sizes, activation=activation)
        model[2].bias.data[...] = -30
        return model, functional.cross_entropy, (w.normal(64, sizes[0]), w.labels(64, sizes[-1]))

    build.__name__ = f"dead_{activation.__name__}_{len(sizes)}"
    return build


bug("dead units", "3")(dead(nn.ReLU, 20, 32, 32, 5))
bug("dead units", "3")(dead(nn.ReLU, 784, 100, 50, 50, 10))


@bug("dead units", "1")
def most_units_dead(w):
    model = w.network(20, 64, 5)
    model[0].bias.data[:56] = -20
    return model, functional.cross_entropy, w.classes()


@bug("dead units", "")
def dead_units_by_maximum(w):
    class Net(nn.Module):
        def __init__(self):
            self.first, self.last = nn.Linear(20, 32, generator=w.generator), nn.Linear(32, 1, generator=w.generator)
            self.first.bias.data[...] = -50

        def forward(self, x):
            return self.last(np.maximum(self.first(x), 0))

    return Net(), nn.MSELoss(), (w.normal(32, 20), w.normal(32, 1))


def saturated(activation, factor, *sizes):
    def build(w):
        model = w.network(*sizes, activation=activation)
        model[0].weight.data *= factor
        return model, functional.cross_entropy, (w.normal(64, sizes[0]), w.labels(64, sizes[-1]))

    build.__name__ = f"saturated_{activation.__name__}_{factor}"
    return build


bug("saturated units", "1")(saturated(nn.Tanh, 50, 20, 32, 5))
bug("saturated units", "1")(saturated(nn.Sigmoid, 100, 20, 64, 32, 5))
bug("saturated units", "1")(saturated(nn.Tanh, 20, 784, 64, 10))


@bug("saturated units", "1")
def saturated_by_biases(w):
    model = w.network(2, 20, 20, 1, activation=nn.Sigmoid)
    model[0].bias.data[...] = 40
    return model, nn.MSELoss(), w.curve()


@bug("zero gradient", "0.weight")
def a_product_with_zero(w):
    class Nothing(nn.Module):
        def forward(self, x):
            return x * np.float32(0)

    return (
        nn.Sequential(*w.network(20, 32), nn.Tanh(), Nothing(), *w.network(32, 5)),
        functional.cross_entropy,
        w.classes(),
    )


@bug("symmetry", "0.weight")
def weights_all_zero(w):
    return w.network(20, 32, 5, init=lambda weight, _: nn.init.zeros_(weight)), functional.cross_entropy, w.classes()


@bug("symmetry", "0.weight")
def weights_all_equal(w):
    model = w.network(784, 32, 10, activation=nn.Sigmoid)
    for layer in (model[0], model[2]):
        layer.weight.data[...] = 0.01
        layer.bias.data[...] = 0
    return model, functional.cross_entropy, w.mnist()


@bug("symmetry", "2.weight")
def a_hidden_layer_of_zeros(w):
    model = w.network(20, 32, 32, 5, activation=nn.Tanh)
    nn.init.zeros_(model[2].weight)
    nn.init.zeros_(model[2].bias)
    model[4].weight.data[...] = model[4].weight.data[:, :1]
    return model, functional.cross_entropy, w.classes()


@bug("zero gradient", "0.weight")
def a_last_layer_of_zeros(w):
    model = w.network(20, 32, 5, activation=nn.Tanh)
    nn.init.zeros_(model[2].weight)
    return model, functional.cross_entropy, w.classes()


def deep(check, activation, layers, scale=1.0):
    def build(w):
        model = w.network(20, *[32] * layers, 5, activation=activation)
        for layer in model:
            if isinstance(layer, nn.Linear):
                layer.weight.data *= scale
        return model, functional.cross_entropy, w.classes()

    build.__name__ = f"{check}_{activation.__name__}_{layers}_{scale}".replace(" ", "_")
    bug(check, "0.weight")(build)


deep("vanishing gradient", nn.Sigmoid, 10)
deep("vanishing gradient", nn.Sigmoid, 20)
deep("vanishing gradient", nn.ReLU, 4, 0.01)
deep("vanishing gradient", nn.Tanh, 6, 0.05)
deep("exploding gradient", nn.ReLU, 6, 10)
deep("exploding gradient", nn.ReLU, 10, 8)
deep("exploding gradient", nn.LeakyReLU, 5, 20)


@bug("vanishing gradient", "4.weight")
def one_tiny_layer(w):
    model = w.network(20, 32, 32, 32, 5)
    model[4].weight.data *= 1e-6
    return model, functional.cross_entropy, w.classes()


@bug("loss", "4.weight")
def a_last_layer_that_is_too_large(w):
    model = w.network(20, 64, 32, 5)
    model[4].weight.data *= 100
    return model, functional.cross_entropy, w.classes()


@bug("loss", "2.weight")
def a_last_layer_of_standard_normal_numbers(w):
    model = w.network(784, 256, 10)
    nn.init.normal_(model[2].weight, 0, 3, w.generator)
    return model, functional.cross_entropy, w.mnist()


@bug("loss", "loss")
def a_loss_summed_over_the_batch(w):
    return w.network(20, 32, 5), lambda p, y: functional.cross_entropy(p, y) * len(y), w.classes()


@bug("loss", "loss")
def a_loss_averaged_over_classes(w):
    def loss(p, y):
        return -np.mean(functional.one_hot(y, 5) * functional.log_softmax(p))

    return w.network(20, 32, 5), loss, w.classes()


@bug("loss", "loss")
def a_loss_of_the_wrong_sign(w):
    return w.network(20, 32, 5), lambda p, y: -functional.cross_entropy(p, y), w.classes()


@bug("softmax", "3")
def softmax_before_cross_entropy(w):
    model = w.network(20, 32, 5, end=[nn.Softmax()])
    return model, functional.cross_entropy, w.classes(), optim.Adam(model.parameters())


@bug("softmax", "5")
def softmax_before_cross_entropy_loss_with_one_hot(w):
    x, y = w.mnist()
    model = w.network(784, 64, 32, 10, activation=nn.Tanh, end=[nn.Softmax()])
    return model, nn.CrossEntropyLoss(), (x, functional.one_hot(y, 10))


@bug("softmax", "3")
def softmax_in_model_and_loss(w):
    return w.network(20, 32, 5, end=[nn.Softmax()]), log_of_softmax, w.classes()


@bug("softmax", "3")
def softmax_twice_and_squares(w):
    return (
        w.network(20, 32, 5, end=[nn.Softmax(), nn.Softmax()]),
        squares,
        (w.normal(64, 20), functional.one_hot(w.labels(64, 5), 5)),
    )


@bug("softmax", "test_debug_diagnose.py")
def softmax_by_hand_before_cross_entropy(w):
    class Net(nn.Module):
        def __init__(self):
            self.layers = w.network(20, 32, 5)

        def forward(self, x):
            e = np.exp(self.layers(x))
            return e / np.sum(e, axis=1, keepdims=True)

    return Net(), functional.cross_entropy, w.classes()


@bug("softmax", "3")
def softmax_over_the_batch(w):
    return (
        w.network(20, 32, 5, end=[nn.Softmax(axis=0)]),
        lambda p, y: -np.mean(np.log(p[np.arange(len(y)), y])),
        w.classes(),
    )


@bug("softmax", "3")
def probabilities_for_nll(w):
    return w.network(20, 32, 5, end=[nn.Softmax()]), nn.NLLLoss(), w.classes()


@bug("softmax", "2")
def scores_for_nll(w):
    return w.network(20, 32, 5), functional.nll_loss, w.classes()


@bug("softmax", "test_debug_diagnose.py")
def logarithm_of_scores(w):
    return w.network(20, 32, 5), lambda p, y: -np.mean(np.log(p[np.arange(len(y)), y])), w.classes()


@bug("softmax", "3")
def sigmoid_before_cross_entropy(w):
    return w.network(20, 32, 5, end=[nn.Sigmoid()]), functional.cross_entropy, w.classes()


@bug("broadcast", "loss")
def a_column_minus_a_row(w):
    x, y = w.curve()
    return w.network(2, 20, 20, 1), squares, (x, y[:, 0])


@bug("broadcast", "loss")
def a_row_minus_a_column(w):
    class Net(nn.Module):
        def __init__(self):
            self.layers = w.network(2, 20, 1, activation=nn.Tanh)

        def forward(self, x):
            return self.layers(x)[:, 0]

    model = Net()
    return model, lambda p, y: np.mean(np.square(y - p)), w.curve(), optim.Adam(model.parameters())


@bug("broadcast", "loss")
def absolute_error_of_a_column_and_a_row(w):
    x, y = w.curve(128)
    return w.network(2, 32, 1), lambda p, y: np.mean(np.abs(p - y)), (x, y[:, 0])


@bug("broadcast", "loss")
def shapes_that_mse_loss_refuses(w):
    x, y = w.curve()
    return w.network(2, 20, 1), nn.MSELoss(), (x, y[:, 0])


@bug("broadcast", "loss")
def one_target_for_three_outputs(w):
    x, y = w.curve()
    return w.network(2, 20, 3), squares, (x, y)


@bug("broadcast", "loss")
def class_indices_minus_scores(w):
    return w.network(20, 32, 5), squares, (w.normal(5, 20), np.arange(5) % 5)


@bug("inputs", "inputs")
def pixels_from_0_to_255(w):
    x, y = w.mnist()
    return w.network(784, 64, 10), functional.cross_entropy, (x * np.float32(255), y)


@bug("inputs", "inputs")
def bytes_as_inputs(w):
    x, y = w.mnist()
    return w.network(784, 64, 10, activation=nn.Tanh), functional.cross_entropy, ((x * 255).astype(np.uint8), y)


@bug("inputs", "inputs")
def features_far_from_zero(w):
    x, y = w.classes()
    return w.network(20, 32, 5, activation=nn.Sigmoid), functional.cross_entropy, (x + 100, y)


@bug("inputs", "inputs")
def one_large_feature(w):
    x, y = w.classes()
    x[:, 3] *= 1000
    return w.network(20, 32, 5), functional.cross_entropy, (x, y)


@bug("inputs", "inputs")
def pixels_divided_twice(w):
    x, y = w.mnist()
    return w.network(784, 64, 10), functional.cross_entropy, (x / np.float32(255), y)


@bug("inputs", "inputs")
def large_inputs_of_a_regression(w):
    x, y = w.curve()
    return w.network(2, 20, 20, 1, activation=nn.Tanh), nn.MSELoss(), (x * 500, y)


@bug("inputs", "inputs")
def constant_inputs(w):
    return w.network(20, 32, 5), functional.cross_entropy, (np.ones((64, 20), np.float32), w.labels(64, 5))


@bug("finite", "inputs")
def nan_in_the_inputs(w):
    x, y = w.classes()
    x[3, 4] = np.nan
    return w.network(20, 32, 5), functional.cross_entropy, (x, y)


@bug("float64", "inputs")
def inputs_of_float64(w):
    x, y = w.classes()
    model = w.network(20, 32, 5)
    return model, functional.cross_entropy, (x.astype(float), y), optim.Adam(model.parameters())


@bug("float64", "targets")
def targets_of_float64(w):
    x, y = w.curve()
    return w.network(2, 20, 20, 1), nn.MSELoss(), (x, y.astype(float))


@bug("float64", "test_debug_diagnose.py")
def a_float64_constant_in_forward(w):
    class Net(nn.Module):
        def __init__(self):
            self.first, self.last = nn.Linear(20, 32, generator=w.generator), nn.Linear(32, 5, generator=w.generator)

        def forward(self, x):
            return self.last(np.tanh(self.first(x)) * np.sqrt(2))

    return Net(), functional.cross_entropy, w.classes()


@bug("float64", "2.weight")
def a_layer_of_float64(w):
    model = nn.Sequential(*w.network(20, 32), nn.ReLU(), *w.network(32, 5, dtype=np.float64))
    return model, functional.cross_entropy, w.classes()


@bug("clearing", "train_step")
def a_step_that_never_clears(w):
    model = w.network(20, 32, 5)
    optimizer = optim.SGD(model.parameters(), lr=0.1)

    def step(x, y):
        functional.cross_entropy(model(x), y).backward()
        optimizer.step()

    return model, functional.cross_entropy, w.classes(), optimizer, step


@bug("clearing", "train_step")
def a_step_that_never_clears_with_dropout(w):
    model = nn.Sequential(*w.network(784, 64), nn.ReLU(), nn.Dropout(0.5), *w.network(64, 10))
    optimizer = optim.Adam(model.parameters())

    def step(x, y):
        functional.cross_entropy(model(x), y).backward()
        optimizer.step()

    return model, functional.cross_entropy, w.mnist(), None, step


@bug("clearing", "0.weight")
def backward_three_times(w):
    model, batch = w.network(20, 32, 5), w.classes()
    for _ in range(3):
        functional.cross_entropy(model(batch[0]), batch[1]).backward()
    return model, functional.cross_entropy, batch


def uncleared(name, optimizer, steps, batches=1):
    @bug("clearing", "0.weight")
    def build(w):
        model, given = w.network(20, 32, 5), [w.classes() for _ in range(batches)]
        made = train(model, functional.cross_entropy, given, optimizer(model.parameters()), steps, clear=False)
        return model, functional.cross_entropy, given[0], made

    build.__name__ = f"uncleared_{name}_{steps}_{batches}"


for steps in (2, 5, 20):
    uncleared("sgd", lambda p: optim.SGD(p, lr=0.05), steps)
    uncleared("adam", lambda p: optim.Adam(p), steps)
uncleared("sgd", lambda p: optim.SGD(p, lr=0.05), 10, 4)
uncleared("momentum", lambda p: optim.SGD(p, lr=0.01, momentum=0.9), 5)


def rate(name, make, sizes=(20, 32, 5)):
    @bug("update", "optimizer")
    def build(w):
        model = w.network(*sizes)
        return (
            model,
            functional.cross_entropy,
            (w.normal(64, sizes[0]), w.labels(64, sizes[-1])),
            make(model.parameters()),
        )

    build.__name__ = f"rate_{name}_{len(sizes)}"


rate("sgd_100", lambda p: optim.SGD(p, lr=100))
rate("sgd_30", lambda p: optim.SGD(p, lr=30), (784, 64, 10))
rate("adam_1", lambda p: optim.Adam(p, lr=1))
rate("adam_10", lambda p: optim.Adam(p, lr=10), (784, 64, 32, 10))
rate("sgd_tiny", lambda p: optim.SGD(p, lr=1e-7))
rate("adam_tiny", lambda p: optim.Adam(p, lr=1e-9))
rate("zero", lambda p: optim.SGD(p, lr=0))


@bug("update", "train_step")
def a_step_uphill(w):
    model = w.network(20, 32, 5)

    def step(x, y):
        model.zero_grad()
        functional.cross_entropy(model(x), y).backward()
        for parameter in model.parameters():
            parameter.data += np.float32(0.1) * parameter.grad

    return model, functional.cross_entropy, w.classes(), None, step


@bug("update", "train_step")
def a_step_that_clears_before_it_moves(w):
    model = w.network(20, 32, 5)
    optimizer = optim.SGD(model.parameters(), lr=0.1)

    def step(x, y):
        functional.cross_entropy(model(x), y).backward()
        optimizer.zero_grad()
        optimizer.step()

    return model, functional.cross_entropy, w.classes(), optimizer, step


@bug("targets", "targets")
def equal_rows_with_different_labels(w):
    x, y = w.classes()
    return w.network(20, 32, 5), functional.cross_entropy, (np.repeat(x[:8], 8, axis=0), y)


@bug("overfit", "model")
def a_sigmoid_that_cannot_reach_the_targets(w):
    x, y = w.curve()
    return w.network(2, 20, 1, end=[nn.Sigmoid()]), nn.MSELoss(), (x, 3 + y)


@bug("overfit", "model")
def a_model_that_shuffles_its_rows(w):
    class Shuffling(nn.Module):
        def __init__(self):
            self.layers = w.network(20, 32, 5)

        def forward(self, x):
            return self.layers(x[w.generator.permutation(len(x))])

    return Shuffling(), functional.cross_entropy, w.classes()


@bug("overfit", "model")
def a_linear_model_of_exclusive_or(w):
    x = np.tile(np.array([[-1, -1], [-1, 1], [1, -1], [1, 1]], np.float32), (4, 1))
    return w.network(2, 2), functional.cross_entropy, (x, (x[:, 0] != x[:, 1]).astype(int))


@bug("labels", "targets")
def labels_from_1(w):
    x, y = w.classes()
    y[:5] = np.arange(1, 6)
    return w.network(20, 32, 5), functional.cross_entropy, (x, np.maximum(y, 1))


@bug("labels", "targets")
def labels_as_floats(w):
    x, y = w.classes()
    return w.network(20, 32, 5), functional.cross_entropy, (x, y.astype(np.float32))


@bug("runs", "2")
def a_layer_of_the_wrong_width(w):
    return nn.Sequential(*w.network(20, 32), nn.ReLU(), *w.network(30, 5)), functional.cross_entropy, w.classes()


def name(function):
    return function.__name__


@pytest.mark.parametrize("build", HEALTHY, ids=name)
def test_nothing_is_found_in_a_healthy_set_up(build, capsys):
    diagnosis = diagnose(*build(World()))
    assert not diagnosis.findings
    assert capsys.readouterr().out.startswith("diagnose: nothing found in")


@pytest.mark.parametrize(("build", "check", "places"), BUGS, ids=lambda value: getattr(value, "__name__", ""))
def test_a_planted_bug_is_named_first_and_at_its_place(build, check, places):
    first = diagnose(*build(World())).findings[0]
    assert first.check == check
    assert all(place in first.place for place in places)


# The report


def test_the_report_gives_number_severity_place_remedy_and_source(capsys):
    diagnosis = diagnose(*softmax_before_cross_entropy(World()))
    printed = capsys.readouterr().out
    assert printed == f"{diagnosis}\n"
    head, first, remedy, source = printed.splitlines()
    assert head.startswith("diagnose: 1 finding in")
    assert first.startswith("1. [error] 3 (Softmax): softmax comes before cross_entropy")
    assert remedy.startswith("   remedy: remove")
    assert "Goodfellow" in source


def test_a_notebook_that_shows_the_result_does_not_show_the_report_again():
    assert (
        repr(diagnose(*softmax_before_cross_entropy(World()))) == "<Diagnosis of 1 finding; print() shows the report>"
    )


def test_errors_come_before_warnings():
    model, loss_fn, (x, y) = a_last_layer_that_is_too_large(World())
    findings = diagnose(model, loss_fn, (x.astype(np.float64), y)).findings
    assert [(finding.check, finding.severity) for finding in findings] == [("loss", "error"), ("float64", "warning")]


def test_consequences_of_a_finding_are_not_reported():
    model, loss_fn, (x, y) = World().network(20, 32, 5, activation=nn.Tanh), functional.cross_entropy, World().classes()
    assert [finding.check for finding in diagnose(model, loss_fn, (x * 1000, y)).findings] == ["inputs"]


def test_an_error_in_the_model_is_a_finding_that_quotes_it():
    finding = diagnose(*a_layer_of_the_wrong_width(World())).findings[0]
    assert "ShapeError" in finding.message
    assert "expects 30 features" in finding.message


def test_an_error_in_the_own_step_is_a_finding():
    def step(x, y):
        raise KeyError("rate")

    finding = diagnose(World().network(20, 5), functional.cross_entropy, World().classes(), None, step).findings[0]
    line = step.__code__.co_firstlineno + 1
    assert (finding.place, finding.message) == (f"train_step, {Path(__file__).name}:{line}", "KeyError: 'rate'")


def test_an_error_in_the_own_evaluation_is_a_finding_at_its_line():
    def evaluate(x, y):
        return y.accuracy

    model = World().network(20, 5)
    finding = diagnose(model, functional.cross_entropy, World().classes(), evaluate=evaluate).findings[0]
    assert finding.place == f"evaluate, {Path(__file__).name}:{evaluate.__code__.co_firstlineno + 1}"
    assert "AttributeError" in finding.message


def test_what_is_not_learned_is_told_as_it_was_measured():
    message = diagnose(*a_linear_model_of_exclusive_or(World())).findings[0].message
    assert re.match(r"the loss fell from [\d.]+ to [\d.]+ in 300 steps of Adam on \d+ rows of the batch", message)
    assert "cannot" not in message


def test_a_gradient_that_is_not_finite_is_told_in_the_words_of_detect_anomaly():
    program = zoo.the_length_of_a_bias_of_zeros()
    message = diagnose(**program).findings[0].message
    assert message.startswith("the derivative of sqrt at ")
    assert "likely cause: the derivative at 0 is infinite" in message


def test_the_variables_of_plain_functions_are_afterwards_as_before():
    program = zoo.parameters_made_anew_in_a_dict()
    held = inspect.getclosurevars(program["model"]).nonlocals["p"]
    before = {name: (tensor, tensor.data.copy()) for name, tensor in held.items()}
    diagnose(**program)
    assert all(held[name] is tensor and np.array_equal(tensor.data, data) for name, (tensor, data) in before.items())


def test_a_loss_that_is_nan_is_traced_to_the_call_that_made_it():
    finding = diagnose(*logarithm_of_scores(World())).findings[0]
    assert finding.message.startswith("log")
    assert "test_debug_diagnose.py" in finding.message


# What it leaves as it was


def everything(model, optimizer):
    """Copies of all that a diagnosis must not change."""
    state = {key: value.copy() for key, value in model.state_dict().items()}
    state |= {f"gradient of {key}": p.grad.copy() for key, p in model.named_parameters() if p.grad is not None}
    state |= {f"mode of {key}": module.training for key, module in model.named_modules()}
    state |= {f"attributes of {key}": sorted(vars(module)) for key, module in model.named_modules()}
    state |= {f"optimizer's {key}": value for key, value in optimizer.state_dict().items()}
    return state | {"lr": optimizer.lr}


def with_everything(w):
    """A model with dropout and batch normalisation, its generator, and an optimizer with a state."""
    generator = np.random.default_rng(5)
    model = nn.Sequential(
        *w.network(20, 32),
        nn.BatchNorm1d(32),
        nn.ReLU(),
        nn.Dropout(0.5, generator),
        *w.network(32, 5),
    )
    model[3].eval()
    batch = w.classes()
    optimizer = train(model, functional.cross_entropy, [batch], optim.Adam(model.parameters()), 5)
    return model, batch, optimizer, generator


def raising(p, y):
    raise KeyError("target")


def clumsy(model, optimizer):
    def step(x, y):
        functional.cross_entropy(model(x), y).backward()
        optimizer.step()
        optimizer.lr = 5.0
        model.train()
        for parameter in model.parameters():
            parameter.data = parameter.data * 2
            parameter.grad *= 3

    return step


@pytest.mark.parametrize("loss_fn", [functional.cross_entropy, raising, log_of_softmax])
@pytest.mark.parametrize("own_step", [False, True])
def test_model_gradients_generators_and_optimizer_are_afterwards_as_before(loss_fn, own_step):
    model, batch, optimizer, generator = with_everything(World())
    arrays = [(p.data, p.grad) for p in model.parameters()]
    before, random = everything(model, optimizer), generator.bit_generator.state
    diagnose(model, loss_fn, batch, optimizer, clumsy(model, optimizer) if own_step else None)
    after = everything(model, optimizer)
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[key], after[key]) for key in before)
    assert all(p.data is data and p.grad is grad for p, (data, grad) in zip(model.parameters(), arrays, strict=True))
    assert generator.bit_generator.state == random


def test_an_interrupt_leaves_everything_as_before():
    model, batch, optimizer, _ = with_everything(World())
    before = everything(model, optimizer)

    def interrupted(x, y):
        clumsy(model, optimizer)(x, y)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        diagnose(model, functional.cross_entropy, batch, optimizer, interrupted)
    with pytest.raises(KeyboardInterrupt):
        diagnose(model, lambda p, y: interrupted(*batch), batch, optimizer)
    after = everything(model, optimizer)
    assert all(np.array_equal(before[key], after[key]) for key in before)
    y = np.exp(Tensor(1.0, requires_grad=True))
    assert y.requires_grad
    picture = visualize.draw(y).picture
    assert picture.boxes == []  # it is in no module any more
    assert all("line" not in item.details for item in picture.items)  # and nothing notes where it was called


def test_it_works_within_no_grad_and_unseen_by_a_profile():
    x = Tensor(1.0, requires_grad=True)
    with debug.profile() as profile:
        with no_grad():
            assert not diagnose(World().network(20, 32, 5), functional.cross_entropy, World().classes()).findings
            assert not np.exp(x).requires_grad
        np.exp(x)
    assert [(row.name, row.calls) for row in profile.rows()[:-1]] == [("exp", 1)]


def test_the_graph_is_freed():
    model, batch = World().network(20, 32, 5), World().classes()
    kept = []

    def loss_fn(p, y):
        kept.append(weakref.ref(p))
        return functional.cross_entropy(p, y)

    gc.disable()
    try:
        diagnose(model, loss_fn, batch)
        assert kept
        assert not any(reference() for reference in kept)
    finally:
        gc.enable()


# What is no parameter


class Hiding(nn.Module):
    """A method is no container: nobody looks for a module behind it."""

    def __init__(self, w):
        self.hidden, self.last = w.network(20, 8).forward, w.network(8, 5)

    def forward(self, x):
        return self.last(np.tanh(self.hidden(x)))


def test_what_a_model_learns_with_but_does_not_find_is_an_error():
    model = Hiding(World())
    for optimizer in (None, optim.Adam(model.parameters())):
        findings = diagnose(model, functional.cross_entropy, World().classes(), optimizer).findings
        assert [(finding.check, finding.severity) for finding in findings] == [("parameters", "error")]
        assert "uses Tensors of shape (8, 20), (8,) that require grad, but are no parameters" in findings[0].message
    model.layer = model.hidden.__self__
    assert not diagnose(model, functional.cross_entropy, World().classes()).findings


def test_inputs_that_require_grad_are_no_parameters():
    x, y = World().classes()
    given = Tensor(x, requires_grad=True)
    assert not diagnose(World().network(20, 32, 5), functional.cross_entropy, (given, y)).findings


def test_a_model_whose_list_has_grown_is_refused():
    model = World().network(20, 5)
    model[0].more = []
    model[0].more.append(nn.Linear(2, 2))
    with pytest.raises(ArgumentTypeError, match=r"Linear\.more holds the module Linear"):
        diagnose(model, functional.cross_entropy, World().classes())


def test_modules_that_refer_to_each_other_are_examined():
    model = World().network(20, 32, 5)
    model[0].parent = model
    assert not diagnose(model, functional.cross_entropy, World().classes()).findings


# What it accepts


def test_batches_of_tensors_are_examined_like_arrays():
    x, y = World().classes()
    assert not diagnose(World().network(20, 32, 5), functional.cross_entropy, (Tensor(x), Tensor(y))).findings


def test_models_with_several_outputs_and_targets_of_any_kind_are_examined():
    class Two(nn.Module):
        def __init__(self):
            self.first, self.second = World().network(20, 5), World().network(20, 1)

        def forward(self, given):
            return self.first(given["x"]), self.second(given["x"])

    def loss(p, targets):
        return functional.cross_entropy(p[0], targets["y"]) + np.mean(p[1] ** 2)

    x, y = World().classes()
    assert not diagnose(Two(), loss, ({"x": x}, {"y": y})).findings


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("relu", functional.mse_loss, (1, 2)), ArgumentTypeError),
        ((nn.Linear(2, 1), 3, (1, 2)), ArgumentTypeError),
        ((nn.Linear(2, 1), functional.mse_loss, np.zeros(2)), ArgumentError),
        ((nn.Linear(2, 1), functional.mse_loss, (1, 2), "adam"), ArgumentTypeError),
    ],
)
def test_arguments_that_make_no_sense_are_refused(arguments, error):
    with pytest.raises(error):
        diagnose(*arguments)


# The zoo


@pytest.mark.parametrize(("program", "check", "places"), zoo.BUGS, ids=lambda value: getattr(value, "__name__", ""))
def test_the_bug_in_a_program_is_named_first_and_at_its_place(program, check, places):
    first = diagnose(**program()).findings[0]
    assert first.check == check
    assert all(place in first.place for place in places)


@pytest.mark.parametrize("program", zoo.HEALTHY, ids=name)
def test_nothing_is_found_in_a_healthy_program(program):
    assert not diagnose(**program()).findings
