"""PyTorch's own sample inputs: values, first and second derivatives of each of its operations that NumPy has."""

import random
import warnings
from functools import cache

import numpy as np
import pytest
from torch_operations import INVARIANTS, NOT_COMPARED, OPERATIONS, REFUSED, WITHOUT_COUNTERPART, NoCounterpartError

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


def disagreements(op, function, sample, generator, unless_nan=False):
    """What differs between the two, as lines of text; raises NoCounterpartError."""
    translate = Translation()
    args = [translate(x) for x in (sample.input, *sample.args)]
    kwargs = translate(sample.kwargs)
    masked = op.name.startswith("masked.")
    theirs = (op.op if masked else lambda *a, **k: op.gradcheck_wrapper(op.op, *a, **k))(
        sample.input, *sample.args, **sample.kwargs
    )
    ours = function(*args, **kwargs)
    if op.name in INVARIANTS:
        ours, theirs = map(INVARIANTS[op.name], (ours, theirs))
    ours, theirs = flat(ours), flat(theirs)
    if len(ours) != len(theirs):
        return [f"{len(ours)} results instead of {len(theirs)}"]
    outputs, lines = [], []
    for i, (o, t) in enumerate(zip(ours, theirs, strict=True)):
        if o is NOT_COMPARED:
            continue
        t = t if isinstance(t, torch.Tensor) else torch.tensor(t)
        single = plain(o).dtype.itemsize < 8 or t.dtype.itemsize < 8
        found = differs(plain(o), as_numpy(t), 1e-5 if single and is_inexact(t) else 1e-9, unless_nan)
        if found:
            lines.append(f"value of result {i}: {found}")
        elif is_inexact(t):
            outputs.append((o, t))
    inputs = list(zip(translate.ours, translate.theirs, strict=True))
    if lines or not inputs or not outputs:
        return lines
    starts = cotangents(outputs, generator)
    first = pull_back(outputs, inputs, starts, op.supports_gradgrad)
    for i, (o, t) in enumerate(first):
        if found := differs(plain(o), as_numpy(t), 1e-8, unless_nan):
            lines.append(f"gradient of input {i}: {found}")
    if lines or not op.supports_gradgrad:
        return lines
    try:
        second = pull_back(first, inputs, cotangents(first, generator), False)
    except RuntimeError as error:
        if "is not implemented" not in str(error):  # PyTorch has no second derivative with some arguments
            raise
        return lines
    for i, (o, t) in enumerate(second):
        if found := differs(plain(o), as_numpy(t), 1e-7, unless_nan):
            lines.append(f"second derivative for input {i}: {found}")
    return lines


def samples(op, dtype):
    """The samples of one operation, the same in every run."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # PyTorch's samples use some of its own deprecated functions
        yield from op.sample_inputs("cpu", dtype, requires_grad=op.supports_autograd and dtype != torch.int64)


def described(value):
    """An argument of a sample as text: of tensors only dtype and shape."""
    if isinstance(value, torch.Tensor):
        return f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(described, value))}]"
    return repr(value)


@pytest.mark.parametrize("name", OPERATIONS)
def test_numpy_gives_pytorchs_values_and_first_and_second_derivatives(name):
    lines, compared = [], 0
    for op in operations()[name]:
        for dtype in dtypes_of(op):
            for i, sample in enumerate(samples(op, dtype)):
                try:
                    found = disagreements(op, OPERATIONS[name], sample, np.random.default_rng(i))
                except NoCounterpartError:
                    continue
                compared += 1
                if found:
                    args = described((sample.input, *sample.args))
                    lines += [f"sample {i} of {dtype}: {args} {sample.kwargs}", *(f"    {line}" for line in found)]
    assert not lines, "\n" + "\n".join(lines[:20])
    assert compared


@pytest.mark.parametrize("name", REFUSED)
def test_a_numpy_function_that_has_no_rule_is_refused(name):
    with pytest.raises(NoDerivativeError):
        REFUSED[name](Tensor(np.arange(3.0), requires_grad=True))


def test_every_operation_of_pytorch_is_in_one_table():
    without = [name for names in WITHOUT_COUNTERPART.values() for name in names.split()]
    tables = [*OPERATIONS, *REFUSED, *without]
    assert sorted(tables) == sorted(operations())
