"""Anomaly detection: networks with one planted bug each, which must be named, and healthy ones, which must not."""

import inspect
import re
import threading
import warnings

import numpy as np
import pytest

from tinygrad_np import Tensor, debug, differentiable, func, functional, grad, nn, no_grad, optim
from tinygrad_np.debug import detect_anomaly
from tinygrad_np.errors import AnomalyError

GENERATOR = np.random.default_rng(0)
X = GENERATOR.standard_normal((6, 4)).astype(np.float32)
TARGET = np.array([0, 1, 2, 0, 1, 2])
CAUSAL = np.triu(np.ones((6, 6), dtype=bool), 1)


def tracked(data, dtype=None):
    return Tensor(data, requires_grad=True, dtype=dtype)


def message_of(function):
    with pytest.raises(AnomalyError) as caught, detect_anomaly():
        function()
    return str(caught.value)


class Network(nn.Module):
    """Two layers and, at the end, a module that calls a given function, in which the bugs are."""

    def __init__(self, head=None, width=8, activation=None):
        generator = np.random.default_rng(1)
        self.layers = nn.Sequential(
            nn.Linear(4, width, generator=generator), activation or nn.ReLU(), nn.Linear(width, 3, generator=generator)
        )
        self.head = Head(head) if head else nn.Identity()

    def forward(self, x):
        h = self.layers(x)  # the layers' calls
        return self.head(h)


class Head(nn.Module):
    def __init__(self, function):
        self.function = function

    def forward(self, x):
        return self.function(x)


# The zoo of bugs. In each, a comment marks the line that must be named. Those of `head` are inside a module, `head`.

BUGS = []


def bug(operation, cause, module=None):
    """Add a function to the zoo. The message must name this operation, this part of the cause and this module."""
    return lambda function: BUGS.append((function, operation, cause, module)) or function


def head(operation, cause):
    """The same for what the module `head` of a network does with its input, of shape (6, 3), before the loss."""

    def add(function):
        def step():
            Network(function)(X).sum().backward()

        step.__name__, step.planted = function.__name__, function
        BUGS.append((step, operation, cause, "head (Head())"))

    return add


def line_of(function, marker):
    lines, first = inspect.getsourcelines(function)
    return first + next(i for i, line in enumerate(lines) if marker in line)


@head("log", "the logarithm of zero")
def log_of_zero(x):
    return np.log(functional.relu(x) * 0)  # here


@head("log", "negative")
def log_of_a_negative_number(x):
    return np.log(-functional.softplus(x))  # here


@head("log", "softmax rounds")
def log_of_softmax(x):
    p = functional.softmax(x * 1000)
    return np.log(p)  # here


@head("log", "sigmoid rounds")
def binary_cross_entropy_by_hand(x):
    p = functional.sigmoid(1000 * np.abs(x))
    return -np.log(1 - p)  # here


@head("exp", "more than 88.72 the result is too large for float32")
def exp_overflows(x):
    return np.exp(x * x * 1e5)  # here


@head("exp", "functional has softmax")
def softmax_by_hand(x):
    e = np.exp(1000 * np.abs(x))  # here
    return e / e.sum(axis=1, keepdims=True)


@head("divide", "subtract the maximum")
def softmax_by_hand_of_very_negative_numbers(x):
    e = np.exp(-1e5 * (np.abs(x) + 1))
    return e / e.sum(axis=1, keepdims=True)  # here


@head("divide", "division by zero")
def division_by_zero(x):
    return 1 / (x * 0)  # here


@head("divide", "0 / 0")
def zero_by_zero(x):
    x = x - x
    return x / np.abs(x)  # here


@head("divide", "x / np.where(y == 0, 1, y)")
def a_division_by_zero_that_is_masked_afterwards(x):
    positive = functional.relu(x - 100)
    return np.where(positive.data > 0, x / positive, 0)  # here


@head("sqrt", "square root of a negative")
def sqrt_of_a_negative_number(x):
    return np.sqrt(np.mean(x * x, axis=1) - np.mean(x * x) - 1)  # here


@head("power", "not a whole number")
def fractional_power_of_a_negative_number(x):
    return (-np.abs(x) - 1) ** 0.5  # here


@head("power", "negative power")
def zero_to_a_negative_power(x):
    return (0 * x) ** -1.0  # here


@head("power", "too large for float32")
def power_overflows(x):
    return (np.abs(x) + 1000) ** 20.0  # here


@head("arccos", "outside of [-1, 1]")
def arccos_of_more_than_one(x):
    return np.arccos(np.abs(x) + 1.5)  # here


@head("arctanh", "outside of (-1, 1)")
def arctanh_of_one(x):
    return np.arctanh(np.sign(x).data + 0 * x)  # here


@head("square", "training has diverged")
def square_overflows(x):
    return np.square(x * np.float32(1e30))  # here


@head("sum", "compute in float32")
def half_precision_overflows(x):
    x = np.astype(x * 0 + 6e4, np.float16)
    return np.astype(x.sum(), np.float32)  # here


@head("mean", "no elements")
def mean_of_nothing(x):
    chosen = x[x.data > 1e9]
    return chosen.mean()  # here


@head("var", "degrees of freedom")
def variance_of_one_element(x):
    return np.var(x[:1, :1], ddof=1)  # here


@head("subtract", "inf - inf")
def infinity_minus_infinity(x):
    x = np.where(x.data > x.data.min(), x, -np.inf)
    return x - x.max(axis=1, keepdims=True) - (x - x)  # here


@head("softmax", "masks everything in a row")
def a_mask_of_everything(x):
    mask = np.arange(6)[:, None] == 2
    return functional.softmax(np.where(mask, -np.inf, x))  # here


@head("where", "the result depends on it")
def a_mask_of_what_the_loss_needs(x):
    x = np.where(np.arange(3) == 1, -np.inf, x)  # here
    return -functional.log_softmax(x)[:, 1]


@head("slogdet", "singular")
def log_determinant_of_a_singular_matrix(x):
    return np.linalg.slogdet(x[:3] * 0)[1]  # here


@bug("linear", "in row 2, column 3", "layers.0 (Linear(4, 8))")
def missing_values_in_the_data():
    x = X.copy()
    x[2, 3] = np.nan
    Network()(x)


@bug("linear", "the data contain inf; the first is in row 2, column 3", "layers.0 (Linear(4, 8))")
def infinite_values_in_the_data():
    x = X.copy()
    x[2, 3] = np.inf
    Network()(x)


@bug("stack", "was given NaN")
def missing_values_in_a_list():
    np.stack([tracked([1.0, 2.0]), np.array([np.nan, 1.0])]).sum().backward()  # here


@bug("subtract", "the data contain NaN")
def missing_values_in_the_target():
    target = np.where(np.eye(6, 3) == 1, np.nan, 1)
    functional.mse_loss(Network()(X), target)  # here


@bug("linear", "layers.2.weight", "layers.2 (Linear(8, 3))")
def a_parameter_that_is_nan():
    model = Network()
    model.layers[2].weight.data[0, 0] = np.nan
    model(X)


@bug("multiply", "training has diverged")
def training_diverges():
    model = Network()
    optimizer = optim.SGD(model.parameters(), lr=1e12)
    for _ in range(10):
        loss = functional.mse_loss(model(X), X[:, :3])  # here
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


# Bugs of derivatives


@head("the derivative of sqrt", "the branch that np.where did not take")
def where_of_sqrt(x):
    x = functional.relu(x)
    return np.where(x.data > 0, np.sqrt(x), 0)  # here


@head("the derivative of sqrt", "np.linalg.norm")
def length_of_zero(x):
    return np.sqrt(np.sum(np.square(x * 0), axis=1))  # here


@head("the derivative of power", "power less than 1")
def root_of_zero(x):
    return functional.relu(-np.abs(x)) ** 0.5  # here


@head("the derivative of arccos", "np.clip")
def arccos_at_one(x):
    return np.arccos(np.clip(np.abs(x) + 1, -1, 1))  # here


@head("the derivative of arctan2", "angle of the origin")
def angle_of_the_origin(x):
    return np.arctan2(x * 0, x * 0)  # here


@head("the derivative of square", "0 * NaN")
def missing_values_that_are_masked_too_late(x):
    target = np.where(np.eye(6, 3) == 1, np.nan, 1)
    return np.where(np.isnan(target), 0, np.square(x - target))  # here


@head("the derivative of multiply", "explode from layer to layer")
def gradients_explode(x):
    x = x * np.float32(1e-30)
    for _ in range(2):
        x = x * np.float32(1e30) * np.float32(1e-25)  # here
    return x * np.float32(1e30)


@head("the derivative of divide", "divided by their squares")
def division_by_very_small_numbers(x):
    return 1 / (x * 0 + np.float32(1e-25))  # here


@bug("part of the derivative of power", "power less than 1")
def a_second_derivative_that_is_infinite():
    x = tracked([4.0, 0.0])
    y = np.sum(x**1.5)  # here
    grad(y, x, create_graph=True).sum().backward()


# Bugs of memory


@head("square", "in-place assignment or operation")
def output_written_to_in_place(x):
    y = np.square(x)  # here
    x.data[0] = 0
    return y


@bug("linear", "call backward() before step()", "layers.2 (Linear(8, 3))")
def step_before_backward():
    model = Network()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    model(X).sum().backward()
    loss = functional.cross_entropy(model(X), TARGET)
    optimizer.step()
    loss.backward()


@bug("linear", "compute the loss again", "layers.2 (Linear(8, 3))")
def second_backward_after_a_step():
    model = Network()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    loss = functional.cross_entropy(model(X), TARGET)
    loss.backward(retain_graph=True)
    optimizer.step()
    loss.backward()


@bug("linear", "write to a copy", "layers.0 (Linear(4, 8))")
def a_batch_buffer_that_is_filled_again_before_backward():
    batch = X.copy()
    loss = Network()(batch).sum()
    batch[...] = X[::-1]
    loss.backward()


@pytest.mark.filterwarnings("ignore:Mean of empty slice", "ignore:Degrees of freedom")  # not floating-point warnings
@pytest.mark.parametrize("planted", BUGS, ids=lambda planted: planted[0].__name__)
def test_a_planted_bug_is_named_with_its_operation_line_module_and_cause(planted):
    function, operation, cause, module = planted
    message = message_of(function)
    inside = module is not None and module.startswith("layers")
    line = (
        line_of(Network, "# the layers' calls") if inside else line_of(getattr(function, "planted", function), "# here")
    )
    place = f"{operation} at {__file__}:{line}{f' in {module}' if module else ''}"
    assert re.search(rf"{re.escape(place)}(,|:| made| was given)", message.splitlines()[0]), message
    assert cause in message


# The zoo of healthy networks: none may sound an alarm


def train(model, loss=functional.cross_entropy, target=TARGET, x=X, steps=20, optimizer=optim.Adam):
    optimizer = optimizer(model.parameters(), lr=0.01)
    for _ in range(steps):
        optimizer.zero_grad()
        loss(model(x), target).backward()
        optimizer.step()


def attention(x):
    scores = np.where(CAUSAL, -np.inf, x @ x.T)
    return functional.softmax(scores) @ x


def recurrent(x):
    h = x * 0
    for _ in range(20):
        h = np.tanh(h + x)
    return h


def reused_buffer(x):
    noise = np.empty(x.shape, x.dtype)
    for i in range(3):
        noise[...] = i
        x = x + noise  # whose derivative needs no values
    return x


def batches_in_one_buffer():
    model, batch = Network(), np.empty((2, 4), np.float32)
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for i in range(0, 6, 2):
        batch[...] = X[i : i + 2]
        target = TARGET[i : i + 2].copy()
        loss = functional.cross_entropy(model(batch), target)
        target[...] = 0  # the loss needs it no more
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def higher_derivatives():
    func.hessian(lambda x: np.sum(np.tanh(x) ** 3 / (1 + x * x)))(np.linspace(-1, 1, 4))
    func.jvp(func.grad(lambda x: np.sum(np.linalg.norm(x, axis=1))), [X], [X])
    x = tracked(X)
    penalty = np.linalg.norm(grad(Network(activation=nn.Softplus())(x).sum(), x, create_graph=True))
    penalty.backward()


def linear_algebra():
    a = tracked(np.eye(3) + 0.1 * X[:3, :3])
    u, s, vh = np.linalg.svd(a)
    (u.sum() + s.sum() + vh.sum() + np.linalg.slogdet(a)[1] + np.linalg.inv(a).sum()).backward()
    np.sum(np.abs(np.fft.rfft(tracked(X[0]))) ** 2).backward()


def missing_values_are_left_out():
    x, target = tracked(X), np.where(X > 1, np.nan, X)
    np.nansum(x - target).backward()
    np.nanmean(x * np.nan_to_num(target)).backward()
    np.where(np.isnan(target), 0, x - target).sum().backward()
    np.square(x - np.where(np.isnan(target), 0, target)).mean().backward()


def infinities_that_nothing_depends_on():
    x = tracked(X)
    np.max(x, axis=1, initial=-np.inf).sum().backward()
    np.minimum(np.where(X > 0, x, np.inf), 1).sum().backward()
    functional.logsumexp(np.where(np.ones((6, 4), dtype=bool), -np.inf, x), axis=1)
    (functional.logsumexp(np.where(CAUSAL, -np.inf, x @ x.T), axis=1)).sum().backward()
    np.exp(np.where(X > 0, -np.inf, x)).sum().backward()
    np.clip(x, -np.inf, 1).sum().backward()


def masks_of_several_kinds():
    scores = tracked(X) @ X.T
    functional.log_softmax(scores + np.where(CAUSAL, -np.inf, 0))[:, 0].sum().backward()
    scores = tracked(X) @ X.T
    scores[CAUSAL] = -np.inf
    functional.softmax(scores)[0].sum().backward()
    np.pad(tracked(X), 1, constant_values=-np.inf).max(axis=1)[1:-1].sum().backward()


def edges():
    (tracked(np.zeros((0, 3))) * 2).sum().backward()
    np.prod(tracked([0.0, 2.0])).backward()
    nn.BatchNorm1d(3)(tracked(np.ones((2, 3)))).sum().backward()
    x = tracked(np.zeros((3, 0)))
    (x * 2).sum().backward()
    np.concatenate([tracked(2.0)[None], tracked([3.0, 4.0])]).prod().backward()
    y = tracked([3, 4], dtype=np.float16)
    (y * 2).sum().backward()
    z = tracked([1 + 2j, 3j])
    np.abs(np.exp(1j * z)).sum().backward()
    a, b = np.split(tracked(np.arange(4.0)), 2)
    (a * b).sum().backward()
    t = tracked(np.arange(3.0))
    np.take(t, [0, 0, 2]).sum().backward()
    np.maximum(t, np.zeros(3)).sum().backward()
    np.sqrt(np.maximum(t, 0) + 1e-12).sum().backward()
    np.std(t * 0).backward()


def two_losses_of_one_graph():
    h = Network()(X)
    functional.cross_entropy(h, TARGET).backward(retain_graph=True)
    h.sum().backward()


def evaluation_between_steps():
    model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3))
    train(model, steps=2)
    model.eval()
    with no_grad():
        model(X)
    model.train()
    train(model, steps=2)


HEALTHY = {
    **{
        f"{width} wide with {activation!r}": lambda width=width, activation=activation: train(
            Network(width=width, activation=activation), steps=5
        )
        for width in (1, 16, 64)
        for activation in (
            *(nn.ReLU(), nn.LeakyReLU(), nn.GELU(), nn.Sigmoid(), nn.Tanh(), nn.Softplus(), nn.LogSoftmax()),
            *(nn.Dropout(0.5, np.random.default_rng(0)), nn.LayerNorm(width), nn.BatchNorm1d(width)),
        )
    },
    **{
        f"optimizer {optimizer.__name__}": lambda optimizer=optimizer: train(Network(), optimizer=optimizer)
        for optimizer in (optim.SGD, optim.Adam, optim.AdamW)
    },
    **{
        f"{activation.__name__} of large numbers": lambda activation=activation: train(
            Network(lambda x: activation(1e4 * x)), steps=3
        )
        for activation in (functional.sigmoid, np.tanh, functional.softplus, functional.gelu, functional.softmax)
    },
    "large logits": lambda: train(Network(lambda x: 1e4 * x)),
    "label smoothing": lambda: train(Network(lambda x: 1e4 * x), lambda x, t: functional.cross_entropy(x, t, 0.1)),
    "attention": lambda: train(Network(attention)),
    "recurrent": lambda: train(Network(recurrent)),
    "a reused buffer": lambda: train(Network(reused_buffer)),
    "regression": lambda: train(Network(), functional.mse_loss, X[:, :3]),
    **{
        function.__name__.replace("_", " "): function
        for function in (batches_in_one_buffer, higher_derivatives, linear_algebra, missing_values_are_left_out)
    },
    **{
        function.__name__.replace("_", " "): function
        for function in (
            infinities_that_nothing_depends_on,
            masks_of_several_kinds,
            edges,
            two_losses_of_one_graph,
            evaluation_between_steps,
        )
    },
}


@pytest.mark.parametrize("healthy", HEALTHY.values(), ids=HEALTHY)
def test_a_healthy_network_raises_no_alarm(healthy):
    with detect_anomaly():
        healthy()


# What the message holds


def test_the_message_shows_what_went_in_what_came_out_and_the_first_bad_element():
    x = tracked([[1.0, 2.0], [0.0, -1.0]])
    lines = message_of(lambda: np.log(x)).splitlines()
    assert lines[0].endswith("made 2 of 4 values non-finite (1 NaN, 1 -inf) from finite inputs")
    assert lines[1:4] == [
        "  input 1 (leaf): shape (2, 2) float64, from -1 to 2, 1 zero",
        "  output: shape (2, 2) float64, from 0 to 0.693147, 1 zero, 1 NaN, 1 -inf",
        "  the first is at index (1, 0): log(0) = -inf",
    ]
    assert lines[4].startswith("  likely cause: ")
    assert lines[5].startswith("  what to do: ")


def test_the_message_of_a_derivative_shows_the_gradients_before_and_after_it():
    x = tracked([4.0, 0.0], dtype=np.float32)
    lines = message_of(lambda: np.sqrt(x).sum().backward()).splitlines()
    assert "  gradient of the output: shape (2,) float32, all 1" in lines
    assert "  gradient for input 1: shape (2,) float32, all finite ones 0.25, 1 inf" in lines
    assert "  the first is at index (1,): sqrt(0), gradient of the output 1" in lines


def test_inputs_are_called_by_the_names_that_the_user_gave_them():
    x, y = Tensor([1.0], requires_grad=True, name="mass"), tracked([0.0])
    message = message_of(lambda: x / functional.relu(y))
    assert "input 1 (Tensor 'mass')" in message
    assert "input 2 (from relu)" in message


def test_of_an_unknown_function_no_cause_is_told():
    @differentiable(lambda g, out, x: g)
    def mystery(x):
        return x + np.inf

    message = message_of(lambda: mystery(tracked([0.5])))
    assert message.startswith("mystery at")
    assert "likely cause" not in message


@pytest.mark.parametrize("function", [lambda x: np.log(x), lambda x: np.sqrt(x)])
def test_a_loss_of_a_forward_pass_outside_is_found_in_the_backward_pass_and_the_remedy_told(function):
    x = tracked([1.0, 0.0])
    with np.errstate(all="ignore"):
        loss = function(x).sum()
    message = message_of(loss.backward)
    assert re.match(r"(the derivative of sqrt|log) made", message)
    assert "run the forward pass inside detect_anomaly() as well" in message


def test_a_gradient_that_is_not_finite_to_begin_with_is_told():
    y = tracked([1.0, 2.0]) * 2
    assert "the backward pass started with it" in message_of(lambda: y.backward([np.nan, 1.0]))


def test_a_gradient_that_overflows_where_broadcasting_is_undone_is_found():
    x, bias = tracked(np.zeros((4, 1), np.float16)), tracked(np.zeros(1, np.float16))
    y = x + bias
    assert "compute in float32" in message_of(lambda: y.backward(np.full((4, 1), 4e4, np.float16)))


def test_parameters_and_paths_are_found_in_modules_that_are_not_called_themselves():
    class Tied(nn.Module):
        def __init__(self):
            self.block = nn.Sequential(nn.Linear(4, 3))

        def forward(self, x):
            return np.log(self.block[0](x) * 0) @ self.block[0].weight

    assert "log at" in message_of(lambda: Tied()(X))
    model = Tied()
    model.block[0].weight.data[...] = np.nan
    message = message_of(lambda: model(X))
    assert " in block.0 (Linear(4, 3)) " in message
    assert "(parameter block.0.weight)" in message


# Where and when it watches


def test_nothing_is_checked_outside():
    array = np.array([1.0, 2.0])
    with detect_anomaly():
        pass
    y = (tracked([3.0, 4.0]) * array).sum()
    array[0] = 10.0
    y.backward()
    with np.errstate(all="ignore"):
        np.log(tracked([0.0])).backward()


def test_an_error_inside_ends_the_watch():
    with pytest.raises(ZeroDivisionError), detect_anomaly():
        1 / 0  # noqa: B018
    with np.errstate(all="ignore"):
        np.log(tracked([0.0]))


def test_it_nests_and_works_with_other_tools():
    x = tracked([1.0, 0.0])
    with debug.trace(), detect_anomaly(), debug.trace():
        with detect_anomaly():
            np.sqrt(x + 1).sum().backward()
        with pytest.raises(AnomalyError):
            np.log(x)


def test_generators_that_end_in_any_order_take_only_their_own_watch_with_them():
    def watched():
        with detect_anomaly():
            yield

    def overwrite():
        x, constant = tracked([1.0]), np.ones(1)
        y = x * constant
        constant += 1
        y.backward()

    with np.errstate():
        first, second = watched(), watched()
        next(first)
        next(second)
        first.close()
        with pytest.raises(AnomalyError):
            overwrite()
        second.close()
    overwrite()


def test_another_thread_is_not_watched_and_can_be_watched_alone():
    found = []

    def work(context):
        try:
            with np.errstate(all="ignore"), context:
                np.log(tracked([0.0])).backward()
        except AnomalyError:
            found.append(context)

    contexts = [np.errstate(all="ignore"), detect_anomaly()]
    with detect_anomaly():
        for context in contexts:
            thread = threading.Thread(target=work, args=(context,))
            thread.start()
            thread.join()
    assert found == contexts[1:]


def test_numpys_warnings_are_silent_inside_and_back_again_outside():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with detect_anomaly():
            np.exp(tracked([-1e4])).backward()
            np.log(np.zeros(1))
        with pytest.warns(RuntimeWarning, match="divide by zero"):
            np.log(np.zeros(1))


def test_what_passes_first_derivatives_is_found_in_second_ones_at_the_line_of_the_call():
    x = tracked([1.0, 0.0])
    with detect_anomaly():
        slope = grad(np.sum(x**1.5), x, create_graph=True)
        with pytest.raises(AnomalyError, match=r"the derivative of power at .*, part of the derivative of power at"):
            slope.sum().backward()


def test_a_very_long_chain_is_followed_back_to_where_it_went_wrong():
    x = tracked([1.0, 0.0])
    with np.errstate(all="ignore"):
        y = np.log(x)
        for _ in range(20_000):
            y = -y
    assert message_of(y.sum().backward).startswith("log made")


def test_numbers_are_the_same_with_and_without_it():
    def gradients(context):
        model = Network()
        with context:
            functional.cross_entropy(model(X), TARGET).backward()
        return [parameter.grad.tobytes() for parameter in model.parameters()]

    assert gradients(detect_anomaly()) == gradients(np.errstate())
