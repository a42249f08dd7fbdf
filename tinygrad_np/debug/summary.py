"""The summary of a model: what each layer makes of its input, and what it holds, computes and keeps."""

from __future__ import annotations

__docformat__ = "google"

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_np import functional
from tinygrad_np.arguments import DTypeLike
from tinygrad_np.debug.places import calls
from tinygrad_np.debug.profile import owners
from tinygrad_np.debug.state import Found, Snapshot
from tinygrad_np.debug.tables import Blocks, Printed, in_bytes
from tinygrad_np.derivatives.products import index_lists
from tinygrad_np.derivatives.table import LEAF, RULES, Rule, known
from tinygrad_np.engine import Node, toposort
from tinygrad_np.errors import ArgumentError, ArgumentTypeError
from tinygrad_np.functional.convolution import CONVOLUTION
from tinygrad_np.nn.module import Module, Parameter
from tinygrad_np.recording import Scope, Watch, isolated, state
from tinygrad_np.tensor import Tensor

__all__ = ["Layer", "Summary", "summary"]

Shape = tuple[int, ...]


def summary(model: Module, input_shape: Shape | Sequence[Shape], dtype: DTypeLike = np.float32) -> Summary:
    """Tabulate what each module call of a training step returns, holds, computes and keeps.

    The model is called on zeros, in training mode. Afterwards everything is as before: parameters, gradients,
    buffers, modes, other attributes, and the states of the random generators that modules hold.

    Each row is about one call of a module, without the modules in it, so that the columns add up to the totals below
    them:

    - parameters that an earlier row has counted are shared, and count once;
    - multiply-adds are those of the matrix products, `numpy.einsum` and convolutions among the recorded calls. All
      else is little next to them, and counts 0;
    - activations are the arrays that the graph of a training step keeps for the backward pass, each in the row of the
      recorded call that made it or, failing that, used it first. Parameters, buffers and the input do not count. Views
      take no memory, and neither does a ReLU that a Sequential computes in one operation with the Linear before it.
      What the loss keeps comes on top.

    Args:
        model: the module to summarise.
        input_shape: with the batch axis first, such as (32, 784); a list of shapes for several inputs.
        dtype: of the inputs.

    Returns:
        The `Summary`, which prints as a table.

    Raises:
        ShapeError: the model does not take such inputs; the message names the module.
        ArgumentError: `input_shape` is not a shape.
        ArgumentTypeError: `model` is not a Module.

    >>> from tinygrad_np import nn
    >>> summary(nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10)), (32, 784))
    module                 output shape  parameters  mult-adds  activations
    -----------------------------------------------------------------------
    Sequential                 (32, 10)           -          -            -
      0  Linear(784, 128)     (32, 128)     100,480  3,211,264      16.4 kB
      1  ReLU()               (32, 128)           -          -      16.4 kB
      2  Linear(128, 10)       (32, 10)       1,290     40,960       1.3 kB
    -----------------------------------------------------------------------
    total                                   101,770  3,252,224      34.0 kB
    <BLANKLINE>
    for an input of shape (32, 784) float32; the parameters take 407.1 kB
    """
    if not isinstance(model, Module):
        raise ArgumentTypeError(f"summary takes a module, such as nn.Linear(784, 10), not {model!r}")
    inputs = [np.zeros(shape, dtype) for shape in _shapes(input_shape)]
    found = Found()
    found.look("", model)
    before = Snapshot(found)
    try:
        with isolated(seen := _Calls(model)), np.errstate(all="ignore"):
            seen.count_kept(seen.run(inputs), inputs)
    finally:
        before.restore()
    parameters = list(model.parameters())
    return Summary(
        name="total",
        parameters=sum(parameter.size for parameter in parameters),
        frozen=sum(parameter.size for parameter in parameters if not parameter.requires_grad),
        multiply_adds=sum(row.multiply_adds for row in seen.rows),
        activation_bytes=sum(row.activation_bytes for row in seen.rows),
        rows=seen.rows,
        input_shapes=[array.shape for array in inputs],
        dtype=np.dtype(dtype),
        parameter_bytes=sum(parameter.data.nbytes for parameter in parameters),
        unfound=[np.shape(leaf.out) for leaf in seen.unfound],
    )


@dataclass
class Layer:
    """A row: one call of a module.

    Attributes:
        name: dotted, as in `named_modules`; empty for the model itself.
        kind: for example "Linear(784, 128)".
        depth: how many module calls it is nested in.
        output_shapes: of all arrays that it returned; None if the module was not called.
        parameters: the number of elements of the module's own parameters, without those that an earlier row counted.
        frozen: how many of these do not require a gradient.
        shared: the number of elements of its own parameters that an earlier row counted.
        multiply_adds: of the call itself, without those of modules called in it.
        activation_bytes: what the call itself made and the graph keeps.
    """

    name: str
    kind: str = ""
    depth: int = 0
    output_shapes: list[Shape] | None = None
    parameters: int = 0
    frozen: int = 0
    shared: int = 0
    multiply_adds: int = 0
    activation_bytes: int = 0


@dataclass(repr=False, kw_only=True)
class Summary(Printed, Layer):
    """What `summary` returns: the total, of parameters that are shared only once, and its rows. Prints as a table.

    Attributes:
        rows: one for each module call, in order, followed by one for each module with parameters that was not called.
        input_shapes, dtype: of the inputs.
        parameter_bytes: the memory of the parameters.
        unfound: the shapes of Tensors that require grad and that the model uses, but that are none of its parameters.
    """

    rows: list[Layer]
    input_shapes: list[Shape]
    dtype: np.dtype[Any]
    parameter_bytes: int
    unfound: list[Shape]

    def blocks(self) -> Blocks:
        above: list[str] = []  # the names of the rows that a row stands under
        cells = []
        for row in self.rows:
            above[row.depth :] = [row.name]
            holder = above[row.depth - 1] if row.depth else ""
            name = row.name.removeprefix(f"{holder}.") if holder else row.name
            shapes = "not called" if row.output_shapes is None else _joined(row.output_shapes)
            cells.append(["  ".join(filter(None, ("  " * row.depth + name, row.kind))), shapes, *_numbers(row)])
        header = ["module", "output shape", "parameters", "mult-adds", "activations"]
        return [header], cells, [["total", "", *_numbers(self)]]

    def caption(self) -> str:
        inputs = f"{'an input' if len(self.input_shapes) == 1 else 'inputs'} of shape {_joined(self.input_shapes)}"
        text = f"for {inputs} {self.dtype}; the parameters take {in_bytes(self.parameter_bytes)}"
        return text + f"\nnot among the parameters, so not counted: {_joined(self.unfound)}" * bool(self.unfound)


def _numbers(row: Layer) -> list[str]:
    counts = [f"{row.parameters:,}"] * bool(row.parameters) + [f"({row.frozen:,} frozen)"] * bool(row.frozen)
    products = f"{row.multiply_adds:,}" if row.multiply_adds else "-"
    return [" ".join(counts + ["(shared)"] * bool(row.shared)) or "-", products, in_bytes(row.activation_bytes)]


def _joined(shapes: Sequence[Shape]) -> str:
    return ", ".join(map(str, shapes))


def _shapes(given: Any) -> list[Shape]:
    """The shapes of the inputs, whether one was given or several."""

    def is_shape(value: Any) -> bool:
        return isinstance(value, (tuple, list)) and all(isinstance(n, (int, np.integer)) and n >= 0 for n in value)

    if is_shape(given):
        return [tuple(given)]
    if isinstance(given, (tuple, list)) and all(map(is_shape, given)):
        return list(map(tuple, given))
    raise ArgumentError(
        "input_shape must be a shape with the batch axis first, such as (32, 784), or a list of shapes for several "
        f"inputs, not {given!r}"
    )


def _arrays(out: Any) -> list[Any]:
    """The arrays and Tensors in what a module returned."""
    if isinstance(out, Mapping):
        out = list(out.values())
    if isinstance(out, (list, tuple)):
        return [array for item in out for array in _arrays(item)]
    return [out] if isinstance(out, (np.ndarray, np.generic, Tensor)) else []


class _Calls(Watch):
    """A watch that makes a row for each module call, and counts the products of the recorded calls in it."""

    def __init__(self, model: Module) -> None:
        self.model = model
        self.names = {module: name for name, module in model.named_modules()}
        self.frozen = {parameter for parameter in model.parameters() if not parameter.requires_grad}
        self.known: set[Any] = set()  # the nodes of inputs and parameters
        self.counted: set[Parameter] = set()
        self.rows: list[Layer] = []
        self.of_call: dict[Scope | None, Layer] = {}
        self.unfound: dict[Node, None] = {}  # in order

    def run(self, inputs: list[np.ndarray]) -> Any:
        """Call the model so that all is recorded, also in frozen layers, and then add rows for what was not called."""
        self.model.train()
        for parameter in self.frozen:
            parameter.requires_grad = True
        for module in self.names:
            vars(module)["forward"] = self.noted(module, module.forward)
        given = [Tensor(array, requires_grad=True) if array.dtype.kind in "fc" else array for array in inputs]
        self.known = {t.node for t in (*given, *self.model.parameters()) if isinstance(t, Tensor)}
        out = self.model(*given)
        called = {scope.module() for scope in self.of_call if scope is not None}
        for module in self.names:
            if module not in called and any(isinstance(value, Parameter) for value in vars(module).values()):
                self.begin(module)
        return out

    def noted(self, module: Module, forward: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap `forward` so that each call of it makes a row."""

        def call(*args: Any, **kwargs: Any) -> Any:
            scope = state.get().scope
            row = self.of_call[scope] = self.begin(module)
            row.depth = sum(outer in self.of_call for outer in calls(scope)) - 1
            out = forward(*args, **kwargs)
            row.output_shapes = [array.shape for array in _arrays(out)]
            return out

        return call

    def begin(self, module: Module) -> Layer:
        """Add a row that says what the module is and holds."""
        kind = type(module).__name__
        if not any(module.named_children()):
            kind += f"({module.extra_repr()})"
        row = Layer(self.names[module], kind)
        for parameter in {value for value in vars(module).values() if isinstance(value, Parameter)}:
            if parameter in self.counted:
                row.shared += parameter.size
            else:
                self.counted.add(parameter)
                row.parameters += parameter.size
                row.frozen += parameter.size * (parameter in self.frozen)
        self.rows.append(row)
        return row

    def row_of(self, scope: Scope | None) -> Layer:
        """The row of the innermost call of one of the model's modules."""
        while scope not in self.of_call:
            assert scope is not None
            scope = scope.outer  # a part with a name, or a module that the model's attributes do not lead to
        return self.of_call[scope]

    def recorded(self, node: Node, seconds: float) -> None:
        for parent in node.parents:
            if parent is not None and parent.rule is LEAF and parent.scope is None and parent not in self.known:
                self.unfound[parent] = None  # not made in a call
        if node.rule in MULTIPLY_ADDS:
            self.row_of(node.scope).multiply_adds += MULTIPLY_ADDS[node.rule](node)

    def count_kept(self, out: Any, inputs: list[np.ndarray]) -> None:
        """Add to each row how many bytes the graph of `out` keeps of it, in training: without frozen parameters."""
        known = set(owners([*inputs, *self.model.state_dict().values()]))
        learning = {parameter.node for parameter in self.counted - self.frozen} | {*self.unfound}
        for node in reversed(toposort(array.node for array in _arrays(out) if getattr(array, "node", None))):
            if learning.isdisjoint(node.parents):
                continue
            learning.add(node)
            made = {owner: size for owner, size in owners([node.args, node.out]).items() if owner not in known}
            known.update(made)
            self.row_of(node.scope).activation_bytes += sum(made.values())


# Multiply-adds


def _sums_along_an_axis(node: Node) -> int:
    """Each element of the result is a sum over one axis of the first argument."""
    length: int = np.shape(_args(node)[0])[node.kwargs.get("axis", -1)]
    return np.size(node.out) * length


def _sums_of_all_pairs(node: Node) -> int:
    """m * k and k * n elements give m * n, with m * k * n products: the root of the product of all three sizes."""
    x, y = map(np.size, _args(node)[:2])
    return math.isqrt(x * y * np.size(node.out))


def _convolution(node: Node) -> int:
    """Each element of the result is a sum over the window and the channels that a filter sees."""
    return np.size(node.out) * math.prod(np.shape(_args(node)[1])[1:])


def _einsum(node: Node) -> int:
    """The product of all operands, for each combination of indices."""
    operands, terms, _ = index_lists(_args(node))
    lengths: dict[int, int] = {}
    for operand, term in zip(operands, terms, strict=True):
        for index, length in zip(term, operand.shape, strict=True):
            lengths[index] = length if lengths.get(index, 1) == 1 else lengths[index]
    return (len(operands) - 1) * math.prod(lengths.values())


def _sliding(function: Callable[..., np.ndarray]) -> Callable[[Node], int]:
    """The number of overlapping elements, over all positions: the same sums, but of ones."""

    def count(node: Node) -> int:
        x, y, *mode = _args(node)
        return int(np.sum(function(np.ones(np.size(x)), np.ones(np.size(y)), *mode, **node.kwargs)))

    return count


def _args(node: Node) -> tuple[Any, ...]:
    assert node.args is not None  # no graph is freed here
    return node.args


MULTIPLY_ADDS: dict[Rule, Callable[[Node], int]] = {
    **{
        RULES[inspect.unwrap(function)]: _sums_along_an_axis
        for function in (functional.linear, np.matmul, np.vecdot, known(np, "matvec"), known(np, "vecmat"))
        if function
    },
    **{RULES[function]: _sums_of_all_pairs for function in (np.dot, np.inner, np.outer, np.tensordot, np.vdot)},
    CONVOLUTION: _convolution,
    RULES[np.einsum]: _einsum,
    RULES[np.convolve]: _sliding(np.convolve),
    RULES[np.correlate]: _sliding(np.correlate),
}
