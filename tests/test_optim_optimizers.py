"""The optimizers: what they compute, what they leave alone, what they remember, and what they refuse."""

import copy
import pickle
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygrad_np import Tensor, nn, optim
from tinygrad_np.errors import ArgumentError, ArgumentTypeError, CheckpointError, DTypeError, ShapeError

# PyTorch's documented algorithms, line by line: from a parameter and the gradients of successive steps to its value
# after them.


def reference_sgd(p, gradients, lr=1e-3, momentum=0, weight_decay=0, nesterov=False, dampening=0):
    b = None
    for g in gradients:
        if weight_decay != 0:
            g = g + weight_decay * p
        if momentum != 0:
            b = g if b is None else momentum * b + (1 - dampening) * g
            g = g + momentum * b if nesterov else b
        p = p - lr * g
    return p


def reference_adam(p, gradients, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, amsgrad=False):
    m = v = largest = np.zeros_like(p)
    for t, g in enumerate(gradients, start=1):
        if weight_decay != 0:
            g = g + weight_decay * p
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g**2
        m_hat = m / (1 - betas[0] ** t)
        largest = np.maximum(largest, v)
        v_hat = (largest if amsgrad else v) / (1 - betas[1] ** t)
        p = p - lr * m_hat / (np.sqrt(v_hat) + eps)
    return p


def reference_adamw(p, gradients, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2, amsgrad=False):
    m = v = largest = np.zeros_like(p)
    for t, g in enumerate(gradients, start=1):
        p = p - lr * weight_decay * p
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g**2
        m_hat = m / (1 - betas[0] ** t)
        largest = np.maximum(largest, v)
        v_hat = (largest if amsgrad else v) / (1 - betas[1] ** t)
        p = p - lr * m_hat / (np.sqrt(v_hat) + eps)
    return p


def reference_rmsprop(p, gradients, lr=1e-2, alpha=0.99, eps=1e-8, weight_decay=0, momentum=0, centered=False):
    v = b = m = np.zeros_like(p)
    for g in gradients:
        if weight_decay != 0:
            g = g + weight_decay * p
        v = alpha * v + (1 - alpha) * g**2
        m = alpha * m + (1 - alpha) * g
        b = momentum * b + g / (np.sqrt(v - m**2 if centered else v) + eps)
        p = p - lr * b
    return p


REFERENCES = {
    optim.SGD: reference_sgd,
    optim.Adam: reference_adam,
    optim.AdamW: reference_adamw,
    optim.RMSprop: reference_rmsprop,
}

CASES = [
    (optim.SGD, {}),
    (optim.SGD, {"lr": 0.1}),
    (optim.SGD, {"lr": 0.1, "weight_decay": 0.01}),
    (optim.SGD, {"lr": 0.1, "momentum": 0.9}),
    (optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    (optim.SGD, {"lr": 0.1, "momentum": 0.9, "dampening": 0.3}),
    (optim.Adam, {}),
    (optim.Adam, {"lr": 0.02, "betas": (0.5, 0.5), "amsgrad": True}),
    (optim.Adam, {"lr": 0.02, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1}),
    (optim.Adam, {"betas": (0.0, 0.0)}),
    (optim.AdamW, {}),
    (optim.AdamW, {"lr": 0.02, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1}),
    (optim.AdamW, {"lr": 0.02, "betas": (0.5, 0.5), "amsgrad": True}),
    (optim.RMSprop, {}),
    (optim.RMSprop, {"alpha": 0.9, "eps": 1e-3, "centered": True, "momentum": 0.9}),
    (optim.RMSprop, {"lr": 0.02, "alpha": 0.9, "eps": 1e-3, "weight_decay": 0.1}),
    (optim.RMSprop, {"momentum": 0.9, "weight_decay": 0.1}),
]

every_case = pytest.mark.parametrize(
    ("optimizer_class", "arguments"), CASES, ids=lambda value: getattr(value, "__name__", str(value))
)
every_dtype = pytest.mark.parametrize(
    ("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 1e-5)], ids=["float64", "float32"]
)


def parameter(shape, seed=0, dtype=np.float64, name=None):
    return Tensor(np.random.default_rng(seed).standard_normal(shape), requires_grad=True, dtype=dtype, name=name)


def gradients_for(shape, steps, seed=1, dtype=np.float64):
    rng = np.random.default_rng(seed)
    return [np.asarray(rng.standard_normal(shape), dtype=dtype) for _ in range(steps)]


def run(optimizer, p, gradients):
    for g in gradients:
        p.grad = g
        optimizer.step()


# What they compute


@every_case
@every_dtype
@given(
    shape=st.sampled_from([(), (1,), (5,), (3, 4), (2, 0), (2, 3, 4)]), steps=st.integers(1, 6), seed=st.integers(0, 9)
)
@settings(max_examples=8, deadline=None)
def test_steps_follow_the_documented_algorithm(optimizer_class, arguments, dtype, tolerance, shape, steps, seed):
    p = parameter(shape, seed, dtype)
    gradients = gradients_for(shape, steps, seed + 1, dtype)
    expected = REFERENCES[optimizer_class](
        p.data.astype(np.float64), [g.astype(np.float64) for g in gradients], **arguments
    )
    run(optimizer_class([p], **arguments), p, gradients)
    assert p.dtype == dtype
    np.testing.assert_allclose(p.data, expected, rtol=tolerance, atol=tolerance)


@every_case
@every_dtype
def test_steps_equal_pytorchs(optimizer_class, arguments, dtype, tolerance):
    torch = pytest.importorskip("torch")
    p = parameter((7, 3), dtype=dtype)
    theirs = torch.tensor(p.data, requires_grad=True)
    optimizer = optimizer_class([p], **arguments)
    their_optimizer = getattr(torch.optim, optimizer_class.__name__)([theirs], **arguments)
    for g in gradients_for((7, 3), steps=20, dtype=dtype):
        p.grad = g
        optimizer.step()
        theirs.grad = torch.tensor(g)
        their_optimizer.step()
        np.testing.assert_allclose(p.data, theirs.detach().numpy(), rtol=tolerance, atol=tolerance)


@every_case
def test_a_large_parameter_moves_as_its_small_pieces_would(optimizer_class, arguments):
    shape = (3, 40001)
    whole = parameter(shape)
    pieces = [Tensor(piece.copy(), requires_grad=True) for piece in np.split(whole.data.ravel(), 13 * 3)]
    gradients = gradients_for(shape, steps=3)
    run(optimizer_class([whole], **arguments), whole, gradients)
    optimizer = optimizer_class(pieces, **arguments)
    for g in gradients:
        for piece, its_gradient in zip(pieces, np.split(g.ravel(), len(pieces)), strict=True):
            piece.grad = its_gradient
        optimizer.step()
    np.testing.assert_array_equal(whole.data.ravel(), np.concatenate([piece.data for piece in pieces]))


@every_case
@pytest.mark.parametrize("layout", [np.asfortranarray, lambda a: np.repeat(a, 2, axis=1)[:, ::2]], ids=["F", "strided"])
def test_the_layout_of_parameter_and_gradient_in_memory_does_not_matter(optimizer_class, arguments, layout):
    plain = parameter((200, 300))
    other = Tensor(layout(plain.data), requires_grad=True)
    mixed = Tensor(plain.data.copy(), requires_grad=True)
    gradients = gradients_for((200, 300), steps=3)
    run(optimizer_class([plain], **arguments), plain, gradients)
    run(optimizer_class([other], **arguments), other, gradients)
    run(optimizer_class([mixed], **arguments), mixed, [layout(g) for g in gradients])
    np.testing.assert_array_equal(other.data, plain.data)
    np.testing.assert_array_equal(mixed.data, plain.data)


@pytest.mark.parametrize("make", [lambda p: optim.SGD(p, 0.1, momentum=0.5), lambda p: optim.Adam(p, 0.1)])
def test_training_finds_the_minimum_of_a_quadratic(make):
    p = Tensor([3.0, -2.0], requires_grad=True)
    target = np.array([1.0, 2.0])
    optimizer = make([p])
    for _ in range(300):
        optimizer.zero_grad()
        ((p - target) ** 2).sum().backward()
        optimizer.step()
    np.testing.assert_allclose(p.data, target, atol=1e-3)


def test_the_learning_rate_can_be_set_between_steps():
    p = Tensor([1.0], requires_grad=True)
    optimizer = optim.SGD([p], lr=0.5)
    p.grad = np.array([1.0])
    optimizer.step()
    optimizer.lr = 0.125
    optimizer.step()
    assert p.data == [1 - 0.5 - 0.125]


@every_case
def test_a_numpy_float64_learning_rate_does_not_change_float32_arithmetic(optimizer_class, arguments):
    one, other = parameter(100, dtype=np.float32), parameter(100, dtype=np.float32)
    gradients = gradients_for(100, steps=3, dtype=np.float32)
    optimizer = optimizer_class([one], **arguments)
    other_optimizer = optimizer_class([other], **arguments)
    other_optimizer.lr = np.float64(optimizer.lr)
    run(optimizer, one, gradients)
    run(other_optimizer, other, gradients)
    np.testing.assert_array_equal(one.data, other.data)


# Groups of parameters

GROUPS = [
    (optim.SGD, {"lr": 0.1, "momentum": 0.9}, {"lr": 0.01, "momentum": 0.5, "weight_decay": 0.1}),
    (optim.Adam, {"lr": 0.1}, {"lr": 0.3, "betas": (0.5, 0.9), "amsgrad": True}),
    (optim.AdamW, {"lr": 0.1}, {"weight_decay": 0.0}),
    (optim.RMSprop, {"lr": 0.01, "centered": True}, {"lr": 0.02, "momentum": 0.5}),
]
every_group = pytest.mark.parametrize(
    ("optimizer_class", "arguments", "group"), GROUPS, ids=[kind.__name__ for kind, _, _ in GROUPS]
)


def grouped(optimizer_class, arguments, group, parameters):
    """The first parameter in a group that sets nothing, the others in one with settings of its own."""
    first, *others = parameters
    return optimizer_class([{"params": [first]}, {"params": iter(others), **group}], **arguments)


@every_group
def test_groups_under_a_schedule_follow_pytorchs(optimizer_class, arguments, group):
    torch = pytest.importorskip("torch")
    ours = [parameter((7, 3), seed) for seed in range(3)]
    theirs = [torch.tensor(p.data, requires_grad=True) for p in ours]
    optimizer = grouped(optimizer_class, arguments, group, ours)
    their_class = getattr(torch.optim, optimizer_class.__name__)
    their_optimizer = grouped(their_class, arguments, group, theirs)
    their_schedule = torch.optim.lr_scheduler.CosineAnnealingLR(their_optimizer, 10)
    schedule = optim.schedules.cosine(arguments["lr"], 10)
    for step, g in enumerate(gradients_for((7, 3), steps=9)):
        for p, their_p in zip(ours, theirs, strict=True):
            p.grad, their_p.grad = g, torch.tensor(g)
        optimizer.lr = schedule(step)
        optimizer.step()
        their_optimizer.step()
        their_schedule.step()
    for p, their_p in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(p.data, their_p.detach().numpy(), rtol=1e-10, atol=1e-12)


@every_group
def test_a_group_moves_as_with_an_optimizer_of_its_own(optimizer_class, arguments, group):
    together, apart = [[parameter(4, seed) for seed in range(3)] for _ in range(2)]
    whole = grouped(optimizer_class, arguments, group, together)
    parts = optimizer_class(apart[:1], **arguments), optimizer_class(apart[1:], **{**arguments, **group})
    for g in gradients_for(4, steps=3):
        for p in (*together, *apart):
            p.grad = g
        for optimizer in (whole, *parts):
            optimizer.step()
    assert [p.data.tolist() for p in together] == [p.data.tolist() for p in apart]


@every_group
def test_training_with_groups_resumed_from_a_state_continues_with_the_same_bits(optimizer_class, arguments, group):
    ours = [parameter(4, seed) for seed in range(3)]
    optimizer = grouped(optimizer_class, arguments, group, ours)

    def go_on(optimizer, parameters):
        for g in gradients_for(4, steps=3):
            for i, p in enumerate(parameters):
                p.grad = g * (i + 1)
            optimizer.step()

    go_on(optimizer, ours)
    resumed = [Tensor(p.data.copy(), requires_grad=True) for p in ours]
    resumed_optimizer = grouped(optimizer_class, arguments, group, resumed)
    resumed_optimizer.load_state_dict(optimizer.state_dict())
    copied, copied_optimizer = copy.deepcopy((ours, optimizer))
    for parameters, its_optimizer in ((ours, optimizer), (resumed, resumed_optimizer), (copied, copied_optimizer)):
        go_on(its_optimizer, parameters)
        assert [p.data.tolist() for p in parameters] == [p.data.tolist() for p in ours]


def test_setting_the_rate_keeps_those_of_groups_in_proportion_and_each_can_be_set_alone():
    ps = [parameter(2), parameter(3)]
    optimizer = optim.SGD([{"params": ps[:1], "lr": 0.01}, {"params": ps[1:]}], lr=0.1)
    optimizer.lr = 0.05
    assert [group.lr for group in optimizer.param_groups] == [0.005, 0.05]
    for group in optimizer.param_groups:  # as users of PyTorch do
        group["lr"] *= 2
    assert [group.lr for group in optimizer.param_groups] == [0.01, 0.1]
    assert [group["params"] for group in optimizer.param_groups] == [ps[:1], ps[1:]]


def test_a_group_may_be_frozen_as_a_whole():
    frozen, free = nn.Parameter([1.0], requires_grad=False), nn.Parameter([1.0])
    optimizer = optim.SGD([{"params": [frozen]}, {"params": [free]}], lr=1.0)
    free.grad = np.ones(1, np.float32)
    optimizer.step()
    assert [frozen.item(), free.item()] == [1.0, 0.0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: [{"lr": 0.1}], 'must be a dict with "params"'),
        (lambda p: [{"params": [p]}, parameter(3)], 'must be a dict with "params"'),
        (lambda p: [{"params": [p], "learning_rate": 0.1}], "learning_rate"),
        (lambda p: [{"params": [p]}, {"params": [p]}], "parameter 1 is parameter 0 again"),
        (lambda p: [{"params": [p], "lr": -1}], "lr must be a finite number >= 0"),
        (lambda p: [{"params": p}], r"a single Tensor; pass \[parameter\]"),
        (lambda p: [{"params": []}], "params is empty"),
    ],
)
def test_groups_that_make_no_sense_are_refused(make, message):
    with pytest.raises(ArgumentError, match=message):
        optim.SGD(make(parameter(2)))


def test_a_setting_of_groups_cannot_be_changed_for_all_at_once():
    optimizer = optim.SGD([{"params": [parameter(2)]}], momentum=0.9)
    with pytest.raises(ArgumentError, match=r"set it by optimizer.param_groups\[i\].momentum"):
        optimizer.momentum = 0.5
    optimizer.param_groups[0].momentum = 0.5
    with pytest.raises(ArgumentError, match="'mometum' is no setting of SGD"):
        optimizer.param_groups[0]["mometum"] = 0.5


@pytest.mark.parametrize(("kind", "name"), [(optim.Adam, "amsgrad"), (optim.RMSprop, "centered")])
def test_what_decides_about_the_state_cannot_be_changed_later(kind, name):
    with pytest.raises(ArgumentError, match=f"{name} decides what is remembered"):
        setattr(kind([parameter(2)]), name, True)


def test_dampening_and_nesterov_exclude_each_other():
    with pytest.raises(ArgumentError, match=r"dampening must be 0 for nesterov, but is 0\.1"):
        optim.SGD([parameter(2)], momentum=0.9, nesterov=True, dampening=0.1)


# What they leave alone


@every_case
def test_a_step_updates_in_place_and_leaves_the_gradient_alone(optimizer_class, arguments):
    p = parameter((4, 5))
    data, before = p.data, p.data.copy()
    p.grad = g = gradients_for((4, 5), steps=1)[0]
    g_before = g.copy()
    optimizer_class([p], **arguments).step()
    assert p.data is data
    assert p.grad is g
    assert not np.array_equal(data, before)
    np.testing.assert_array_equal(g, g_before)


@every_case
def test_a_step_allocates_far_less_than_a_parameter_takes(optimizer_class, arguments):
    p = parameter(500_000, dtype=np.float32)
    p.grad = np.ones_like(p.data)
    optimizer = optimizer_class([p], **arguments)
    optimizer.step()
    tracemalloc.start()
    optimizer.step()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < p.data.nbytes / 20


@every_case
def test_a_parameter_without_gradient_keeps_its_value_and_starts_its_count_later(optimizer_class, arguments):
    early, late = parameter(3), parameter(3)
    start = late.data.copy()
    gradients = gradients_for(3, steps=4)
    optimizer = optimizer_class([early, late], **arguments)
    run(optimizer, early, gradients[:2])
    np.testing.assert_array_equal(late.data, start)
    late.grad = gradients[2]
    run(optimizer, early, gradients[2:3])
    alone = Tensor(start, requires_grad=True)
    run(optimizer_class([alone], **arguments), alone, gradients[2:3])
    np.testing.assert_array_equal(late.data, alone.data)


def test_zero_grad_sets_every_gradient_to_none():
    ps = [parameter(2), parameter(3)]
    ps[0].grad = np.ones(2)
    optim.SGD(ps).zero_grad()
    assert [p.grad for p in ps] == [None, None]


def test_the_parameters_may_come_from_a_generator():
    ps = [parameter(2), parameter(3)]
    assert optim.SGD(p for p in ps).params == ps


@every_case
def test_a_frozen_parameter_stays_until_it_is_set_free(optimizer_class, arguments):
    frozen, free = nn.Parameter([1.0, 2.0]), nn.Parameter([3.0, 4.0])
    frozen.requires_grad = False
    optimizer = optimizer_class([frozen, free], **arguments)

    def moved():
        before = [p.data.copy() for p in (frozen, free)]
        for p in (frozen, free):
            if p.requires_grad:
                p.grad = np.ones(2, np.float32)
        optimizer.step()
        optimizer.zero_grad()
        return [not np.array_equal(p.data, old) for p, old in zip((frozen, free), before, strict=True)]

    assert moved() == [False, True]
    frozen.requires_grad, free.requires_grad = True, False
    assert moved() == [True, False]
    free.requires_grad = True
    assert moved() == [True, True]
    assert optimizer.state_dict()["step"].tolist() == [2, 2]


@every_case
def test_a_copy_of_an_optimizer_updates_the_copies_of_its_parameters(optimizer_class, arguments):
    p = parameter((3, 2))
    optimizer = optimizer_class([p], **arguments)
    gradients = gradients_for((3, 2), steps=4)
    run(optimizer, p, gradients[:2])
    for make in (copy.deepcopy, lambda both: pickle.loads(pickle.dumps(both))):
        other, other_optimizer = make((p, optimizer))
        assert other_optimizer.params == [other]
        run(other_optimizer, other, gradients[2:])
    run(optimizer, p, gradients[2:])
    np.testing.assert_array_equal(other.data, p.data)


def test_the_weight_decay_can_be_set_later():
    for optimizer_class in (optim.SGD, optim.AdamW):
        p = Tensor([1.0], requires_grad=True)
        optimizer = optimizer_class([p], lr=1.0)
        optimizer.weight_decay = 0.5
        run(optimizer, p, [np.zeros(1)])
        assert p.data.tolist() == [0.5]


@pytest.mark.parametrize("one", [np.float32(1), np.float64(1), np.int64(1), 1])
def test_numpys_numbers_are_numbers(one):
    p = Tensor(np.ones(1, np.float32), requires_grad=True)
    optimizer = optim.SGD([p], lr=one, momentum=one / 2, weight_decay=one / 4)
    run(optimizer, p, [np.zeros(1, np.float32)])
    assert (p.data.tolist(), p.dtype) == ([0.75], np.float32)
    assert [type(value) for value in (optimizer.lr, optimizer.momentum, optimizer.weight_decay)] == [float] * 3
    assert optim.Adam([p], betas=[one / 2, one / 4]).betas == (0.5, 0.25)


# What they remember


def test_the_state_is_named_as_in_pytorch_and_shaped_as_the_parameters():
    ps = [parameter((2, 3), dtype=np.float32), parameter(4)]

    def described(optimizer):
        return {key: (array.shape, array.dtype.name) for key, array in optimizer.state_dict().items()}

    step = {"step": ((2,), "int64")}
    momentum = {"momentum.0": ((2, 3), "float32"), "momentum.1": ((4,), "float64")}
    square_avg = {"square_avg.0": ((2, 3), "float32"), "square_avg.1": ((4,), "float64")}
    moments = {
        "exp_avg.0": ((2, 3), "float32"),
        "exp_avg.1": ((4,), "float64"),
        "exp_avg_sq.0": ((2, 3), "float32"),
        "exp_avg_sq.1": ((4,), "float64"),
    }
    assert described(optim.SGD(ps)) == step
    assert described(optim.SGD(ps, momentum=0.9)) == step | momentum
    assert described(optim.RMSprop(ps)) == step | square_avg
    assert described(optim.RMSprop(ps, momentum=0.9)) == step | square_avg | momentum
    assert described(optim.Adam(ps)) == described(optim.AdamW(ps)) == step | moments


def test_the_moments_of_adam_equal_pytorchs():
    torch = pytest.importorskip("torch")
    p = parameter((7, 3))
    theirs = torch.tensor(p.data, requires_grad=True)
    optimizer, their_optimizer = optim.Adam([p]), torch.optim.Adam([theirs])
    for g in gradients_for((7, 3), steps=5):
        theirs.grad = torch.tensor(g)
        their_optimizer.step()
        run(optimizer, p, [g])
    state, their_state = optimizer.state_dict(), their_optimizer.state[theirs]
    assert state["step"] == [5]
    np.testing.assert_allclose(state["exp_avg.0"], their_state["exp_avg"].numpy(), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(state["exp_avg_sq.0"], their_state["exp_avg_sq"].numpy(), rtol=1e-12, atol=1e-15)


@every_case
def test_training_resumed_from_a_state_continues_with_the_same_bits(optimizer_class, arguments):
    p = parameter((3, 4), dtype=np.float32)
    gradients = gradients_for((3, 4), steps=6, dtype=np.float32)
    optimizer = optimizer_class([p], **arguments)
    run(optimizer, p, gradients[:3])
    state = optimizer.state_dict()
    resumed = Tensor(p.data.copy(), requires_grad=True)
    run(optimizer, p, gradients[3:])

    resumed_optimizer = optimizer_class([resumed], **arguments)
    resumed_optimizer.load_state_dict(state)
    run(resumed_optimizer, resumed, gradients[3:])
    np.testing.assert_array_equal(resumed.data, p.data)


def test_a_state_is_a_copy_that_later_steps_do_not_change():
    p = parameter(3)
    optimizer = optim.Adam([p])
    run(optimizer, p, gradients_for(3, steps=1))
    state = optimizer.state_dict()
    before = copy.deepcopy(state)
    run(optimizer, p, gradients_for(3, steps=1))
    for key, array in before.items():
        np.testing.assert_array_equal(state[key], array)


@pytest.mark.parametrize(
    ("saved", "message"),
    [
        (optim.SGD([parameter(3)]), "not the state of Adam .* missing exp_avg.0, exp_avg_sq.0, unknown none"),
        (optim.SGD([parameter(3)], momentum=0.9), "missing exp_avg.0, exp_avg_sq.0, unknown momentum.0"),
        (optim.Adam([parameter(3), parameter(3)]), "unknown exp_avg.1, exp_avg_sq.1"),
        (optim.Adam([parameter((3, 1))]), r"exp_avg.0 .* has shape \(3, 1\) .* needs \(3,\)"),
        (optim.Adam([parameter(3, dtype=np.float32)]), "exp_avg.0 .* dtype float32, .* float64"),
    ],
    ids=["sgd", "momentum", "more parameters", "shape", "dtype"],
)
def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(saved, message):
    p = parameter(3)
    optimizer = optim.Adam([p])
    run(optimizer, p, gradients_for(3, steps=1))
    before = optimizer.state_dict()
    with pytest.raises(CheckpointError, match=message):
        optimizer.load_state_dict(saved.state_dict())
    for key, array in optimizer.state_dict().items():
        np.testing.assert_array_equal(array, before[key])


# What they refuse


@pytest.mark.parametrize(
    ("optimizer_class", "arguments", "message"),
    [
        (optim.SGD, {"lr": -0.1}, "lr must be a finite number >= 0, but is -0.1"),
        (optim.SGD, {"lr": float("nan")}, "lr must be .* but is nan"),
        (optim.SGD, {"lr": float("inf")}, "lr must be .* but is inf"),
        (optim.SGD, {"momentum": -0.5}, "momentum must be .* but is -0.5"),
        (optim.SGD, {"momentum": 9}, "momentum must be .* but is 9"),
        (optim.SGD, {"weight_decay": -1.0}, "weight_decay must be .* but is -1.0"),
        (optim.SGD, {"nesterov": True}, "momentum must be greater than 0 for nesterov, but is 0.0"),
        (optim.Adam, {"lr": -1}, "lr must be .* but is -1"),
        (optim.Adam, {"betas": (1.0, 0.9)}, r"betas\[0\] must be at least 0 and less than 1, but is 1.0"),
        (optim.Adam, {"betas": (0.9, -0.1)}, r"betas\[1\] must be .* but is -0.1"),
        (optim.Adam, {"eps": float("nan")}, "eps must be .* but is nan"),
        (optim.Adam, {"weight_decay": float("nan")}, "weight_decay must be .* but is nan"),
        (optim.AdamW, {"weight_decay": -0.01}, "weight_decay must be .* but is -0.01"),
        (optim.RMSprop, {"alpha": 1.5}, "alpha must be .* but is 1.5"),
        (optim.RMSprop, {"eps": -1.0}, "eps must be .* but is -1.0"),
        (optim.RMSprop, {"momentum": 1.0}, "momentum must be .* but is 1.0"),
    ],
)
def test_a_number_that_makes_no_sense_is_refused_by_name_and_value(optimizer_class, arguments, message):
    with pytest.raises(ArgumentError, match=message):
        optimizer_class([parameter(2)], **arguments)


def test_an_empty_list_of_parameters_is_refused():
    with pytest.raises(ArgumentError, match="params is empty"):
        optim.SGD([])


def test_a_parameter_given_twice_is_refused():
    p = parameter(2, name="bias")
    with pytest.raises(ArgumentError, match=r"parameter 2 \(bias\) is parameter 0 again"):
        optim.SGD([p, parameter(2), p])


def test_a_tensor_that_does_not_require_grad_is_refused():
    with pytest.raises(ArgumentError, match=r"parameter 1 of shape \(2,\) is not a leaf that requires grad"):
        optim.SGD([parameter(2), Tensor(np.zeros(2))])


def test_a_computed_tensor_is_refused():
    with pytest.raises(ArgumentError, match=r"parameter 0 .* is not a leaf"):
        optim.SGD([parameter(2) * 2])


def test_a_single_tensor_in_place_of_a_list_is_refused():
    with pytest.raises(ArgumentError, match=r"a single Tensor; pass \[parameter\]"):
        optim.SGD(parameter((2, 2)))


def test_what_is_no_tensor_is_refused():
    with pytest.raises(ArgumentError, match=r"item 0 is a tuple; pass model.parameters\(\)"):
        optim.SGD([("weight", parameter(2))])


def test_a_complex_parameter_is_refused():
    with pytest.raises(DTypeError, match="parameter 0 has dtype complex128"):
        optim.SGD([parameter(2, dtype=np.complex128)])


def test_a_gradient_of_another_shape_is_refused():
    p = parameter((2, 3))
    with pytest.raises(ShapeError, match=r"a gradient of shape \(3, 2\) is set for a Tensor of shape \(2, 3\)"):
        p.grad = np.ones((3, 2))


def test_only_frozen_parameters_are_refused():
    layer = nn.Linear(2, 2)
    for p in layer.parameters():
        p.requires_grad = False
    with pytest.raises(ArgumentError, match=r"all of the 2 parameters are frozen; set requires_grad = True"):
        optim.SGD(layer.parameters())


@pytest.mark.parametrize(
    "params",
    [
        lambda: nn.Linear(2, 2),
        lambda: nn.Sequential(nn.Linear(2, 2)),
        lambda: nn.Linear(2, 2).state_dict(),
        lambda: nn.Linear(2, 2).state_dict().values(),
        lambda: nn.Linear(2, 2).named_parameters(),
        lambda: set(nn.Linear(2, 2).parameters()),
        lambda: None,
    ],
    ids=["module", "sequence", "state", "arrays", "named", "set", "None"],
)
def test_what_are_no_parameters_in_an_order_are_refused(params):
    with pytest.raises((ArgumentError, ArgumentTypeError), match=r"params must be .*; pass model.parameters\(\)"):
        optim.SGD(params())


@pytest.mark.parametrize("wrong", ["0.1", None, True, [0.1], np.array([0.1, 0.2]), np.array(0.1), Tensor(0.1), 1j])
def test_what_is_no_number_is_refused_by_name(wrong):
    p = parameter(2)
    for make, name in [
        (lambda: optim.SGD([p], lr=wrong), "lr"),
        (lambda: optim.SGD([p], momentum=wrong), "momentum"),
        (lambda: optim.SGD([p], weight_decay=wrong), "weight_decay"),
        (lambda: optim.Adam([p], betas=(0.9, wrong)), r"betas\[1\]"),
        (lambda: optim.AdamW([p], eps=wrong), "eps"),
        (lambda: optim.RMSprop([p], alpha=wrong), "alpha"),
        (lambda: setattr(optim.SGD([p]), "lr", wrong), "lr"),
    ]:
        with pytest.raises(ArgumentTypeError, match=f"{name} must be a number, but is "):
            make()


@pytest.mark.parametrize("betas", [0.9, (0.9,), (0.9, 0.99, 0.999), np.array([0.9, 0.99]), None])
def test_betas_are_a_pair(betas):
    with pytest.raises(ArgumentError, match="betas must be a pair of numbers"):
        optim.Adam([parameter(2)], betas=betas)


@pytest.mark.parametrize("lr", [-1, float("nan"), float("inf")])
def test_a_learning_rate_that_makes_no_sense_is_refused_when_it_is_set(lr):
    optimizer = optim.SGD([parameter(2)], lr=0.5)
    with pytest.raises(ArgumentError, match="lr must be a finite number >= 0"):
        optimizer.lr = lr
    assert optimizer.lr == 0.5


@every_case
def test_a_parameter_whose_array_has_another_dtype_or_shape_by_now_is_refused(optimizer_class, arguments):
    for change, error in [(lambda a: a.astype(np.float64), DTypeError), (lambda a: a.reshape(3, 2), ShapeError)]:
        p = parameter((2, 3), dtype=np.float32, name="weight")
        optimizer = optimizer_class([p], **arguments)
        run(optimizer, p, gradients_for((2, 3), steps=1, dtype=np.float32))
        p.data = change(p.data)
        p.grad = np.ones_like(p.data)
        with pytest.raises(
            error, match=r"parameter 0 \(weight\) has .* but had \(2, 3\) and float32 when the optimizer"
        ):
            optimizer.step()


@pytest.mark.parametrize("kind", [optim.SGD, optim.Adam, optim.AdamW, optim.RMSprop])
def test_a_parameter_frozen_after_backward_stays_as_it_is(kind):
    frozen, learning = nn.Parameter([1.0]), nn.Parameter([1.0])
    optimizer = kind([frozen, learning], lr=0.1)
    (frozen * learning).sum().backward()
    frozen.requires_grad = False
    optimizer.step()
    assert frozen.item() == 1.0
    assert learning.item() < 1.0


def test_a_step_without_any_gradient_warns():
    model = nn.Linear(2, 1)
    optimizer = optim.SGD(model.parameters())
    model = copy.deepcopy(model)
    model(np.ones((1, 2), np.float32)).sum().backward()
    with pytest.warns(UserWarning, match="none of the parameters has a gradient"):
        optimizer.step()


@pytest.mark.parametrize("state", [None, "path", optim.SGD([nn.Parameter([1.0])])])
def test_a_state_that_is_no_dict_is_refused(state):
    with pytest.raises(ArgumentTypeError, match=r"what state_dict\(\) returned"):
        optim.SGD([nn.Parameter([1.0])]).load_state_dict(state)


@every_case
def test_repr_shows_the_settings(optimizer_class, arguments):
    optimizer = optimizer_class([parameter(2), parameter(3)], **arguments)
    optimizer.lr = 0.25
    text = repr(optimizer)
    assert text.startswith(f"{optimizer_class.__name__}(2 parameters, lr=0.25, ")
    assert all(f"{name}={value}" in text for name, value in arguments.items() if name != "lr")


def test_pytorchs_way_to_set_the_learning_rate_is_answered_with_what_to_write():
    with pytest.raises(AttributeError, match=r"SGD has no attribute 'param_groups'; .* optimizer\.lr = value"):
        optim.SGD([parameter(2)], lr=0.5).param_groups  # noqa: B018
