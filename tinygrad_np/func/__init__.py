"""Transforms of functions: from a function of arrays to its derivative, as a function again.

The functions are any that are made of NumPy's functions; they see Tensors and return a Tensor. Arguments and values are
arrays or trees of them: dicts, lists, tuples and named tuples, in any nesting. Transforms nest, as in `grad(grad(f))`.
Their results are arrays, or Tensors where they depend on a Tensor that requires a gradient and is no argument of the
function: the argument of an outer transform, or a parameter that the function refers to.

The names are JAX's; who comes from HIPS autograd finds `elementwise_grad`, `hessian_vector_product`, `flatten`,
`checkpoint` and `fixed_point` too, and may write `argnum` for `argnums`. There `make_vjp(f)(x)` is `vjp(f, x)`,
`make_jvp(f)(x)(v)` is `jvp(f, [x], [v])`, and `grad_and_aux(f)` is `grad(f, has_aux=True)`. JAX's `ravel_pytree` is
`flatten`.
"""

from tinygrad_np.func.checkpointing import checkpoint
from tinygrad_np.func.fixed_points import fixed_point
from tinygrad_np.func.flattening import flatten
from tinygrad_np.func.transforms import (
    elementwise_grad,
    grad,
    hessian,
    hessian_vector_product,
    jacobian,
    jvp,
    value_and_grad,
    vjp,
)

__docformat__ = "google"

__all__ = [
    "checkpoint",
    "elementwise_grad",
    "fixed_point",
    "flatten",
    "grad",
    "hessian",
    "hessian_vector_product",
    "jacobian",
    "jvp",
    "value_and_grad",
    "vjp",
]
