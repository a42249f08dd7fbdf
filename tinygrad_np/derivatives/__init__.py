"""The derivative table, by family. Importing this package fills it; `table` says what a row is."""

from tinygrad_np.derivatives import elementwise, products, reductions, shapes

__all__ = ["elementwise", "products", "reductions", "shapes"]
