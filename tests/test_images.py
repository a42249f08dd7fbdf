"""Convolution, pooling and embedding: against PyTorch, against sums written out, and at the edges."""

import itertools

import numpy as np
import pytest

from tinygrad_np import Tensor, checkpoint, compile, debug, functional, grad, nn
from tinygrad_np.debug import gradcheck, gradgradcheck
from tinygrad_np.errors import ArgumentError, ArgumentTypeError, DTypeError, ShapeError

rng = np.random.default_rng(0)


def tracked(*shape, dtype=np.float64):
    return Tensor(rng.normal(size=shape), requires_grad=True, dtype=dtype)


def assert_pytorchs(ours, theirs, *inputs):
    """Values, first and second derivatives, as they are and compiled."""
    torch = pytest.importorskip("torch")
    cotangents = [rng.normal(size=x.shape) for x in inputs]
    their_inputs = [torch.tensor(x, requires_grad=True) for x in inputs]
    z = theirs(torch.nn.functional, *their_inputs)
    start = rng.normal(size=tuple(z.shape))
    their_first = torch.autograd.grad(z, their_inputs, torch.tensor(start), create_graph=True)
    their_scalar = sum((g * torch.tensor(c)).sum() for g, c in zip(their_first, cotangents, strict=True))
    their_second = torch.autograd.grad(their_scalar, their_inputs, allow_unused=True)
    for function in (ours, compile(ours)):
        our_inputs = [Tensor(x, requires_grad=True) for x in inputs]
        y = function(*our_inputs)
        np.testing.assert_allclose(y.data, z.numpy(force=True), rtol=1e-10, atol=1e-12)
        first = grad(y, our_inputs, start, create_graph=True)
        scalar = sum((g * c).sum() for g, c in zip(first, cotangents, strict=True))
        second = [None] * len(inputs)
        if isinstance(scalar, Tensor) and scalar.requires_grad:
            second = grad(scalar, our_inputs, allow_unused=True)
        pairs = [*zip(first, their_first, strict=True), *zip(second, their_second, strict=True)]
        for our, their in pairs:
            our = 0.0 if our is None else our.data if isinstance(our, Tensor) else our
            their = np.zeros(()) if their is None else their.numpy(force=True)
            np.testing.assert_allclose(our, their, rtol=1e-9, atol=1e-10)


# Convolution


def convolved(x, weight, bias, stride, padding, dilation, groups):
    """The definition, sum by sum."""
    x = np.pad(x, [(0, 0), (0, 0), *((p, p) for p in padding)])
    spans = [d * (k - 1) + 1 for k, d in zip(weight.shape[2:], dilation, strict=True)]
    rows, cols = ((n - span) // s + 1 for n, span, s in zip(x.shape[2:], spans, stride, strict=True))
    out = np.empty((len(x), len(weight), rows, cols))
    share = len(weight) // groups
    for o, i, j in itertools.product(range(len(weight)), range(rows), range(cols)):
        channels = slice(o // share * weight.shape[1], (o // share + 1) * weight.shape[1])
        window = tuple(
            slice(a * s, a * s + span, d) for a, s, span, d in zip((i, j), stride, spans, dilation, strict=True)
        )
        out[:, o, i, j] = np.sum(x[(slice(None), channels, *window)] * weight[o], axis=(1, 2, 3)) + bias[o]
    return out


GEOMETRIES = [
    ((1, 1), (0, 0), (1, 1), 1),
    ((1, 1), (1, 2), (1, 1), 2),
    ((2, 1), (0, 1), (1, 1), 1),
    ((1, 3), (2, 0), (2, 1), 2),
    ((2, 2), (1, 1), (1, 2), 4),
]


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_a_convolution_is_the_sum_of_what_each_filter_sees(geometry):
    x, weight, bias = rng.normal(size=(2, 4, 7, 6)), rng.normal(size=(8, 4 // geometry[3], 3, 2)), rng.normal(size=8)
    np.testing.assert_allclose(functional.conv2d(x, weight, bias, *geometry), convolved(x, weight, bias, *geometry))


@pytest.mark.parametrize("geometry", [*GEOMETRIES, (1, "same", (2, 1), 1), (2, "valid", 1, 2)], ids=str)
@pytest.mark.parametrize("batch", [3, 0])
@pytest.mark.filterwarnings("ignore:Using padding='same'")
def test_convolution_has_pytorchs_values_and_derivatives(geometry, batch):
    arrays = rng.normal(size=(batch, 4, 7, 6)), rng.normal(size=(8, 4 // geometry[3], 3, 2)), rng.normal(size=8)
    assert_pytorchs(
        lambda *tensors: functional.conv2d(*tensors, *geometry),
        lambda F, *tensors: F.conv2d(*tensors, *geometry),  # noqa: N803 (PyTorch users' name)
        *arrays,
    )


def test_the_derivatives_of_a_convolution_without_bias_equal_central_differences():
    inputs = [rng.normal(size=(2, 2, 4, 5)), rng.normal(size=(4, 1, 2, 3))]
    check = lambda x, w: functional.conv2d(x, w, stride=(1, 2), padding=1, groups=2)  # noqa: E731
    gradcheck(check, inputs)
    gradgradcheck(check, inputs)


@pytest.mark.parametrize("layout", ["channels last", "batch last", "strided"])
def test_the_layout_of_images_in_memory_does_not_matter(layout):
    images, weight = rng.normal(size=(3, 2, 6, 5)), tracked(4, 2, 3, 3)
    orders = {"channels last": (0, 2, 3, 1), "batch last": (1, 2, 3, 0)}
    if layout in orders:
        order = orders[layout]
        other = images.transpose(order).copy().transpose(np.argsort(order))
    else:
        other = np.repeat(images, 2, axis=2)[:, :, ::2]
    found = []
    for array in (images, other):
        x = Tensor(array, requires_grad=True)
        y = functional.max_pool2d(functional.conv2d(x, weight, padding=1), 2)
        found.append([y.data, *grad(y, [x, weight], np.ones(y.shape))])
    for one, two in zip(*found, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-12, atol=1e-14)


def test_images_of_one_precision_stay_in_it():
    for dtype in (np.float16, np.float32):
        x, weight, bias = (tracked(*shape, dtype=dtype) for shape in ((2, 1, 6, 6), (3, 1, 3, 3), (3,)))
        y = functional.avg_pool2d(functional.max_pool2d(functional.conv2d(x, weight, bias), 2, 1), 2, padding=1)
        y.sum().backward()
        assert [y.dtype, *(t.grad.dtype for t in (x, weight, bias))] == [dtype] * 4


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"x": np.zeros((2, 3, 5, 5))}, ShapeError, r"\(2, 3, 5, 5\), but the weight .* expects \(N, 2, H, W\)"),
        ({"x": np.zeros((2, 5, 5))}, ShapeError, r"x\[np.newaxis\]"),
        ({"x": np.zeros((2, 25))}, ShapeError, r"x\.reshape\(-1, channels, rows, columns\)"),
        ({"x": np.zeros((2, 2, 5, 2))}, ShapeError, r"a window of 3 x 3 pixels does not fit into .* \(2, 2, 5, 2\)"),
        ({"x": [[0.0]]}, ArgumentTypeError, "takes arrays and Tensors, but was given a list"),
        ({"weight": np.zeros((4, 2, 3))}, ShapeError, r"the weight has shape \(4, 2, 3\)"),
        ({"groups": 3}, ShapeError, "out_channels a multiple of groups, 3"),
        ({"bias": np.zeros(3)}, ShapeError, r"the bias has shape \(3,\).*\(4,\)"),
        ({"stride": 0}, ArgumentError, "stride must be a positive integer, but is 0"),
        ({"stride": (1, 2, 3)}, ArgumentError, "stride must be an integer or a pair"),
        ({"padding": -1}, ArgumentError, "padding must be an integer >= 0, but is -1"),
        ({"padding": "full"}, ArgumentError, "padding must be .* but is 'full'"),
        ({"padding": "same", "stride": 2}, ArgumentError, r"'same' with a stride of \(2, 2\)"),
        ({"dilation": 0.5}, ArgumentError, "dilation must be a positive integer, but is 0.5"),
    ],
)
def test_a_convolution_that_makes_no_sense_is_refused(arguments, error, message):
    given = {"x": np.zeros((2, 2, 5, 5)), "weight": tracked(4, 2, 3, 3), **arguments}
    with pytest.raises(error, match=message):
        functional.conv2d(**given)


def test_the_summary_counts_the_products_of_a_convolution():
    layer = nn.Conv2d(2, 6, 3, groups=2)
    assert debug.summary(layer, (1, 2, 5, 5)).rows[0].multiply_adds == 6 * 3 * 3 * 9


# Pooling

POOLS = [(2, None, 0), ((3, 2), (2, 1), (1, 0)), ((2, 3), 1, 1), (3, 2, 1)]


@pytest.mark.parametrize(("size", "stride", "padding"), POOLS, ids=str)
@pytest.mark.parametrize("kind", ["normal", "ties"])
def test_max_pooling_has_pytorchs_values_and_derivatives(size, stride, padding, kind):
    x = rng.normal(size=(2, 3, 7, 8)) if kind == "normal" else rng.integers(-1, 2, (2, 3, 7, 8)).astype(float)
    assert_pytorchs(
        lambda x: functional.max_pool2d(x, size, stride, padding),
        lambda F, x: F.max_pool2d(x, size, stride, padding),  # noqa: N803 (PyTorch users' name)
        x,
    )


def test_max_pooling_with_dilation_has_pytorchs_values_and_derivatives():
    x = rng.normal(size=(2, 3, 7, 8))
    assert_pytorchs(
        lambda x: functional.max_pool2d(x, 2, 1, 0, (2, 3)),
        lambda F, x: F.max_pool2d(x, 2, 1, 0, (2, 3)),  # noqa: N803
        x,
    )


@pytest.mark.parametrize(("size", "stride", "padding"), POOLS, ids=str)
def test_average_pooling_has_pytorchs_values_and_derivatives(size, stride, padding):
    assert_pytorchs(
        lambda x: functional.avg_pool2d(x, size, stride, padding),
        lambda F, x: F.avg_pool2d(x, size, stride, padding),  # noqa: N803
        rng.normal(size=(2, 3, 7, 8)),
    )


def test_pooling_of_no_images_gives_none():
    x = tracked(0, 2, 4, 4)
    for pool in (functional.max_pool2d, functional.avg_pool2d):
        y = pool(x, 2)
        y.sum().backward()
        assert (y.shape, x.grad.shape) == ((0, 2, 2, 2), (0, 2, 4, 4))
        x.grad = None


def test_a_window_with_nan_has_the_maximum_nan_and_hands_the_gradient_to_it():
    x = Tensor(np.array([[[[1.0, np.nan], [5.0, 2.0]]]]), requires_grad=True)
    y = functional.max_pool2d(x, 2)
    y.sum().backward()
    assert np.isnan(y.item())
    assert x.grad.tolist() == [[[[0.0, 1.0], [0.0, 0.0]]]]


def test_the_padding_is_never_the_maximum():
    x = Tensor(np.full((1, 1, 2, 2), -np.inf), requires_grad=True)
    y = functional.max_pool2d(x, 2, 2, 1)
    y.sum().backward()
    assert y.data.tolist() == [[[[-np.inf] * 2] * 2]]
    assert x.grad.tolist() == [[[[1.0] * 2] * 2]]


def test_whole_numbers_can_be_pooled():
    x = np.arange(16, dtype=np.uint8).reshape(1, 1, 4, 4)
    assert functional.max_pool2d(x, 2, padding=1).tolist() == [[[[0, 2, 3], [8, 10, 11], [12, 14, 15]]]]


@pytest.mark.parametrize(
    ("pool", "error", "message"),
    [
        (lambda x: functional.max_pool2d(x, 6), ShapeError, "a window of 6 x 6 pixels does not fit"),
        (
            lambda x: functional.max_pool2d(x, 2, padding=2),
            ArgumentError,
            "padding must be at most half of kernel_size",
        ),
        (lambda x: functional.max_pool2d(x, (2, 0)), ArgumentError, "kernel_size must be a positive integer"),
        (lambda x: functional.max_pool2d(x[0], 2), ShapeError, r"should have shape \(N, C, H, W\)"),
        (lambda x: functional.max_pool2d(x + 1j, 2), DTypeError, "complex128"),
        (lambda x: functional.avg_pool2d(x, 2, 0), ArgumentError, "stride must be a positive integer"),
    ],
)
def test_a_pooling_that_makes_no_sense_is_refused(pool, error, message):
    with pytest.raises(error, match=message):
        pool(tracked(2, 1, 5, 5))


# Embedding


def test_an_embedding_is_the_rows_of_its_table_and_adds_up_their_gradients():
    weight, indices = tracked(5, 3), np.array([[0, 4, 0], [2, 2, 2]])
    y = functional.embedding(indices, weight)
    np.testing.assert_array_equal(y.data, weight.data[indices])
    y.sum().backward()
    np.testing.assert_array_equal(weight.grad, np.array([2.0, 0.0, 3.0, 0.0, 1.0])[:, np.newaxis] * np.ones(3))


@pytest.mark.parametrize("padding_idx", [None, 2, -1])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_an_embedding_has_pytorchs_values_and_derivatives(padding_idx, shape):
    torch = pytest.importorskip("torch")
    indices = rng.integers(0, 4, shape)
    assert_pytorchs(
        lambda weight: functional.embedding(indices, weight, padding_idx) ** 2,
        lambda F, weight: F.embedding(torch.tensor(indices), weight, padding_idx) ** 2,  # noqa: N803
        rng.normal(size=(4, 2)),
    )


def test_an_embedding_of_nothing_is_empty_and_leaves_the_table_no_gradient():  # PyTorch fails at it
    weight = tracked(4, 2)
    y = functional.embedding(np.zeros((0, 3), int), weight)
    assert y.shape == (0, 3, 2)
    np.testing.assert_array_equal(grad(y, weight, np.zeros(y.shape)), np.zeros((4, 2)))


@pytest.mark.parametrize(
    ("indices", "options", "error", "message"),
    [
        ([0, 5], {}, ArgumentError, "the indices of an embedding must be between 0 and 4, one for each of the 5 rows"),
        ([-1], {}, ArgumentError, "between 0 and 4.*from -1 to -1"),
        ([0.0], {}, DTypeError, "the indices of an embedding must be integers, but have dtype float64"),
        ([0], {"padding_idx": 5}, ArgumentError, "padding_idx must be the index of one of 5 rows, but is 5"),
    ],
)
def test_an_index_that_names_no_row_is_refused(indices, options, error, message):
    with pytest.raises(error, match=message):
        functional.embedding(indices, tracked(5, 3), **options)


# The layers


def test_a_convolution_starts_as_pytorchs_uniform_within_the_root_of_its_inputs():
    layer = nn.Conv2d(4, 300, (3, 2), groups=2, generator=0)
    bound = 1 / np.sqrt(2 * 3 * 2)
    for values in (layer.weight.data, layer.bias.data):
        assert values.dtype == np.float32
        assert 0.95 * bound < np.abs(values).max() <= bound
        assert abs(values.mean()) < 0.1 * bound
    np.testing.assert_array_equal(layer.weight.data, nn.Conv2d(4, 300, (3, 2), groups=2, generator=0).weight.data)


def test_an_embedding_starts_as_pytorchs_standard_normal_with_zeros_for_what_fills_up():
    weight = nn.Embedding(1000, 20, padding_idx=-1, generator=0).weight.data
    assert abs(weight[:-1].std() - 1) < 0.02
    assert not weight[-1].any()


def test_the_initialisers_count_a_window_s_pixels():
    weight = nn.Parameter(np.zeros((16, 8, 3, 5)))
    assert nn.init.fans(weight) == (8 * 15, 16 * 15)


def test_the_layers_say_what_they_are():
    assert repr(nn.Conv2d(1, 6, 3)) == "Conv2d(1, 6, kernel_size=(3, 3), stride=(1, 1))"
    assert repr(nn.Conv2d(2, 6, (3, 1), 2, "valid", groups=2, bias=False)) == (
        "Conv2d(2, 6, kernel_size=(3, 1), stride=(2, 2), padding='valid', groups=2, bias=False)"
    )
    assert repr(nn.MaxPool2d(2)) == "MaxPool2d(kernel_size=(2, 2), stride=(2, 2), padding=(0, 0), dilation=(1, 1))"
    assert repr(nn.AvgPool2d(3, 2, 1)) == "AvgPool2d(kernel_size=(3, 3), stride=(2, 2), padding=(1, 1))"
    assert repr(nn.Embedding(10, 3, padding_idx=0)) == "Embedding(10, 3, padding_idx=0)"
    assert repr(nn.Unflatten(1, (1, 2))) == "Unflatten(dim=1, unflattened_size=(1, 2))"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.Conv2d(3, 6, 3, groups=2), "must be multiples of groups, 2, but are 3 and 6"),
        (lambda: nn.Conv2d(0, 6, 3), "in_channels must be a positive integer"),
        (lambda: nn.Conv2d(1, 6, 3, padding="sme"), "padding must be .* but is 'sme'"),
        (lambda: nn.Embedding(3, 0), "embedding_dim must be a positive integer"),
        (lambda: nn.Unflatten(1, (2, 3))(np.zeros((4, 5))), r"\(4, 5\), but its axis 1 should have 6 elements"),
    ],
)
def test_a_layer_that_makes_no_sense_is_refused(make, message):
    with pytest.raises((ArgumentError, ShapeError), match=message):
        make()


def networks():
    """The same network here and in PyTorch, by the same lines."""
    torch = pytest.importorskip("torch")

    def network(nn):
        return nn.Sequential(
            nn.Unflatten(1, (1, 12, 12)),
            nn.Conv2d(1, 4, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(4, 6, 3, stride=2, groups=2, bias=False),
            nn.ReLU(),
            nn.AvgPool2d(2, 1),
            nn.Flatten(),
            nn.Linear(6, 3),
        )

    return torch, network(nn), network(torch.nn)


def assert_the_same(torch, ours, theirs):
    x = rng.normal(size=(5, 144)).astype(np.float32)
    np.testing.assert_allclose(ours(x).data, theirs(torch.tensor(x)).numpy(force=True), rtol=1e-4, atol=1e-5)


def test_pytorchs_convolutional_network_loads_here(tmp_path):
    torch, ours, theirs = networks()
    torch_files = pytest.importorskip("safetensors.torch")
    torch_files.save_file(theirs.state_dict(), tmp_path / "theirs.safetensors")
    ours.load_state_dict(checkpoint.load(tmp_path / "theirs.safetensors"))
    assert_the_same(torch, ours, theirs)


def test_our_convolutional_network_loads_into_pytorch(tmp_path):
    torch, ours, theirs = networks()
    torch_files = pytest.importorskip("safetensors.torch")
    checkpoint.save(tmp_path / "ours.safetensors", ours.state_dict())
    theirs.load_state_dict(torch_files.load_file(tmp_path / "ours.safetensors"))
    assert_the_same(torch, ours, theirs)


def test_a_training_step_of_a_convolutional_network_equals_pytorchs():
    torch, ours, theirs = networks()
    theirs.load_state_dict({name: torch.tensor(array) for name, array in ours.state_dict().items()})
    x, target = rng.normal(size=(5, 144)).astype(np.float32), rng.integers(0, 3, 5)
    loss = compile(lambda x, target: functional.cross_entropy(ours(x), target))(x, target)
    loss.backward()
    torch.nn.functional.cross_entropy(theirs(torch.tensor(x)), torch.tensor(target)).backward()
    for our, their in zip(ours.parameters(), theirs.parameters(), strict=True):
        np.testing.assert_allclose(our.grad, their.grad.numpy(), rtol=1e-3, atol=1e-6)
