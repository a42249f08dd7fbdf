"""PyTorch's own sample inputs: values, first and second derivatives of each of its operations that NumPy has."""

import random
import warnings
from functools import cache
from itertools import islice

import numpy as np
import pytest
from torch_operations import (
    EDGE_DIFFERENCES,
    EDGES,
    ELEMENTWISE,
    INVARIANTS,
    NOT_COMPARED,
    OPERATIONS,
    OTHER_SECOND_DERIVATIVES,
    REDUCTIONS,
    REFUSED,
    WITHOUT_COUNTERPART,
    NoCounterpartError,
)

from tinygrad_np import Tensor, grad
from tinygrad_np.errors import NoDerivativeError

torch = pytest.importorskip("torch")
pytest.importorskip("expecttest")  # PyTorch's module of samples imports it

VERSION = "2.13"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not torch.__version__.startswith(VERSION), reason=f"the tables are for PyTorch {VERSION}"),
    # Samples hold zeros, infinities and empty arrays, at which NumPy warns and gives what PyTorch gives.
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]


@cache
def operations():
    """PyTorch's operations with their samples: for each name in our tables a list, of its variants."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # from the import itself
        from torch.testing._internal.common_methods_invocations import op_db
    found = {}
    for op in op_db:
        name = f"{op.name} {op.variant_test_name}".strip()
        found.setdefault(name if name in OPERATIONS else op.name, []).append(op)
    return found


def dtypes_of(op):
    """Those in which an operation is compared: double precision if it has that."""
    doubles = [dtype for dtype in (torch.float64, torch.complex128) if dtype in op.dtypes]
    return doubles or [dtype for dtype in (torch.int64,) if dtype in op.dtypes]


def is_inexact(x):
    return isinstance(x, torch.Tensor) and (x.dtype.is_floating_point or x.dtype.is_complex)


def as_numpy(x):
    return x.detach().resolve_conj().resolve_neg().numpy(force=True)


class Translation:
    """Turns a sample's arguments into ours, and collects the pairs of inputs with respect to which to differentiate."""

    def __init__(self):
        self.theirs, self.ours = [], []

    def __call__(self, value):
        if isinstance(value, torch.Tensor):
            for theirs, ours in zip(self.theirs, self.ours, strict=True):
                if theirs is value:
                    return ours
            ours = Tensor(as_numpy(value).copy(), requires_grad=value.requires_grad)
            if not value.requires_grad:
                return ours.data
            self.theirs.append(value)
            self.ours.append(ours)
            return ours
        if isinstance(value, torch.dtype):
            return np.dtype(str(value).removeprefix("torch."))
        if isinstance(value, (list, tuple)):
            return (list if isinstance(value, list) else tuple)(map(self, value))
        if isinstance(value, dict):
            return {key: self(item) for key, item in value.items()}
        return value


def flat(results):
    if isinstance(results, (list, tuple)):
        return [result for item in results for result in flat(item)]
    return [results]


def plain(x):
    return x.data if isinstance(x, Tensor) else np.asarray(x)


def differs(ours, theirs, tolerance, unless_nan=False):
    """What is different between two arrays, in words, or None; on request, only where PyTorch gives a number."""
    if ours.shape != theirs.shape:
        return f"shape {ours.shape} instead of {theirs.shape}"
    if "b" in ours.dtype.kind + theirs.dtype.kind:
        ours, theirs = ours.astype(float), theirs.astype(float)
    finite = np.isfinite(theirs)
    scale = 1 + np.abs(theirs[finite]).max(initial=0)
    close = np.where(finite, np.abs(ours - theirs) <= tolerance * scale, ours == theirs)
    close = close | np.isnan(theirs) & (unless_nan | np.isnan(ours))
    if close.all():
        return None
    where = tuple(int(i[0]) for i in np.nonzero(~close)) if close.ndim else ()
    return f"{ours[where]} instead of {theirs[where]} at {where} ({(~close).sum()} of {close.size})"


def cotangents(pairs, generator):
    """Random gradients to start from."""
    found = []
    for ours, theirs in pairs:
        g = generator.standard_normal(ours.shape)
        both_complex = ours.dtype.kind == "c" and theirs.is_complex()
        found.append(g + 1j * generator.standard_normal(ours.shape) if both_complex else g)
    return found


def pull_back(outputs, inputs, starts, create_graph):
    """Ours and theirs: the gradients of pairs of outputs with respect to pairs of inputs, as pairs; zero for None."""
    pairs = [(o, t, g) for (o, t), g in zip(outputs, starts, strict=True)]
    of_ours = [(o, g) for o, _, g in pairs if isinstance(o, Tensor) and o.requires_grad]
    of_theirs = [(t, torch.tensor(g).to(t.dtype)) for _, t, g in pairs if t.requires_grad]
    ours = theirs = [None] * len(inputs)
    if of_ours:
        ours = grad(
            [o for o, _ in of_ours],
            [o for o, _ in inputs],
            [g for _, g in of_ours],
            create_graph=create_graph,
            allow_unused=True,
            retain_graph=True,
        )
    if of_theirs:
        theirs = torch.autograd.grad(
            [t for t, _ in of_theirs],
            [t for _, t in inputs],
            [g for _, g in of_theirs],
            create_graph=create_graph,
            allow_unused=True,
            retain_graph=True,
        )
    return [
        (np.zeros(x.shape, x.dtype) if o is None else o, torch.zeros_like(y) if t is None else t)
        for o, t, (x, y) in zip(ours, theirs, inputs, strict=True)
    ]


def disagreements(op, function, sample, generator, order=2, at_edge=False):
    """What differs between the two, as lines of text: values, then first and, up to the order, second derivatives.

    At an edge, PyTorch's NaN counts as no opinion: it often multiplies 0 by infinity.

    Raises:
        NoCounterpartError: NumPy has nothing to compare this sample with.
    """

    def compare(pairs, tolerance, what):
        return [
            f"{what} {i}: {found}"
            for i, (ours, theirs) in enumerate(pairs)
            if (found := differs(plain(ours), as_numpy(theirs), tolerance, unless_nan=at_edge))
        ]

    translate = Translation()
    args, kwargs = [translate(x) for x in (sample.input, *sample.args)], translate(sample.kwargs)
    ours = function(*args, **kwargs)
    theirs = call(op, sample)
    if op.name in INVARIANTS:
        ours, theirs = map(INVARIANTS[op.name], (ours, theirs))
    ours, theirs = flat(ours), flat(theirs)
    if len(ours) != len(theirs):
        return [f"{len(ours)} results instead of {len(theirs)}"]
    results = [(o, torch.as_tensor(t)) for o, t in zip(ours, theirs, strict=True) if o is not NOT_COMPARED]
    double = all(plain(o).dtype.itemsize >= 8 and t.dtype.itemsize >= 8 for o, t in results if is_inexact(t))
    if lines := compare(results, 1e-9 if double else 1e-5, "value of result"):
        return lines

    inputs = list(zip(translate.ours, translate.theirs, strict=True))
    outputs = [(o, t) for o, t in results if is_inexact(t)]
    if not inputs or not outputs:
        return []
    second_too = order == 2 and op.supports_gradgrad
    first = pull_back(outputs, inputs, cotangents(outputs, generator), create_graph=second_too)
    lines = compare(first, 1e-8, "gradient of input")
    if lines or not second_too:
        return lines
    try:
        second = pull_back(first, inputs, cotangents(first, generator), create_graph=False)
    except RuntimeError as error:
        if "is not implemented" not in str(error):  # PyTorch has no second derivative with some arguments
            raise
        return []
    return compare(second, 1e-7, "second derivative for input")


def call(op, sample):
    """PyTorch's results. Its wrapper makes Hermitian or triangular matrices of the inputs, as the rows of LINALG do."""
    args = sample.input, *sample.args
    if op.name.startswith("masked."):  # here it would zero what is masked out
        return op.op(*args, **sample.kwargs)
    return op.gradcheck_wrapper(op.op, *args, **sample.kwargs)


def samples(op, dtype):
    """The samples of one operation, the same in every run."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # PyTorch's samples use some of its own deprecated functions
        # op.sample_inputs would set the seed before each sample, which takes longer than all the rest.
        yield from op.sample_inputs_func(op, "cpu", dtype, op.supports_autograd and dtype != torch.int64)


def described(sample):
    """The arguments of a sample as text: of tensors only dtype and shape."""

    def text(x):
        if isinstance(x, torch.Tensor):
            return f"{str(x.dtype).removeprefix('torch.')}{list(x.shape)}"
        return f"[{', '.join(map(text, x))}]" if isinstance(x, (list, tuple)) else repr(x)

    return ", ".join([*map(text, (sample.input, *sample.args)), *(f"{k}={text(v)}" for k, v in sample.kwargs.items())])


def failures(name, order=2):
    """All that differs on the samples of an operation, and on how many of them it was compared."""
    lines, compared = [], 0
    for op in operations()[name]:
        for dtype in dtypes_of(op):
            for i, sample in enumerate(samples(op, dtype)):
                try:
                    found = disagreements(op, OPERATIONS[name], sample, np.random.default_rng(i), order)
                except NoCounterpartError:
                    continue
                except NoDerivativeError as error:
                    found = [str(error)]
                compared += 1
                if found:
                    lines += [f"sample {i} of {dtype}: {described(sample)}", *(f"    {line}" for line in found)]
    return lines, compared


@pytest.mark.parametrize("name", OPERATIONS)
def test_numpy_gives_pytorchs_values_and_first_and_second_derivatives(name):
    lines, compared = failures(name, order=1 if name in OTHER_SECOND_DERIVATIVES else 2)
    assert not lines, "\n" + "\n".join(lines[:20])
    assert compared


@pytest.mark.parametrize("name", OTHER_SECOND_DERIVATIVES)
def test_a_second_derivative_that_is_said_to_differ_does(name):
    lines, _ = failures(name)
    assert lines


@pytest.mark.parametrize("edge", EDGES)
def test_at_the_edges_all_derivatives_are_pytorchs_but_those_said_to_differ(edge):
    order = 1 if np.inf in EDGES[edge] else 2
    found = {name: failures_at_edge(name, EDGES[edge], order) for name in (*ELEMENTWISE, *REDUCTIONS)}
    said = [name for names in EDGE_DIFFERENCES[edge].values() for name in names.split()]
    lines = [line for name in found if name not in said for line in found[name]]
    assert not lines, "\n" + "\n".join(lines)
    assert [name for name in said if not found[name]] == [], "these do not differ, and may be taken from the table"


def failures_at_edge(name, values, order):
    """What differs where the elements are among few values; of the first samples only, which are the plain ones."""
    for op in operations()[name]:
        if torch.float64 not in dtypes_of(op) or not op.supports_autograd:
            continue
        for i, sample in enumerate(islice(samples(op, torch.float64), 12)):
            generator = np.random.default_rng(i)
            sample = sample.transform(
                lambda x: (
                    torch.tensor(generator.choice(values, x.shape), requires_grad=True)  # noqa: B023
                    if isinstance(x, torch.Tensor) and x.requires_grad
                    else x
                )
            )
            try:
                found = disagreements(op, OPERATIONS[name], sample, generator, order, at_edge=True)
            except NoCounterpartError:
                continue
            if found:
                return [f"{name}, sample {i}: {described(sample)}", *(f"    {line}" for line in found)]
    return []


@pytest.mark.parametrize("name", REFUSED)
def test_a_numpy_function_that_has_no_rule_is_refused(name):
    with pytest.raises(NoDerivativeError):
        REFUSED[name](Tensor(np.arange(3.0), requires_grad=True))


def test_every_operation_of_pytorch_is_in_one_table():
    without = [name for names in WITHOUT_COUNTERPART.values() for name in names.split()]
    assert sorted([*OPERATIONS, *REFUSED, *without]) == sorted(operations())
