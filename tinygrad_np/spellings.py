"""PyTorch's names for what is written otherwise here: whoever asks for one is told what to write.

Tensors have NumPy's names. A name of PyTorch's is an attribute that raises an error when it is read. `__getattr__`
would be simpler, but it makes every other attribute three times as slow.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tinygrad_np.errors import MissingNameError

__all__ = ["MODULE", "OPTIMIZER", "TENSOR", "Elsewhere", "set_spellings"]

_CPU = "leave it out: NumPy computes on the CPU"
_NO_GRAD = "within tinygrad_np.no_grad()"
_NUMPY = (
    "exp", "expm1", "log", "log10", "log1p", "log2", "sqrt", "square", "sign", "floor", "ceil", "abs", "sin", "cos",
    "tan", "tanh", "isnan", "isfinite", "flip", "triu", "tril", "median",
)  # fmt: skip
_FUNCTIONAL = ("relu", "sigmoid", "softmax", "log_softmax", "logsumexp")
_DTYPES = {"float": "float32", "double": "float64", "half": "float16", "long": "int64", "int": "int32", "bool": "bool"}

TENSOR: Mapping[str, str] = {
    **{name: f"write np.{name}(x)" for name in _NUMPY},
    **{name: f"write functional.{name}(x)" for name in _FUNCTIONAL},
    **{name: f"write x.astype(np.{dtype})" for name, dtype in _DTYPES.items()},
    **dict.fromkeys(("cuda", "cpu", "is_cuda"), _CPU),
    "to": f"for a dtype write x.astype(dtype); for a device {_CPU}",
    "type": "write x.astype(dtype), or x.dtype",
    "view": "write x.reshape(...)",
    "view_as": "write x.reshape(y.shape)",
    "reshape_as": "write x.reshape(y.shape)",
    "permute": "write x.transpose(...)",
    "t": "write x.T",
    "unsqueeze": "write np.expand_dims(x, axis), or x[:, None]",
    "expand": "write np.broadcast_to(x, shape)",
    "tile": "write np.tile(x, repeats)",
    "contiguous": "leave it out: NumPy takes any layout in memory",
    "clone": "write x.copy()",
    "mm": "write x @ y",
    "bmm": "write x @ y",
    "matmul": "write x @ y",
    "pow": "write x**y",
    "norm": "write np.linalg.norm(x)",
    "inverse": "write np.linalg.inv(x)",
    "clamp": "write x.clip(low, high)",
    "masked_fill": "write np.where(mask, value, x)",
    "gather": "write np.take_along_axis(x, indices, axis)",
    "chunk": "write np.array_split(x, parts)",
    "split": "write np.array_split(x, parts)",
    "dim": "write x.ndim",
    "ndimension": "write x.ndim",
    "nelement": "write x.size",
    "element_size": "write x.dtype.itemsize",
    "tolist": "write x.numpy().tolist()",
    "grad_fn": "write x.node, which is the recorded call, or None",
    "detach_": "write x = x.detach()",
    "zero_": f"write x[...] = 0 {_NO_GRAD}",
    "fill_": f"write x[...] = value {_NO_GRAD}",
    "copy_": f"write x[...] = y {_NO_GRAD}",
    "add_": f"write x += y {_NO_GRAD}",
    "sub_": f"write x -= y {_NO_GRAD}",
    "mul_": f"write x *= y {_NO_GRAD}",
    "div_": f"write x /= y {_NO_GRAD}",
    "normal_": "write nn.init.normal_(x)",
    "uniform_": "write nn.init.uniform_(x)",
}
"""What to write with a Tensor `x`."""

MODULE: Mapping[str, str] = {
    **dict.fromkeys(("cuda", "cpu"), _CPU),
    "to": f"for a dtype give it to the layers, nn.Linear(2, 3, dtype=np.float64); for a device {_CPU}",
    "float": "layers are made in float32",
    "double": "give the dtype to the layers, nn.Linear(2, 3, dtype=np.float64)",
    "half": "give the dtype to the layers, nn.Linear(2, 3, dtype=np.float16)",
    "register_parameter": "assign it to an attribute, self.weight = nn.Parameter(...)",
    "register_buffer": "assign the array to an attribute, self.mean = np.zeros(3)",
    "register_module": "assign it to an attribute, self.layer = module",
    "add_module": "assign it to an attribute, self.layer = module",
}
"""What to write within or with a Module."""

OPTIMIZER: Mapping[str, str] = {
    "param_groups": "set the learning rate by optimizer.lr = value; it is there with groups"
}
"""What to write with an optimizer."""


class Elsewhere:
    """An attribute that is not there: reading it from an object raises a `MissingNameError` that says what to write.

    So `hasattr` is False, and an attribute of that name that is assigned to an object hides this one.
    """

    def __init__(self, name: str, remedy: str) -> None:
        self.name, self.remedy = name, remedy
        self.__doc__ = f"@private PyTorch's; {remedy}."

    def __get__(self, instance: Any, owner: type[Any]) -> Elsewhere:
        if instance is None:
            return self
        raise MissingNameError(f"{owner.__name__} has no attribute {self.name!r}; {self.remedy}")


def set_spellings(kind: type[Any], remedies: Mapping[str, str]) -> None:
    """Give a class an attribute `Elsewhere` for each name."""
    for name, remedy in remedies.items():
        setattr(kind, name, Elsewhere(name, remedy))
