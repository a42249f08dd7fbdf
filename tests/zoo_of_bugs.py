"""Training programs as people write them: some with one planted bug, some healthy.

Each function returns the arguments of `debug.diagnose`. A bug tells which check must name it first, and where: a part
of the place, or the line that is marked with `# here`.
"""

import inspect
from itertools import pairwise

import numpy as np

from tinygrad_np import Tensor, functional, grad, nn, no_grad, optim

BUGS, HEALTHY = [], []


def bug(check, place=""):
    def plant(program):
        lines, first = inspect.getsourcelines(program)
        marked = [
            f"{program.__code__.co_filename.rpartition('/')[2]}:{first + i}"
            for i, x in enumerate(lines)
            if "# here" in x
        ]
        BUGS.append((program, check, [*marked, *[place] * bool(place)]))
        return program

    return plant


def healthy(program):
    HEALTHY.append(program)
    return program


def rng(seed=0):
    return np.random.default_rng(seed)


def normal(*shape, seed=0):
    return rng(seed).standard_normal(shape).astype(np.float32)


def blobs(n=64, features=20, classes=5, seed=0):
    """Classes that lie around centres of their own."""
    y = rng(seed).integers(0, classes, n)
    return normal(n, features, seed=seed) + 2 * normal(classes, features, seed=99)[y], y


def digits(n=64, seed=0):
    """Sparse pixels in 0 ... 1, the first and last columns always 0, with a class for each pattern."""
    y = rng(seed).integers(0, 10, n)
    patterns = rng(99).random((10, 784)) * (rng(98).random((10, 784)) < 0.2)
    x = patterns[y] * rng(seed).uniform(0.5, 1, (n, 784))
    x[:, :28] = x[:, -28:] = 0
    return x.astype(np.float32), y


def wave(n=64, seed=0):
    x = rng(seed).uniform(-2, 2, (n, 2)).astype(np.float32)
    return x, np.sin(x.sum(axis=1, keepdims=True)).astype(np.float32)


def mlp(*sizes, activation=nn.ReLU, end=()):
    layers = []
    for i, o in pairwise(sizes):
        layers += [nn.Linear(i, o, generator=rng(i * o)), activation()]
    return nn.Sequential(*layers[:-1], *end)


def weights(*sizes, seed=0):
    """Parameters of a network in plain NumPy style: a dict of Tensors."""
    made = {}
    for k, (i, o) in enumerate(pairwise(sizes)):
        made[f"w{k}"] = Tensor(normal(i, o, seed=seed + k) * np.float32(np.sqrt(2 / i)), requires_grad=True)
        made[f"b{k}"] = Tensor(np.zeros(o, np.float32), requires_grad=True)
    return made


# Softmax


@bug("softmax", "Softmax")
def softmax_module_over_the_batch():
    model = mlp(20, 32, 5, end=[nn.Softmax(axis=0)])

    def nll(p, y):
        return -np.mean(np.log(p[np.arange(len(y)), y] + 1e-9))

    return {"model": model, "loss_fn": nll, "batch": blobs()}


@bug("softmax")
def softmax_by_hand_over_the_batch():
    p = weights(20, 32, 5)

    def model(x):
        h = np.maximum(x @ p["w0"] + p["b0"], 0)
        z = h @ p["w1"] + p["b1"]
        e = np.exp(z - z.max())
        return e / np.sum(e, axis=0)  # here

    def loss(q, y):
        return -np.mean(np.log(q[np.arange(len(y)), y] + 1e-9))

    return {"model": model, "loss_fn": loss, "batch": blobs()}


@bug("softmax")
def softmax_by_hand_over_everything():
    def loss(z, y):
        e = np.exp(z - np.max(z))
        q = e / e.sum()  # here
        return -np.mean(np.log(q[np.arange(len(y)), y] + 1e-9))

    return {"model": mlp(20, 32, 5), "loss_fn": loss, "batch": blobs()}


@bug("softmax")
def log_softmax_over_the_batch():
    def loss(z, y):
        logs = functional.log_softmax(z, axis=0)  # here
        return -np.mean(np.sum(functional.one_hot(y, 5) * logs, axis=1))

    return {"model": mlp(20, 32, 5, activation=nn.Tanh), "loss_fn": loss, "batch": blobs()}


@bug("softmax", "Softmax")
def softmax_before_cross_entropy():
    model = mlp(784, 32, 10, end=[nn.Softmax()])
    return {
        "model": model,
        "loss_fn": functional.cross_entropy,
        "batch": digits(),
        "optimizer": optim.Adam(model.parameters()),
    }


@bug("softmax", "Sigmoid")
def sigmoid_before_cross_entropy():
    return {"model": mlp(784, 32, 10, end=[nn.Sigmoid()]), "loss_fn": nn.CrossEntropyLoss(), "batch": digits()}


@bug("softmax")
def sigmoid_by_hand_before_cross_entropy_by_hand():
    p = weights(20, 32, 5)

    def model(x):
        h = np.tanh(x @ p["w0"] + p["b0"])
        return 1 / (1 + np.exp(-(h @ p["w1"] + p["b1"])))  # here

    def loss(z, y):
        e = np.exp(z)
        return -np.mean(np.log((e / e.sum(axis=1, keepdims=True))[np.arange(len(y)), y]))

    return {"model": model, "loss_fn": loss, "batch": blobs()}


# Shapes


@bug("broadcast")
def scores_minus_a_column_of_labels():
    x, y = blobs()

    def loss(p, y):
        return np.mean((p - y[:, None]) ** 2)  # here

    return {"model": mlp(20, 32, 5), "loss_fn": loss, "batch": (x, y)}


@bug("broadcast")
def labels_times_log_probabilities():
    x, y = blobs()

    def loss(p, y):
        return -np.mean(y * functional.log_softmax(p))  # here

    return {"model": mlp(20, 32, 5), "loss_fn": loss, "batch": (x, y[:, None])}


@bug("broadcast")
def labels_that_choose_rows():
    def loss(p, y):
        return -np.mean(functional.log_softmax(p)[y])  # here

    return {"model": mlp(20, 32, 5), "loss_fn": loss, "batch": blobs(classes=5)}


@bug("broadcast")
def one_hot_targets_as_indices():
    x, y = blobs()

    def loss(p, y):
        return -np.mean(functional.log_softmax(p)[np.arange(len(y)), y])  # here

    return {"model": mlp(20, 32, 5), "loss_fn": loss, "batch": (x, functional.one_hot(y, 5).astype(int))}


@bug("broadcast")
def a_column_minus_a_row():
    x, y = wave()

    def loss(p, y):
        error = p - y  # here
        return (error * error).mean()

    return {"model": mlp(2, 32, 1), "loss_fn": loss, "batch": (x, y[:, 0])}


# Convolutions


def images():
    x, y = blobs(features=64)
    return x.reshape(-1, 1, 8, 8), y


def convolutional(*between):
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, generator=rng(1)),
        *between,
        nn.Conv2d(4, 4, 3, generator=rng(2)),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64, 5, generator=rng(3)),
    )


@bug("linear", "0 (Conv2d)")
def two_convolutions_in_a_row():
    return {"model": convolutional(), "loss_fn": functional.cross_entropy, "batch": images()}


@bug("symmetry", "0.weight")
def filters_that_start_equal():
    model = convolutional(nn.ReLU())
    for layer in (model[0], model[2], model[5]):
        layer.weight.data[...] = 0.05
        layer.bias.data[...] = 0
    return {"model": model, "loss_fn": functional.cross_entropy, "batch": images()}


@bug("linear", "first")
def a_relu_whose_result_is_not_used():
    class Net(nn.Module):
        def __init__(self):
            self.first, self.last = nn.Linear(20, 32, generator=rng(1)), nn.Linear(32, 5, generator=rng(2))

        def forward(self, x):
            h = self.first(x)
            functional.relu(h)
            return self.last(h)

    return {"model": Net(), "loss_fn": functional.cross_entropy, "batch": blobs()}


@healthy
def convolutions_with_relus():
    return {"model": convolutional(nn.ReLU()), "loss_fn": functional.cross_entropy, "batch": images()}


@healthy
def a_convolution_by_channel_and_one_across():
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, generator=rng(1)),
        nn.ReLU(),
        nn.Conv2d(4, 4, 3, groups=4, generator=rng(2)),
        nn.Conv2d(4, 8, 1, generator=rng(3)),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(128, 5, generator=rng(4)),
    )
    return {"model": model, "loss_fn": functional.cross_entropy, "batch": images()}


# Data


@bug("targets", "targets")
def a_batch_of_one_class():
    x, y = digits(600)
    order = np.argsort(y, kind="stable")[:32]
    return {"model": mlp(784, 32, 10), "loss_fn": functional.cross_entropy, "batch": (x[order], y[order])}


@bug("finite", "inputs")
def constant_columns_over_a_standard_deviation_of_zero():
    x, y = digits()
    with np.errstate(all="ignore"):
        x = (x - x.mean(axis=0)) / x.std(axis=0)
    return {"model": mlp(784, 32, 10), "loss_fn": functional.cross_entropy, "batch": (x, y)}


@bug("finite")
def constant_columns_standardised_in_the_model():
    class Net(nn.Module):
        def __init__(self):
            self.scale = nn.Parameter(np.ones(784))
            self.body = mlp(784, 32, 10)

        def forward(self, x):
            x = x * self.scale
            return self.body((x - x.mean(axis=0)) / x.std(axis=0))  # here

    return {"model": Net(), "loss_fn": functional.cross_entropy, "batch": digits()}


@bug("finite", "inputs")
def two_nan_pixels():
    x, y = digits()
    x[3, 40] = x[7, 300] = np.nan
    return {"model": mlp(784, 32, 10), "loss_fn": functional.cross_entropy, "batch": (x, y)}


@bug("overwritten")
def inputs_scaled_in_place_by_the_model():
    class Net(nn.Module):
        def __init__(self):
            self.body = mlp(784, 32, 10)

        def forward(self, x):
            x /= 255  # here
            return self.body(x)

    x, y = digits()
    return {"model": Net(), "loss_fn": functional.cross_entropy, "batch": (x * 255, y)}


@bug("overwritten")
def inputs_augmented_in_place_by_the_step():
    model = mlp(784, 32, 10)
    optimizer, noise = optim.SGD(model.parameters(), lr=0.1), rng(5)

    def step(x, y):
        x += noise.normal(0, 0.1, x.shape)  # here
        optimizer.zero_grad()
        functional.cross_entropy(model(x), y).backward()
        optimizer.step()

    return {
        "model": model,
        "loss_fn": functional.cross_entropy,
        "batch": digits(),
        "optimizer": optimizer,
        "train_step": step,
    }


@bug("targets", "targets")
def house_prices_as_they_are():
    x = normal(64, 6)
    price = 200_000 + 50_000 * x[:, :1] + 10_000 * normal(64, 1, seed=1)
    model = mlp(6, 32, 1)
    return {
        "model": model,
        "loss_fn": functional.mse_loss,
        "batch": (x, price.astype(np.float32)),
        "optimizer": optim.SGD(model.parameters(), lr=0.01),
    }


@bug("targets", "targets")
def heights_in_centimetres():
    p = weights(4, 16, 1)
    x = normal(80, 4)

    def model(x):
        return (np.maximum(x @ p["w0"] + p["b0"], 0) @ p["w1"] + p["b1"])[:, 0]

    def loss(q, y):
        return np.mean((q - y) ** 2)

    return {"model": model, "loss_fn": loss, "batch": (x, (170 + 8 * x[:, 0]).astype(np.float32))}


@bug("inputs", "inputs")
def pixels_of_0_to_255():
    x, y = digits()
    return {"model": mlp(784, 32, 10), "loss_fn": functional.cross_entropy, "batch": (x * 255, y)}


@bug("inputs")
def an_input_times_zero():
    class Net(nn.Module):
        def __init__(self):
            self.body = mlp(20, 32, 5)

        def forward(self, x):
            return self.body(x * 0)

    return {"model": Net(), "loss_fn": functional.cross_entropy, "batch": blobs()}


@bug("overwritten", "first")
def a_relu_written_into_the_array():
    class Net(nn.Module):
        def __init__(self):
            self.first, self.last = nn.Linear(20, 32, generator=rng(1)), nn.Linear(32, 5, generator=rng(2))

        def forward(self, x):
            h = self.first(x)
            h.data[h.data < 0] = 0
            return self.last(h)

    return {"model": Net(), "loss_fn": functional.cross_entropy, "batch": blobs()}


# Modes


def step_of(model, optimizer, loss_fn=functional.cross_entropy):
    def step(x, y):
        optimizer.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def droppy():
    return nn.Sequential(
        nn.Linear(784, 64, generator=rng(1)), nn.ReLU(), nn.Dropout(0.5, rng(2)), nn.Linear(64, 10, generator=rng(3))
    )


def normed():
    return nn.Sequential(
        nn.Linear(784, 64, generator=rng(1)), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 10, generator=rng(3))
    )


@bug("mode", "evaluate")
def dropout_on_in_evaluation():
    model = droppy()

    def accuracy(x, y):
        with no_grad():
            return np.mean(model(x).argmax(axis=1) == y)

    return {"model": model, "loss_fn": functional.cross_entropy, "batch": digits(), "evaluate": accuracy}


@bug("mode", "train_step")
def batch_norm_in_training_mode_in_the_evaluation_of_each_step():
    model = normed()
    optimizer = optim.Adam(model.parameters())

    def step(x, y):
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        with no_grad():
            accuracy = np.mean(model(x).data.argmax(axis=1) == y)
        return loss.item(), accuracy

    return {
        "model": model,
        "loss_fn": functional.cross_entropy,
        "batch": digits(),
        "optimizer": optimizer,
        "train_step": step,
    }


@bug("mode", "model")
def still_in_evaluation_mode():
    model = droppy()
    model.eval()
    return {
        "model": model,
        "loss_fn": functional.cross_entropy,
        "batch": digits(),
        "optimizer": optim.Adam(model.parameters()),
    }


@bug("mode", "train_step")
def no_way_back_from_evaluation():
    model = normed()
    optimizer = optim.Adam(model.parameters())

    def step(x, y):
        optimizer.zero_grad()
        functional.cross_entropy(model(x), y).backward()
        optimizer.step()
        model.eval()
        with no_grad():
            model(x)

    return {
        "model": model,
        "loss_fn": functional.cross_entropy,
        "batch": digits(),
        "optimizer": optimizer,
        "train_step": step,
    }


@bug("mode")
def dropout_by_function_in_evaluation_too():
    class Net(nn.Module):
        def __init__(self):
            self.first, self.last = nn.Linear(20, 64, generator=rng(1)), nn.Linear(64, 5, generator=rng(2))
            self.noise = rng(3)

        def forward(self, x):
            h = functional.relu(self.first(x))
            h = functional.dropout(h, 0.5, self.noise)  # here
            return self.last(h)

    return {"model": Net(), "loss_fn": functional.cross_entropy, "batch": blobs()}


@bug("runs", "BatchNorm1d")
def batch_norm_of_one_row():
    x, y = digits(1)
    return {"model": normed(), "loss_fn": functional.cross_entropy, "batch": (x, y)}


@bug("one row")
def batch_norm_by_hand_of_one_row():
    p = weights(20, 32, 5)

    def model(x):
        h = x @ p["w0"] + p["b0"]
        h = (h - h.mean(axis=0)) / np.sqrt(h.var(axis=0) + 1e-5)  # here
        return np.maximum(h, 0) @ p["w1"] + p["b1"]

    return {"model": model, "loss_fn": functional.cross_entropy, "batch": blobs(1)}


@bug("dropout")
def dropout_by_hand_of_0_99():
    p, noise = weights(784, 128, 10), rng(4)

    def model(x):
        h = functional.relu(x @ p["w0"] + p["b0"])
        kept = (noise.random(h.shape) > 0.99).astype(np.float32)
        return (h * kept / np.float32(0.01)) @ p["w1"] + p["b1"]  # here

    return {"model": model, "loss_fn": functional.cross_entropy, "batch": digits()}


@bug("dropout", "Dropout")
def dropout_of_0_99():
    model = nn.Sequential(
        nn.Linear(784, 256, generator=rng(1)), nn.ReLU(), nn.Dropout(0.99, rng(2)), nn.Linear(256, 10, generator=rng(3))
    )
    return {"model": model, "loss_fn": functional.cross_entropy, "batch": digits()}


# Gradients that end


@bug("gradient")
def argmax_in_the_loss():
    def loss(p, y):
        guess = np.argmax(p, axis=1)  # here
        return Tensor(np.mean((guess != y).astype(np.float32)))

    return {"model": mlp(20, 32, 5), "loss_fn": loss, "batch": blobs()}


@bug("gradient")
def argmax_in_the_loss_beside_a_penalty():
    model = mlp(20, 32, 5)

    def loss(p, y):
        wrong = np.mean(np.abs(p.argmax(axis=1) - y))  # here
        return wrong + 1e-4 * sum(np.sum(w**2) for w in model.parameters())

    return {"model": model, "loss_fn": loss, "batch": blobs()}


@bug("gradient")
def rounded_predictions():
    def loss(p, y):
        return np.mean((np.round(p) - y) ** 2)  # here

    return {"model": mlp(2, 32, 1), "loss_fn": loss, "batch": wave()}


# Finite or not


@bug("finite")
def the_length_of_a_bias_of_zeros():
    model = mlp(20, 32, 5)
    for layer in (model[0], model[2]):
        layer.bias.data[...] = 0

    def loss(p, y):
        return functional.cross_entropy(p, y) + 0.01 * np.sqrt(np.sum(model[0].bias ** 2))  # here

    return {
        "model": model,
        "loss_fn": loss,
        "batch": blobs(),
        "optimizer": optim.SGD(model.parameters(), lr=0.1),
    }


@bug("finite")
def zero_times_the_logarithm_of_zero():
    x, y = blobs()

    def kl(p, target):
        logs = functional.log_softmax(p)
        with np.errstate(all="ignore"):
            return np.mean(np.sum(target * (np.log(target) - logs), axis=1))  # here

    return {"model": mlp(20, 32, 5), "loss_fn": kl, "batch": (x, functional.one_hot(y, 5))}


@bug("finite")
def softmax_by_hand_that_overflows():
    model = mlp(20, 32, 5)
    model[2].weight.data *= 200

    def loss(z, y):
        e = np.exp(z)  # here
        return -np.mean(np.log((e / e.sum(axis=1, keepdims=True))[np.arange(len(y)), y]))

    return {"model": model, "loss_fn": loss, "batch": blobs()}


# Steps


@bug("parameters")
def a_parameter_replaced_in_a_plain_loop():
    w, b = (
        Tensor(normal(20, 5) * np.float32(0.1), requires_grad=True),
        Tensor(np.zeros(5, np.float32), requires_grad=True),
    )

    def model(x):
        return x @ w + b

    def step(x, y):
        nonlocal w, b
        loss = functional.cross_entropy(model(x), y)
        loss.backward()
        w = w - 0.1 * w.grad  # here
        b = b - 0.1 * b.grad

    return {"model": model, "loss_fn": functional.cross_entropy, "batch": blobs(), "train_step": step}


@bug("parameters")
def a_weight_replaced_in_a_module():
    model = mlp(20, 32, 5)

    def step(x, y):
        model.zero_grad()
        functional.cross_entropy(model(x), y).backward()
        for i in (0, 2):
            model[i].weight = model[i].weight - 0.1 * model[i].weight.grad  # here

    return {"model": model, "loss_fn": functional.cross_entropy, "batch": blobs(), "train_step": step}


@bug("parameters", "params[0]")
def parameters_that_do_not_require_grad_any_more():
    params = [Tensor(normal(20, 5) * np.float32(0.1), requires_grad=True)]

    def model(x):
        return x @ params[0]

    def step(x, y):
        functional.cross_entropy(model(x), y).backward()
        params[:] = [Tensor(w.data - 0.1 * w.grad) for w in params]

    return {"model": model, "loss_fn": functional.cross_entropy, "batch": blobs(), "train_step": step}


@bug("graph")
def a_hidden_state_that_is_carried_along():
    inner, hidden, last = (nn.Linear(i, o, generator=rng(i + o)) for i, o in ((20, 32), (32, 32), (32, 5)))
    state = {"h": np.zeros((64, 32), np.float32)}

    def model(x):
        state["h"] = np.tanh(inner(x) + hidden(state["h"]))  # here
        return last(state["h"])

    def step(x, y):
        functional.cross_entropy(model(x), y).backward()
        for layer in (inner, hidden, last):
            for w in layer.parameters():
                w.data -= np.float32(0.05) * w.grad
                w.grad = None

    return {"model": model, "loss_fn": functional.cross_entropy, "batch": blobs(), "train_step": step}


@bug("weight decay", "optimizer")
def weight_decay_of_1():
    model = mlp(20, 32, 5)
    return {
        "model": model,
        "loss_fn": functional.cross_entropy,
        "batch": blobs(),
        "optimizer": optim.SGD(model.parameters(), lr=0.1, weight_decay=1.0),
    }


@bug("weight decay", "train_step")
def weights_shrunk_by_hand():
    p = weights(20, 32, 5)

    def model(x):
        return np.maximum(x @ p["w0"] + p["b0"], 0) @ p["w1"] + p["b1"]

    def step(x, y):
        for w in p.values():
            w.grad = None
        functional.cross_entropy(model(x), y).backward()
        for w in p.values():
            w.data -= np.float32(0.01) * w.grad
            w.data *= np.float32(0.9)

    return {"model": model, "loss_fn": functional.cross_entropy, "batch": blobs(), "train_step": step}


@bug("penalty")
def a_penalty_that_outweighs_the_data():
    model = mlp(20, 32, 5)

    def loss(p, y):
        return functional.cross_entropy(p, y) + 10 * sum(np.sum(w**2) for w in model.parameters())  # here

    return {"model": model, "loss_fn": loss, "batch": blobs()}


@bug("graph")
def a_running_total_of_losses():
    model = mlp(20, 32, 5)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    total = 0.0

    def step(x, y):
        nonlocal total
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        total = total + loss  # here

    return {
        "model": model,
        "loss_fn": functional.cross_entropy,
        "batch": blobs(),
        "optimizer": optimizer,
        "train_step": step,
    }


@bug("graph")
def losses_averaged_in_the_loss():
    losses = []

    def loss(z, y):
        losses.append(functional.cross_entropy(z, y))
        return sum(losses) / len(losses)  # here

    return {"model": mlp(20, 32, 5), "loss_fn": loss, "batch": blobs()}


@bug("graph", "train_step")
def a_list_of_losses():
    model = mlp(20, 32, 5)
    optimizer, losses = optim.Adam(model.parameters()), []

    def step(x, y):
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss)

    return {
        "model": model,
        "loss_fn": functional.cross_entropy,
        "batch": blobs(),
        "optimizer": optimizer,
        "train_step": step,
    }


@bug("runs")
def a_slip_in_the_step():
    model = mlp(20, 32, 5)
    optimizer = optim.Adam(model.parameters())

    def step(x, y):
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(x), y)
        loss.backwards()  # here
        optimizer.step()

    return {
        "model": model,
        "loss_fn": functional.cross_entropy,
        "batch": blobs(),
        "optimizer": optimizer,
        "train_step": step,
    }


@bug("clearing", "train_step")
def gradients_never_cleared():
    p = weights(20, 32, 5)

    def model(x):
        return np.maximum(x @ p["w0"] + p["b0"], 0) @ p["w1"] + p["b1"]

    def step(x, y):
        functional.cross_entropy(model(x), y).backward()
        for w in p.values():
            w.data -= np.float32(0.1) * w.grad

    return {"model": model, "loss_fn": functional.cross_entropy, "batch": blobs(), "train_step": step}


@bug("update", "optimizer")
def a_learning_rate_of_100():
    model = mlp(784, 32, 10)
    return {
        "model": model,
        "loss_fn": functional.cross_entropy,
        "batch": digits(),
        "optimizer": optim.SGD(model.parameters(), lr=100),
    }


@bug("loss")
def a_summed_squared_error():
    def loss(p, y):
        return np.sum((p - y) ** 2)  # here

    model = mlp(2, 32, 1)
    return {"model": model, "loss_fn": loss, "batch": wave(), "optimizer": optim.SGD(model.parameters(), lr=0.1)}


# The network


@bug("linear", "first")
def two_linear_layers_without_an_activation():
    class Net(nn.Module):
        def __init__(self):
            self.first, self.second = nn.Linear(784, 128, generator=rng(1)), nn.Linear(128, 10, generator=rng(2))

        def forward(self, x):
            return self.second(self.first(x))

    return {"model": Net(), "loss_fn": functional.cross_entropy, "batch": digits()}


@bug("linear")
def matrices_without_an_activation():
    p = weights(20, 32, 32, 5)

    def model(x):
        h = np.maximum(x @ p["w0"] + p["b0"], 0)
        h = h @ p["w1"] + p["b1"]  # here
        return h @ p["w2"] + p["b2"]

    return {"model": model, "loss_fn": functional.cross_entropy, "batch": blobs()}


@bug("symmetry")
def matrices_of_ones():
    w0, w1 = (Tensor(np.ones(shape, np.float32) * 0.1, requires_grad=True) for shape in ((20, 32), (32, 5)))

    def model(x):
        return np.tanh(x @ w0) @ w1

    return {"model": model, "loss_fn": functional.cross_entropy, "batch": blobs()}


# What only looks like another mistake


@bug("finite")
def roots_of_standardised_inputs():
    body = mlp(20, 32, 5)

    def model(x):
        return body(np.power(x, np.float32(0.5)))  # here

    return {"model": model, "loss_fn": functional.cross_entropy, "batch": blobs()}


@bug("finite")
def the_logarithm_of_a_softmax_that_rounds_to_zero():
    def loss(z, y):
        return -np.mean(np.log(functional.softmax(1000 * z)[np.arange(len(y)), y]))  # here

    return {"model": mlp(20, 32, 5), "loss_fn": loss, "batch": blobs()}


@bug("dead units", "1 (ReLU)")
def a_convolution_whose_filters_are_dead():
    model = nn.Sequential(
        nn.Conv2d(1, 8, 5, generator=rng(1)), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 24 * 24, 10, generator=rng(2))
    )
    model[0].bias.data[...] = -50
    x, y = digits(16)
    return {"model": model, "loss_fn": functional.cross_entropy, "batch": (x.reshape(-1, 1, 28, 28), y)}


@bug("loss")
def an_absolute_error_of_the_wrong_sign():
    def loss(p, y):
        return -np.mean(np.abs(p - y))  # here

    return {"model": mlp(2, 32, 1), "loss_fn": loss, "batch": wave()}


@bug("overfit", "Sigmoid")
def pixels_of_0_to_255_from_a_sigmoid():
    x, _ = digits()
    return {"model": mlp(784, 32, 784, end=[nn.Sigmoid()]), "loss_fn": functional.mse_loss, "batch": (x, x * 255)}


@bug("update", "train_step")
def a_rate_that_a_schedule_rounds_to_zero():
    model = mlp(20, 32, 5)
    optimizer = optim.SGD(model.parameters(), lr=0.1)

    def step(x, y):
        optimizer.lr = 1 // 10
        optimizer.zero_grad()
        functional.cross_entropy(model(x), y).backward()
        optimizer.step()

    return {"model": model, "loss_fn": functional.cross_entropy, "batch": blobs(), "train_step": step}


@bug("runs")
def a_forward_that_returns_nothing():
    class Net(nn.Module):
        def __init__(self):
            self.body = mlp(20, 32, 5)

        def forward(self, x):
            self.body(x)

    return {"model": Net(), "loss_fn": functional.cross_entropy, "batch": blobs()}


@bug("update", "train_step")
def gradients_clipped_to_nothing():
    model = mlp(20, 32, 5)
    optimizer = optim.SGD(model.parameters(), lr=0.1)

    def step(x, y):
        optimizer.zero_grad()
        functional.cross_entropy(model(x), y).backward()
        optim.clip_grad_norm_(model.parameters(), 1e-6)
        optimizer.step()

    return {"model": model, "loss_fn": functional.cross_entropy, "batch": blobs(), "train_step": step}


@bug("overfit", "model")
def sequences_reshaped_across_the_rows():
    class Net(nn.Module):
        def __init__(self):
            self.body = mlp(24, 32, 5)

        def forward(self, x):
            return self.body(x.transpose(1, 0, 2).reshape(len(x), -1))

    x = normal(32, 6, 4)
    return {"model": Net(), "loss_fn": functional.cross_entropy, "batch": (x, rng(0).integers(0, 5, 32))}


@bug("evaluation", "evaluate")
def an_evaluation_that_trains():
    model = mlp(20, 32, 5)
    optimizer = optim.Adam(model.parameters())
    step = step_of(model, optimizer)
    return {
        "model": model,
        "loss_fn": functional.cross_entropy,
        "batch": blobs(),
        "optimizer": optimizer,
        "evaluate": step,
    }


@bug("mode", "train_step")
def no_way_back_from_the_own_evaluation():
    model = normed()
    optimizer = optim.Adam(model.parameters())

    def accuracy(x, y):
        model.eval()
        with no_grad():
            return np.mean(model(x).data.argmax(axis=1) == y)

    return {
        "model": model,
        "loss_fn": functional.cross_entropy,
        "batch": digits(),
        "train_step": step_of(model, optimizer),
        "evaluate": accuracy,
    }


@bug("softmax", "Sigmoid")
def sigmoid_before_a_binary_loss_on_scores():
    x, y = blobs(classes=2)

    def loss(z, y):
        return np.mean(functional.softplus(z) - y * z)

    return {"model": mlp(20, 32, 1, end=[nn.Sigmoid()]), "loss_fn": loss, "batch": (x, y[:, None].astype(np.float32))}


@bug("targets", "targets")
def signs_for_a_binary_loss():
    x, y = blobs(classes=2)
    signs = (2 * y[:, None] - 1).astype(np.float32)
    return {"model": mlp(20, 32, 1), "loss_fn": functional.binary_cross_entropy_with_logits, "batch": (x, signs)}


@bug("targets")
def a_loss_of_the_largest_score():
    def loss(z, y):
        return -np.mean(functional.log_softmax(z).max(axis=1))  # here

    return {"model": mlp(20, 32, 5), "loss_fn": loss, "batch": blobs()}


# Healthy


@healthy
def a_recurrent_network_over_rows():
    class Rnn(nn.Module):
        def __init__(self):
            self.inner, self.hidden = nn.Linear(28, 64, generator=rng(1)), nn.Linear(64, 64, generator=rng(2))
            self.last = nn.Linear(64, 10, generator=rng(3))

        def forward(self, x):
            h = np.zeros((len(x), 64), np.float32)
            for row in range(28):
                h = np.tanh(self.inner(x[:, row * 28 : (row + 1) * 28]) + self.hidden(h))
            return self.last(h)

    return {"model": Rnn(), "loss_fn": functional.cross_entropy, "batch": digits(128)}


@healthy
def a_contrastive_loss():
    x, y = blobs(48)

    def loss(z, y):
        z = z / np.sqrt(np.sum(z * z, axis=1, keepdims=True) + 1e-8)
        same = (y[:, None] == y) & ~np.eye(len(y), dtype=bool)
        logs = functional.log_softmax(z @ z.T / 0.5 - 1e9 * np.eye(len(y), dtype=np.float32))
        return -np.mean(np.sum(same * logs, axis=1) / np.maximum(same.sum(axis=1), 1))

    return {"model": mlp(20, 64, 8), "loss_fn": loss, "batch": (x, y)}


@healthy
def pairs_of_views():
    class Pair(nn.Module):
        def __init__(self):
            self.left, self.right = mlp(20, 32, 16), mlp(20, 32, 16, activation=nn.Tanh)

        def forward(self, x):
            return self.left(x) @ self.right(x).T / 4

    def loss(scores, y):
        return functional.cross_entropy(scores, y) / 2 + functional.cross_entropy(scores.T, y) / 2

    return {"model": Pair(), "loss_fn": loss, "batch": (blobs(32)[0], np.arange(32))}


class Vae(nn.Module):
    def __init__(self):
        self.encoder, self.decoder, self.noise = mlp(784, 64, 16), mlp(8, 64, 784, end=[nn.Sigmoid()]), rng(4)

    def forward(self, x):
        code = self.encoder(x)
        mean, log_variance = code[:, :8], code[:, 8:]
        z = mean + np.exp(log_variance / 2) * self.noise.standard_normal(mean.shape).astype(np.float32)
        return self.decoder(z), mean, log_variance


@healthy
def a_variational_autoencoder():
    def loss(out, x):
        p, mean, log_variance = out
        kl = -0.5 * np.sum(1 + log_variance - mean**2 - np.exp(log_variance), axis=1)
        return np.mean(np.sum((p - x) ** 2, axis=1) + kl)

    x, _ = digits()
    model = Vae()
    return {"model": model, "loss_fn": loss, "batch": (x, x), "optimizer": optim.Adam(model.parameters())}


@healthy
def a_divergence_from_soft_targets():
    x, y = blobs()
    soft = np.full((64, 5), 0.02, np.float32) + np.float32(0.9) * functional.one_hot(y, 5)

    def kl(p, q):
        return np.mean(np.sum(q * (np.log(q) - functional.log_softmax(p)), axis=1))

    return {"model": mlp(20, 32, 5), "loss_fn": kl, "batch": (x, soft)}


@healthy
def tied_weights():
    class Tied(nn.Module):
        def __init__(self):
            self.weight = nn.Parameter(normal(64, 784) * np.float32(0.04))
            self.inner, self.outer = nn.Parameter(np.zeros(64)), nn.Parameter(np.zeros(784))

        def forward(self, x):
            h = functional.relu(x @ self.weight.T + self.inner)
            return functional.sigmoid(h @ self.weight + self.outer)

    x, _ = digits()
    return {"model": Tied(), "loss_fn": functional.mse_loss, "batch": (x, x)}


@healthy
def a_generator_against_a_discriminator():
    generator, judge = mlp(8, 32, 20), mlp(20, 32, 1)

    def loss(fake, real):
        return np.mean(functional.softplus(-judge(fake)))

    return {"model": generator, "loss_fn": loss, "batch": (normal(32, 8), np.ones((32, 1), np.float32))}


@healthy
def a_discriminator_of_real_and_fake():
    generator, judge = mlp(8, 32, 20), mlp(20, 32, 1)

    def loss(scores, real):
        fake = generator(normal(32, 8)).detach()
        return np.mean(functional.softplus(-scores)) + np.mean(functional.softplus(judge(fake)))

    return {"model": judge, "loss_fn": loss, "batch": (blobs(32)[0], np.ones((32, 1), np.float32))}


@healthy
def an_autoencoder_with_a_narrow_code():
    x, _ = digits()
    model = mlp(784, 128, 16, 128, 784)
    return {
        "model": model,
        "loss_fn": functional.mse_loss,
        "batch": (x, x),
        "optimizer": optim.Adam(model.parameters(), lr=1e-3),
    }


@healthy
def words_as_one_hot_rows():
    words = rng(0).integers(0, 50, 128)
    p = {"in": Tensor(normal(50, 16) * np.float32(0.3), requires_grad=True)}
    p["out"] = Tensor(normal(16, 50, seed=1) * np.float32(0.3), requires_grad=True)

    def model(x):
        return x @ p["in"] @ p["out"]

    return {
        "model": model,
        "loss_fn": functional.cross_entropy,
        "batch": (functional.one_hot(words, 50), (words * 7 + 3) % 50),
    }


@healthy
def words_as_indices():
    class Words(nn.Module):
        def __init__(self):
            self.table = nn.Parameter(normal(50, 16))
            self.last = nn.Linear(32, 50, generator=rng(1))

        def forward(self, pairs):
            return self.last(self.table[pairs].reshape(len(pairs), -1))

    pairs = rng(0).integers(0, 50, (128, 2))
    return {"model": Words(), "loss_fn": functional.cross_entropy, "batch": (pairs, (pairs.sum(axis=1)) % 50)}


@healthy
def a_batch_of_one_row():
    return {"model": mlp(784, 32, 10), "loss_fn": functional.cross_entropy, "batch": digits(1)}


@healthy
def clipped_gradients():
    model = mlp(20, 32, 5)
    optimizer = optim.SGD(model.parameters(), lr=0.1)

    def step(x, y):
        optimizer.zero_grad()
        functional.cross_entropy(model(x), y).backward()
        optim.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()

    return {
        "model": model,
        "loss_fn": functional.cross_entropy,
        "batch": blobs(),
        "optimizer": optimizer,
        "train_step": step,
    }


@healthy
def momentum_by_hand():
    p = weights(20, 32, 5)
    speed = {name: np.zeros_like(w.data) for name, w in p.items()}

    def model(x):
        return np.maximum(x @ p["w0"] + p["b0"], 0) @ p["w1"] + p["b1"]

    def step(x, y):
        loss = functional.cross_entropy(model(x), y)
        for w in p.values():
            w.grad = None
        loss.backward()
        for name, w in p.items():
            speed[name] = 0.9 * speed[name] + w.grad
            w.data -= np.float32(0.01) * speed[name]

    return {"model": model, "loss_fn": functional.cross_entropy, "batch": blobs(), "train_step": step}


@healthy
def parameters_made_anew_in_a_dict():
    p = weights(20, 32, 5)

    def model(x):
        return np.maximum(x @ p["w0"] + p["b0"], 0) @ p["w1"] + p["b1"]

    def step(x, y):
        functional.cross_entropy(model(x), y).backward()
        for name in p:
            p[name] = Tensor(p[name].data - np.float32(0.1) * p[name].grad, requires_grad=True)

    return {"model": model, "loss_fn": functional.cross_entropy, "batch": blobs(), "train_step": step}


@healthy
def exclusive_or_from_four_rows():
    x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
    model = mlp(2, 16, 1, activation=nn.Tanh)
    return {
        "model": model,
        "loss_fn": functional.mse_loss,
        "batch": (x, np.array([[0], [1], [1], [0]], np.float32)),
        "optimizer": optim.Adam(model.parameters(), lr=0.05),
    }


@healthy
def a_regression_of_standardised_targets():
    x = normal(64, 6)
    price = 200_000 + 50_000 * x[:, :1]
    price = ((price - price.mean()) / price.std()).astype(np.float32)
    model = mlp(6, 32, 1)
    return {
        "model": model,
        "loss_fn": functional.mse_loss,
        "batch": (x, price),
        "optimizer": optim.SGD(model.parameters(), lr=0.05, momentum=0.9),
    }


@healthy
def smoothed_labels():
    def loss(z, y):
        q = 0.9 * functional.one_hot(y, 10) + np.float32(0.01)
        return -np.mean(np.sum(q * functional.log_softmax(z), axis=1))

    return {"model": mlp(784, 64, 10), "loss_fn": loss, "batch": digits()}


@healthy
def a_gaussian_with_a_learned_scale():
    def loss(out, y):
        mean, log_scale = out[:, :1], out[:, 1:]
        return np.mean(log_scale + 0.5 * ((y - mean) * np.exp(-log_scale)) ** 2)

    return {"model": mlp(2, 32, 2, activation=nn.Tanh), "loss_fn": loss, "batch": wave()}


@healthy
def dropout_trained_and_evaluated():
    model = droppy()
    optimizer = optim.Adam(model.parameters())

    def step(x, y):
        model.train()
        optimizer.zero_grad()
        functional.cross_entropy(model(x), y).backward()
        optimizer.step()
        model.eval()
        with no_grad():
            return np.mean(model(x).data.argmax(axis=1) == y)

    def accuracy(x, y):
        model.eval()
        with no_grad():
            return np.mean(model(x).data.argmax(axis=1) == y)

    return {
        "model": model,
        "loss_fn": functional.cross_entropy,
        "batch": digits(),
        "optimizer": optimizer,
        "train_step": step,
        "evaluate": accuracy,
    }


@healthy
def gradients_accumulated_over_quarters():
    model = mlp(20, 32, 5)
    optimizer = optim.AdamW(model.parameters(), weight_decay=0.01)

    def step(x, y):
        optimizer.zero_grad()
        for i in range(4):
            (functional.cross_entropy(model(x[i::4]), y[i::4]) / 4).backward()
        optimizer.step()

    return {
        "model": model,
        "loss_fn": functional.cross_entropy,
        "batch": blobs(),
        "optimizer": optimizer,
        "train_step": step,
    }


@healthy
def attention_with_a_mask():
    class Attention(nn.Module):
        def __init__(self):
            self.q, self.k, self.v = (nn.Linear(16, 16, generator=rng(i)) for i in range(3))
            self.out = nn.Linear(16, 10, generator=rng(4))

        def forward(self, x):
            scores = self.q(x) @ np.swapaxes(self.k(x), 1, 2) / 4
            scores = np.where(np.tri(x.shape[1], dtype=bool), scores, -np.inf)
            return self.out((functional.softmax(scores) @ self.v(x)).mean(axis=1))

    return {
        "model": Attention(),
        "loss_fn": functional.cross_entropy,
        "batch": (normal(32, 6, 16), rng(0).integers(0, 10, 32)),
    }


@healthy
def a_policy_gradient():
    action = rng(0).integers(0, 4, 64)
    advantage = normal(64, 1, seed=3)

    def loss(scores, advantage):
        return -np.mean(functional.log_softmax(scores) * functional.one_hot(action, 4) * advantage)

    return {"model": mlp(8, 32, 4, activation=nn.Tanh), "loss_fn": loss, "batch": (normal(64, 8), advantage)}


@healthy
def a_margin_between_classes():
    def hinge(scores, y):
        right = scores[np.arange(len(y)), y][:, None]
        margins = np.maximum(scores - right + 1, 0) * (1 - functional.one_hot(y, scores.shape[1]))
        return np.mean(np.sum(margins, axis=1))

    return {"model": mlp(20, 32, 5), "loss_fn": hinge, "batch": blobs()}


@healthy
def binary_targets_and_a_logit():
    x, y = blobs(classes=2)

    def loss(z, y):
        return np.mean(functional.softplus(z) - y * z)

    model = mlp(20, 32, 1)
    return {
        "model": model,
        "loss_fn": loss,
        "batch": (x, y[:, None].astype(np.float32)),
        "optimizer": optim.RMSprop(model.parameters(), lr=1e-3),
    }


@healthy
def a_small_penalty():
    model = mlp(20, 64, 5)

    def loss(p, y):
        return functional.cross_entropy(p, y) + 1e-3 * sum(np.sum(w**2) for w in model.parameters())

    return {"model": model, "loss_fn": loss, "batch": blobs(), "optimizer": optim.SGD(model.parameters(), lr=0.1)}


@healthy
def usual_weight_decay():
    model = mlp(784, 64, 10)
    return {
        "model": model,
        "loss_fn": functional.cross_entropy,
        "batch": digits(),
        "optimizer": optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4),
    }


@healthy
def a_linear_autoencoder():
    x, _ = blobs()
    return {
        "model": nn.Sequential(nn.Linear(20, 3, generator=rng(1)), nn.Linear(3, 20, generator=rng(2))),
        "loss_fn": functional.mse_loss,
        "batch": (x, x),
    }


@healthy
def ordinal_targets_up_to_ten():
    x = normal(64, 6)
    grade = np.clip(np.round(5 + 2 * x[:, :1]), 0, 10).astype(np.float32)
    model = mlp(6, 32, 1)
    return {
        "model": model,
        "loss_fn": functional.mse_loss,
        "batch": (x, grade),
        "optimizer": optim.Adam(model.parameters(), lr=0.01),
    }


@healthy
def words_and_those_that_follow():
    words = rng(0).integers(0, 12, 129)
    model = mlp(12, 16, 12)
    return {
        "model": model,
        "loss_fn": functional.cross_entropy,
        "batch": (functional.one_hot(words[:-1], 12), words[1:]),
        "optimizer": optim.Adam(model.parameters(), lr=0.01),
    }


@healthy
def attention_that_is_kept_for_a_picture():
    class Attention(nn.Module):
        def __init__(self):
            self.score, self.last = nn.Linear(16, 1, generator=rng(1)), nn.Linear(16, 5, generator=rng(2))
            self.shown = {}

        def forward(self, x):
            weights = self.shown["weights"] = functional.softmax(self.score(x), axis=1)
            return self.last((weights * x).sum(axis=1))

    model = Attention()
    optimizer = optim.Adam(model.parameters())
    return {
        "model": model,
        "loss_fn": functional.cross_entropy,
        "batch": (normal(32, 6, 16), rng(0).integers(0, 5, 32)),
        "optimizer": optimizer,
        "train_step": step_of(model, optimizer),
    }


@healthy
def counts_by_their_logarithm():
    x = normal(128, 4)
    counts = rng(1).poisson(np.exp(2.5 + 0.5 * x[:, :1])).astype(np.float32)
    return {"model": mlp(4, 16, 1), "loss_fn": lambda z, k: np.mean(np.exp(z) - k * z), "batch": (x, counts)}


@healthy
def three_quantiles_of_one_target():
    shares = np.array([0.1, 0.5, 0.9], np.float32)

    def loss(q, y):
        error = y - q
        return np.mean(np.maximum(shares * error, (shares - 1) * error))

    return {"model": mlp(2, 32, 3), "loss_fn": loss, "batch": wave()}


@healthy
def gradients_accumulated_over_calls():
    model = mlp(20, 32, 5)
    optimizer = optim.Adam(model.parameters())
    count = 0

    def step(x, y):
        nonlocal count
        (functional.cross_entropy(model(x), y) / 4).backward()
        count += 1
        if count % 4 == 0:
            optimizer.step()
            optimizer.zero_grad()

    return {
        "model": model,
        "loss_fn": functional.cross_entropy,
        "batch": blobs(),
        "optimizer": optimizer,
        "train_step": step,
    }


@healthy
def a_rate_that_warms_up_from_zero():
    model = mlp(20, 32, 5)
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    count = 0

    def step(x, y):
        nonlocal count
        optimizer.lr = 0.05 * min(count / 10, 1)
        count += 1
        optimizer.zero_grad()
        functional.cross_entropy(model(x), y).backward()
        optimizer.step()

    return {
        "model": model,
        "loss_fn": functional.cross_entropy,
        "batch": blobs(),
        "optimizer": optimizer,
        "train_step": step,
    }


@healthy
def a_frozen_body_and_a_new_head():
    class Transfer(nn.Module):
        def __init__(self):
            self.body, self.head = normed(), nn.Linear(10, 5, generator=rng(9))
            self.body.eval().requires_grad_(False)

        def forward(self, x):
            with no_grad():
                features = self.body(x)
            return self.head(features * 4)

    x, y = digits()
    model = Transfer()
    return {
        "model": model,
        "loss_fn": functional.cross_entropy,
        "batch": (x, y % 5),
        "optimizer": optim.Adam(model.head.parameters(), lr=0.01),
    }


@healthy
def counts_by_a_linear_model():
    x = normal(200, 3)
    counts = rng(1).poisson(np.exp(0.5 * x[:, :1] + 0.3)).astype(np.float32)
    return {
        "model": nn.Linear(3, 1, generator=rng(2)),
        "loss_fn": lambda z, k: np.mean(np.exp(z) - k * z),
        "batch": (x, counts),
    }


@healthy
def residual_branches_that_begin_with_zero():
    class Block(nn.Module):
        def __init__(self):
            self.first, self.last = nn.Linear(32, 32, generator=rng(1)), nn.Linear(32, 32, generator=rng(2))
            self.last.weight.data[...] = 0

        def forward(self, x):
            return x + self.last(functional.relu(self.first(x)))

    layers = [nn.Linear(20, 32, generator=rng(3)), Block(), Block(), nn.Linear(32, 5, generator=rng(4))]
    return {"model": nn.Sequential(*layers), "loss_fn": functional.cross_entropy, "batch": blobs()}


@healthy
def two_inputs():
    class Words(nn.Module):
        def __init__(self):
            self.table = nn.Parameter(normal(10, 8))
            self.last = nn.Linear(12, 5, generator=rng(1))

        def forward(self, given):
            words, values = given
            return self.last(np.concatenate([self.table[words], values], axis=1))

    given = rng(0).integers(0, 10, 64), normal(64, 4)
    return {"model": Words(), "loss_fn": functional.cross_entropy, "batch": (given, given[0] % 5)}


@healthy
def a_slope_with_respect_to_the_input():
    p = weights(1, 32, 1)

    def model(x):
        x = Tensor(x, requires_grad=True)
        u = np.tanh(x @ p["w0"] + p["b0"]) @ p["w1"] + p["b1"]
        return u, grad(u, x, np.ones_like(u.data), create_graph=True)

    def loss(out, y):
        u, slope = out
        return np.mean((slope + u) ** 2) + np.mean((u[:1] - 1) ** 2)

    x = np.linspace(0, 1, 32, dtype=np.float32)[:, None]
    optimizer = optim.Adam([*p.values()], lr=0.01)
    return {"model": model, "loss_fn": loss, "batch": (x, np.zeros_like(x)), "optimizer": optimizer}


@healthy
def a_critic_whose_weights_are_clipped():
    critic = mlp(2, 32, 1)
    optimizer = optim.RMSprop(critic.parameters(), lr=5e-4)

    def loss(scores, real):
        return np.mean(critic(normal(64, 2))) - np.mean(scores)

    def step(x, y):
        optimizer.zero_grad()
        loss(critic(x), y).backward()
        optimizer.step()
        for w in critic.parameters():
            w.data[...] = np.clip(w.data, -0.05, 0.05)

    batch = (normal(64, 2, seed=1) + 2, np.ones((64, 1), np.float32))
    return {"model": critic, "loss_fn": loss, "batch": batch, "train_step": step}


@healthy
def a_temperature_that_is_learned_with_the_model():
    model, temperature = mlp(20, 32, 5), Tensor(np.float32(1), requires_grad=True)

    def loss(z, y):
        return functional.cross_entropy(z * np.exp(temperature), y)

    optimizer = optim.Adam([*model.parameters(), temperature])
    return {"model": model, "loss_fn": loss, "batch": blobs(), "optimizer": optimizer}


@healthy
def four_weights_that_a_step_happens_to_shrink():
    x = normal(64, 4)
    model = nn.Linear(4, 1, generator=rng(0))
    y = (0.5 * x @ model.weight.data.T).astype(np.float32)
    return {
        "model": model,
        "loss_fn": functional.mse_loss,
        "batch": (x, y),
        "optimizer": optim.Adam(model.parameters(), lr=0.01),
    }


@healthy
def experts_that_no_row_of_the_batch_is_sent_to():
    class Experts(nn.Module):
        def __init__(self):
            self.left, self.right = mlp(20, 16, 5), mlp(20, 16, 5, activation=nn.Tanh)

        def forward(self, x):
            to_right = x[:, :1] < 0
            return np.where(to_right, self.right(x), self.left(x)) if to_right.any() else self.left(x)

    x, y = blobs()
    x[:, 0] = np.abs(x[:, 0])
    return {"model": Experts(), "loss_fn": functional.cross_entropy, "batch": (x, y)}


@healthy
def four_rows_of_two_classes():
    x, y = normal(4, 20), np.array([0, 1, 1, 1])
    return {"model": mlp(20, 32, 2), "loss_fn": functional.cross_entropy, "batch": (x, y)}
