"""Random functions, compiled: each gives what it gives when it is not compiled, at every call."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygrad_np import Tensor, compile, func, functional, grad, nn

COLUMNS = 4


class World:
    """What a random function computes with: its arguments and, as it finds them in its closure, two parameters."""

    def __init__(self, x, y, mask, integers, p, q):
        self.x, self.y, self.mask, self.integers, self.p, self.q = x, y, mask, integers, p, q
        self.shape = x.shape

    def full(self, v):
        """Any of the values in the shape of x."""
        if v.shape == self.shape[::-1]:
            v = np.transpose(v)
        return np.broadcast_to(v, self.shape)

    def own(self, v):
        """A Tensor of its own, to be written to."""
        return self.full(v) + 0.0 * self.q


def assigned(f):
    """A step that writes to a copy of its first operand."""

    def step(s, v, w):
        own = s.own(v)
        result = f(s, own, w)
        return own if result is None else result

    return step


def set_item(index):
    def write(s, v, w):
        v[index] = s.full(w)[index]

    return assigned(write)


@assigned
def set_rows(s, v, w):
    v[s.integers] = s.full(w)[0]


@assigned
def set_where_masked(s, v, w):
    v[s.mask] = w.sum()


@assigned
def set_twice_after_use(s, v, w):
    before = v * 2.0
    v[0] = before[1]
    v[:, 1] = v[:, 1] + s.full(w)[:, 2]
    return v + before


@assigned
def add_in_place(s, v, w):
    v += s.full(w)


@assigned
def multiply_in_place(s, v, w):
    v *= np.tanh(s.full(w))
    v -= 0.5


@assigned
def add_to_columns(s, v, w):
    v[:, 1:3] = v[:, 1:3] + s.full(w)[:, :2]


def of_full(f):
    return lambda s, v, w: f(s, s.full(v), s.full(w))


STEPS = {
    "add": of_full(lambda s, v, w: v + w),
    "add the same": lambda s, v, w: v + v,
    "subtract a broadcast row": of_full(lambda s, v, w: v - w[0]),
    "multiply": of_full(lambda s, v, w: v * np.tanh(w)),
    "square": lambda s, v, w: np.tanh(v) ** 2,
    "divide": of_full(lambda s, v, w: v / (1 + w * w)),
    "maximum": of_full(lambda s, v, w: np.maximum(v, w)),
    "relu": lambda s, v, w: np.maximum(v, 0),
    "where masked": of_full(lambda s, v, w: np.where(s.mask, v, w)),
    "where greater": of_full(lambda s, v, w: np.where(v > w, v, 0.5)),
    "comparisons counted": of_full(lambda s, v, w: v * (v < w).sum(axis=0)),
    "tanh": lambda s, v, w: np.tanh(v),
    "exp": lambda s, v, w: np.exp(-v * v),
    "sigmoid": lambda s, v, w: functional.sigmoid(v),
    "rows by integers": of_full(lambda s, v, w: v[s.integers].sum(axis=0)),
    "reverse": of_full(lambda s, v, w: v[:, ::-1]),
    "every other column": of_full(lambda s, v, w: v[:, ::2].sum(axis=1, keepdims=True)),
    "first row": of_full(lambda s, v, w: v[0]),
    "transpose": of_full(lambda s, v, w: v.T),
    "reshape": of_full(lambda s, v, w: v.reshape(s.shape[::-1])),
    "matmul with a parameter": of_full(lambda s, v, w: v @ s.p),
    "gram": of_full(lambda s, v, w: np.tanh(v @ w.T) @ w),
    "linear": of_full(lambda s, v, w: functional.linear(v, s.p, s.q)),
    "sum": of_full(lambda s, v, w: v.sum(axis=0)),
    "mean": of_full(lambda s, v, w: v.mean(axis=1, keepdims=True)),
    "sum of all": lambda s, v, w: v.sum() * 0.1,
    "max": of_full(lambda s, v, w: v.max(axis=0)),
    "masked elements": of_full(lambda s, v, w: v[s.mask].sum()),  # the shape of v[mask] depends on values
    "the largest": of_full(lambda s, v, w: np.take_along_axis(v, np.argmax(v, axis=1)[:, None], axis=1)),
    "sort": of_full(lambda s, v, w: np.sort(v, axis=1)),
    "softmax": of_full(lambda s, v, w: functional.softmax(v)),
    "log_softmax": of_full(lambda s, v, w: functional.log_softmax(v, axis=0)),
    "constant": lambda s, v, w: 0.5 * v + np.float64(0.25),
    "constant array": of_full(lambda s, v, w: v * np.arange(COLUMNS)),
    "integers": of_full(lambda s, v, w: v * (s.integers.sum() % 3) + s.integers[0]),
    "mask as a number": of_full(lambda s, v, w: v * s.mask),
    "concatenate": of_full(lambda s, v, w: np.concatenate([v, w])[1 : len(v) + 1]),
    "stack": of_full(lambda s, v, w: np.stack([v, w, v], axis=1).sum(axis=1)),
    "einsum": of_full(lambda s, v, w: np.einsum("ij,ij->i", v, w)[:, None]),
    "cumsum": of_full(lambda s, v, w: np.cumsum(v, axis=1)),
    "parameter": of_full(lambda s, v, w: v + s.q),
    "set a row": set_item(0),
    "set columns": set_item((slice(None), slice(0, 4, 2))),
    "set a reversed view": set_item((slice(None, None, -1), 0)),
    "set rows by integers": set_rows,
    "set masked elements": set_where_masked,
    "set twice after use": set_twice_after_use,
    "add in place": add_in_place,
    "multiply in place": multiply_in_place,
    "add to columns": add_to_columns,
}

programs = st.lists(st.tuples(st.sampled_from(list(STEPS)), st.integers(0, 30), st.integers(0, 30)), max_size=9)


def function(program, p, q):
    """The function of x, y, mask and integers that a program stands for: a loss, and its last value."""

    def run(x, y, mask, integers):
        world = World(x, y, mask, integers, p, q)
        values = [x, y, q]
        for step, first, second in program:
            # operands are counted from the end, so that most values are used
            v, w = values[-1 - first % len(values)], values[-1 - second % len(values)]
            values.append(STEPS[step](world, v, w))
        return sum(np.tanh(v).sum() for v in values[-3:]) + q.sum(), np.multiply(values[-1], 1.0)

    return run


def example(seed, rows):
    generator = np.random.default_rng(seed)
    x, y = generator.standard_normal((rows, COLUMNS)), generator.standard_normal(COLUMNS)
    mask = generator.random((rows, COLUMNS)) < 0.5
    return x, y, mask, generator.integers(0, rows, 5)


def outcome(run, arguments, tracked, parameters):
    x, y, mask, integers = arguments
    x, y = (Tensor(a, requires_grad=True) if t else a for a, t in zip((x, y), tracked, strict=True))
    loss, last = run(x, y, mask, integers)
    inputs = [t for t in (x, y, *parameters) if isinstance(t, Tensor)]
    found = grad(loss, inputs, allow_unused=True)
    return [
        getattr(loss, "array", loss),
        getattr(last, "array", last),
        *(np.zeros(t.shape) if g is None else g for t, g in zip(inputs, found, strict=True)),
    ]


@given(program=programs, tracked=st.tuples(st.booleans(), st.booleans()), seed=st.integers(0, 1000))
@settings(max_examples=80, deadline=None)
def test_a_random_function_gives_the_same_values_and_gradients_compiled(program, tracked, seed):
    generator = np.random.default_rng(seed)
    p = nn.Parameter(0.5 * generator.standard_normal((COLUMNS, COLUMNS)), dtype=np.float64)
    q = nn.Parameter(generator.standard_normal(COLUMNS), dtype=np.float64)
    own = function(program, p, q)
    compiled = compile(own)
    kept = []
    for call, rows in enumerate([3, 3, 5, 3, 3, 5]):
        if call == 3:
            p.data[...] = 0.3 * generator.standard_normal(p.shape)
            q.data -= 0.25
        if call == 4:
            p.data = 0.5 * generator.standard_normal(p.shape)
            q.data = generator.standard_normal(q.shape)
        arguments = example(seed + call, rows)
        ours = outcome(compiled, arguments, tracked, [p, q])
        for a, b in zip(ours, outcome(own, arguments, tracked, [p, q]), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)
        kept += [(array, array.copy()) for array in ours]
    for array, copy in kept:
        np.testing.assert_array_equal(array, copy)


@given(program=programs, seed=st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_a_random_gradient_is_the_same_compiled(program, seed):
    generator = np.random.default_rng(seed)
    p = 0.5 * generator.standard_normal((COLUMNS, COLUMNS))
    q = Tensor(generator.standard_normal(COLUMNS))

    own = func.grad(
        lambda x, y, mask, integers: function(program, p, q)(x, y, mask, integers)[0] + (x.sum() + y.sum()), [0, 1]
    )
    compiled = compile(own)
    for call, rows in enumerate([3, 3, 5, 3]):
        arguments = example(seed + call, rows)
        with np.errstate(all="ignore"):
            for a, b in zip(compiled(*arguments), own(*arguments), strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)
