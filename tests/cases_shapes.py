"""Cases of derivative_cases.py, continued."""

from operator import getitem

import numpy as np
from derivative_cases import NUMPY, case, complex_normal, normal, positive

from tinygrad_np.derivatives.indexing import overlapped
from tinygrad_np.derivatives.shapes import as_in_memory

# One array of another shape

for order in "C", "F", "A":
    case(np.reshape, normal(2, 6), (3, 4), order)
    case(np.ravel, normal(2, 3), order)
if NUMPY >= "2.1.0":  # older ones lack these keywords
    case(np.reshape, normal(2, 6), (3, 4), copy=True)
case(np.ravel, complex_normal(2, 3), "K")
case(as_in_memory, normal(2, 3, 2))
for order in "c", "f", None:
    case(np.reshape, normal(2, 3), (3, 2), order)
    case(np.ravel, normal(2, 3), order)
for function in np.matrix_transpose, np.linalg.matrix_transpose:
    case(function, normal(2, 3))
    case(function, complex_normal(2, 3, 4))
case(np.permute_dims, normal(2, 3, 4), (1, 2, 0))
for axes in 0, -1, np.int64(0), [0], np.array([0]):
    case(np.transpose, normal(3), axes)
for axis, start in (0, 0), (2, 0), (0, 3), (-1, 1), (1, -1), (0, 2):
    case(np.rollaxis, normal(2, 3, 4), axis, start)
case(np.rollaxis, normal(2, 3, 4), 2)
for function in np.flip, np.fliplr, np.flipud, np.rot90:
    case(function, normal(2, 3))
    case(function, complex_normal(2, 3, 2))
case(np.flipud, normal(3))
case(np.flip, normal(3))
for axis in 0, -1, (0, 2), None:
    case(np.flip, normal(2, 3, 2), axis)
    case(np.flip, normal(2, 3, 2), axis=axis)
for k in 0, 1, 2, 3, -1, 5:
    case(np.rot90, normal(2, 3), k)
case(np.rot90, normal(2, 3, 4), k=1, axes=(2, 0))
for shift in 2, True, np.array(2), [1, 1]:
    case(np.roll, normal(5), shift)
if NUMPY >= "2.1.0":  # older ones negate the shift in its own dtype
    case(np.roll, normal(5), np.uint8(2))
    case(np.roll, normal(2, 3), np.array([1, 2], np.uint8), (0, 1))
case(np.roll, normal(2, 3), -1)
case(np.roll, normal(2, 3), 4, 1)
case(np.roll, normal(2, 3), 2, axis=0)
case(np.roll, normal(2, 3), (1, -2), axis=(0, 1))
case(np.roll, normal(2, 3), [1, 2], axis=1)
case(np.roll, complex_normal(2, 3), 1, axis=(0, 1))
case(np.astype, normal(2, 3), np.float64, copy=False)
case(np.copy, normal(2, 3), "F")
x = normal(3)
case(np.full_like, x, x)
case(np.full_like, x, x, np.complex128, "C", True, (2, 3))

# Several arrays of another shape

for function in np.atleast_1d, np.atleast_2d, np.atleast_3d:
    for shape in (), (3,), (2, 3), (2, 3, 2), (1, 2, 1, 2), (0,):
        case(function, normal(*shape))
    x = normal(2)
    case(function, x, x)
case(np.broadcast_arrays, normal(3))
case(np.broadcast_arrays, x, x, subok=True)
for indexing in "xy", "ij":
    for sparse in True, False:
        case(np.meshgrid, x, x, indexing=indexing, sparse=sparse)
        case(np.meshgrid, x, x, x, indexing=indexing, sparse=sparse, copy=False)
case(np.meshgrid, complex_normal(2))

# Splitting

case(np.split, normal(4, 3), [3, 1])
case(np.split, normal(2, 5), [2, -1], 1)
case(np.array_split, normal(3), [1, 7])
case(np.array_split, complex_normal(2, 5), 3, -1)
case(np.vsplit, normal(4, 3), 2)
case(np.vsplit, normal(4, 3, 2), [1, 2])
case(np.hsplit, normal(4), 2)
case(np.hsplit, normal(2, 4), [1, 3])
case(np.dsplit, normal(2, 1, 4), 2)
case(np.dsplit, complex_normal(2, 1, 4), [3, 1])
if hasattr(np, "unstack"):  # NumPy 2.1
    case(np.unstack, normal(3, 2))
    case(np.unstack, complex_normal(3, 2), axis=1)
    case(np.unstack, normal(3, 2, 2), axis=-1)

# Joining

case(np.concatenate, [normal(2), normal(3)], dtype=np.complex128)
case(np.concatenate, [complex_normal(2), normal(3)], casting="unsafe")
case(np.concat, (normal(2), normal(3)))
case(np.stack, [normal(2), normal(2)], 1, dtype=np.complex128, casting="safe")
case(np.stack, [normal(2), complex_normal(2)], -1)
for function in np.vstack, np.hstack:
    case(function, [normal(2, 3), normal(2, 3)], dtype=np.complex128)
    case(function, (normal(2, 3), complex_normal(2, 3)), casting="unsafe")
for function in np.vstack, np.hstack, np.dstack, np.column_stack:
    case(function, [normal(3), normal(3)])
    case(function, (normal(2, 3), normal(2, 3)))
    case(function, [normal(2, 3), np.ones((2, 3)), [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]])
    case(function, normal(2, 3, 2))
    x = normal(3)
    case(function, [x, x])
    case(function, [normal(2, 2, 1), normal(2, 2, 1)])
    case(function, [normal(), 2.0, normal()])
case(np.vstack, [normal(3), normal(2, 3)])
case(np.hstack, [normal(2), complex_normal(3)])
case(np.dstack, [normal(1, 3), normal(3)])
case(np.column_stack, [normal(2, 3), normal(2)])
case(np.append, normal(3), normal(2))
case(np.append, normal(2, 3), normal(2))
case(np.append, normal(2, 3), normal(1, 3), 0)
case(np.append, normal(2, 3), complex_normal(2, 1), axis=1)
case(np.append, [1.0, 2.0, 3.0], normal(2))
case(np.append, normal(2), 3.0)
case(np.append, [[1.0, 2.0]], normal(2, 2), axis=0)
case(np.block, [normal(2), normal(3)])
case(np.block, [[normal(2, 3), normal(2, 3)], [normal(2, 3), normal(2, 3)]])
case(np.block, [[normal(2)], [normal(2)]])
case(np.block, [complex_normal(), 1.0, normal()])
case(np.block, [normal(2, 2, 3), normal(2, 2, 1)])
case(np.block, normal(2, 3))
case(np.block, [[[normal(3)]]])
for n in None, 0, 1, 2, 5:
    case(np.vander, normal(3), n)
    case(np.vander, normal(3), N=n, increasing=True)
case(np.vander, complex_normal(3), 4)
case(np.vander, np.array([0.0, 1.0]))

# Padding

widths = [1, (1, 2), ((1, 2),), ((0, 1), (2, 1)), [[1], [2]], 0]
if np.lib.NumpyVersion(np.__version__) >= "2.4.0":
    widths += [{-1: (1, 2)}, {0: 2}]
for width in widths:
    case(np.pad, normal(2, 2), width)
    case(np.pad, normal(2, 1), width, "mean")
case(np.pad, normal(3), pad_width=1, mode="constant")
case(np.pad, normal(2, 2), 2, constant_values=1.5)
case(np.pad, normal(2, 1), 1, "constant", constant_values=((1, 2), (3, 4)))
case(np.pad, complex_normal(3), (2, 0), "constant", constant_values=1j)
case(np.pad, normal(0, 2), 1)
case(np.pad, normal(), 1)
for mode in "edge", "wrap", "reflect", "symmetric", "maximum", "minimum", "mean", "median", "linear_ramp":
    case(np.pad, normal(3), 7, mode)
    case(np.pad, normal(3), (1, 0), mode=mode)
    case(np.pad, normal(2, 3), ((1, 0), (0, 2)), mode)
for mode in "reflect", "symmetric":
    case(np.pad, complex_normal(3), 2, mode, reflect_type="even")
for mode in "maximum", "minimum", "mean", "median":
    for length in 1, 9, None, ((1, 2), (2, 1)), ((1, 2),):
        case(np.pad, normal(3, 2), ((1, 0), (0, 1)), mode, stat_length=length)
for end in 1.5, (1, 2), ((1, 2), (3, 4)):
    case(np.pad, normal(2, 2), ((1, 2), (0, 1)), "linear_ramp", end_values=end)
case(np.pad, complex_normal(3), 2, "mean")
case(np.linspace, normal(), normal())
case(np.linspace, normal(3), 1.5, 4)
case(np.linspace, 0, normal(2, 1), num=1)
case(np.linspace, normal(3), normal(2, 1), 4, False, axis=1)
case(np.linspace, complex_normal(3), normal(3), 3, endpoint=True, axis=-1)
case(np.linspace, normal(2), normal(2), 0, dtype=np.complex128)

# Moving elements

for mode in "raise", "wrap", "clip":
    case(np.take, normal(3), [0, -1, 0], mode=mode)
    case(np.take, normal(2, 3), np.array([[0, 1], [1, 1]]), 1, mode=mode)
for mode in "wrap", "clip":
    case(np.take, complex_normal(3), [5, -7, 0], None, None, mode)
case(np.take, normal(2, 3), 4)
case(np.take, normal(2, 3, 2), 1, axis=-2)
case(np.take_along_axis, normal(2, 3), np.array([[0, 0], [2, 1]]), 1)
case(np.take_along_axis, normal(2, 3), np.array([[0, 1, 0]]), axis=0)
case(np.take_along_axis, normal(2, 3), np.array([5, 5, 0]), axis=None)
if NUMPY >= "2.3.0":  # older ones want an axis
    case(np.take_along_axis, complex_normal(2, 3), np.array([[2], [0]]))
case(np.compress, [True, False, True], normal(3))
case(np.compress, [0, 1], normal(2, 3), axis=0)
case(np.compress, [True, False, True], complex_normal(2, 3), 1)
case(np.compress, [False, True, True], normal(2, 3))
case(np.extract, np.arange(6).reshape(2, 3) % 2 == 0, normal(2, 3))
case(np.extract, [1, 0, 1], complex_normal(3))
for obj in 1, -1, [0, 2], slice(None, None, 2), np.array([True, False, True]):
    case(np.delete, normal(3), obj)
    case(np.delete, normal(2, 3), obj, 1)
case(np.delete, complex_normal(2, 3), [0, 5], axis=None)
for repeats in 0, 1, 2, [2], np.array(3):
    for axis in None, 0, 1, -1:
        case(np.repeat, normal(2, 3), repeats, axis)
case(np.repeat, normal(3, 1), [0, 1, 2], axis=0)
case(np.repeat, normal(2, 2), [0, 1, 2, 1])
case(np.repeat, complex_normal(), 3)
for reps in 1, 2, 0, (2,), (1, 2), (2, 3), (3, 2, 1), ():
    case(np.tile, normal(2, 3), reps)
    case(np.tile, normal(2), reps)
case(np.tile, normal(2, 1, 3, 1), (1, 4, 1, 2))
case(np.tile, complex_normal(), 2)
for shape in 3, (2, 2), (3, 3), (0, 2), 7:
    case(np.resize, normal(2, 2), shape)
case(np.resize, complex_normal(2), (2, 3))
case(np.resize, normal(0), (2, 2))
for k in 0, 1, -2, 5:
    case(np.diag, normal(3), k)
    case(np.diag, normal(3, 4), k)
    case(np.diagflat, normal(2, 2), k)
    case(np.tril, normal(3, 4), k)
    case(np.triu, normal(3, 4), k=k)
    case(np.diagonal, normal(3, 4), k)
    case(np.linalg.diagonal, normal(2, 3, 3), offset=k)
for function in np.tril, np.triu:
    case(function, normal(3))
    case(function, complex_normal(2, 3, 3), 1)
for function in np.diag, np.diagflat, np.diagonal, np.linalg.diagonal:
    case(function, complex_normal(3, 3))
case(np.diag, complex_normal(3), k=-1)
case(np.diagflat, normal())
case(np.diagonal, normal(2, 3, 4), 1, 2, 0)
case(np.diagonal, normal(2, 3, 4), axis1=-1, axis2=-2)
windows = np.lib.stride_tricks.sliding_window_view
case(windows, normal(5), 3)
case(windows, normal(3, 4), (2, 2))
case(windows, normal(3, 4), 2, 1)
case(windows, complex_normal(3, 4), (2, 3), axis=(1, 1))
case(windows, normal(3, 4), 2, np.int64(-1))
case(overlapped, complex_normal(3, 2, 2), (3, 3), (1,))
for obj in 0, 1, -1, [0, 2], slice(0, 2), [1, 1]:
    case(np.insert, normal(3), obj, normal())
    case(np.insert, normal(2, 3), obj, normal(), axis=1)
case(np.insert, normal(3), [0, 2], normal(2))
case(np.insert, normal(2, 3), 1, normal(3), axis=0)
case(np.insert, normal(2, 3), [0, 2], normal(2, 3), 0)
case(np.insert, normal(2, 3), [0, 5], normal(2))
case(np.insert, normal(3), 1, 5.0)
case(np.insert, normal(3), [0, 1], [1, 2])
case(np.insert, [1.0, 2.0], 1, normal(2))
case(np.insert, complex_normal(3), 1, normal())
if NUMPY >= "2.2.0":  # older ones take the booleans as numbers, and warn of it
    case(np.insert, normal(3), np.array([True, False, True]), normal())
for trim in "fb", "f", "b":
    case(np.trim_zeros, np.array([0.0, 0.0, 1.0, 0.0, 2.0, 0.0])[2:5], trim)
case(np.trim_zeros, complex_normal(3))

# Order

for axis in -1, 0, 1, None:
    case(np.sort, normal(3, 4), axis)
    case(np.sort, complex_normal(3, 4), axis=axis)
    case(np.partition, normal(3, 5), 2, axis)
    case(np.partition, normal(3, 5), [0, 2], axis=axis)
for kind in "quicksort", "mergesort", "heapsort", "stable", None:
    case(np.sort, normal(4), kind=kind)
case(np.sort, normal(4), stable=True)
case(np.sort, normal(0))
case(np.partition, complex_normal(5), 2, kind="introselect")
case(np.sort_complex, normal(4))
case(np.sort_complex, complex_normal(2, 4))

case(np.unique, normal(4))
case(np.unique, complex_normal(2, 3))
case(np.unique, np.array([2.0, 1.0, 2.0])[[0, 1]], False, False, False, None, equal_nan=False)
case(np.unique, normal(3, 2), axis=0)
case(np.unique, normal(3, 2), axis=-1)

# Choices between arrays

masks = [np.array([True, False, True, False]), np.array([True, True, False, False])]
case(np.select, masks, [normal(4), normal(4)])
case(np.select, masks, [normal(4), normal(4)], 1.5)
case(np.select, masks, [normal(4), 2.0], default=normal(4))
case(np.select, masks, [normal(2, 1), complex_normal(4)], normal())
case(np.choose, np.array([0, 1, 1]), [normal(3), normal(3)])
case(np.choose, [[0, 1, 2], [2, 1, 0]], [normal(3), normal(2, 1), normal()])
case(np.choose, np.array([0, 1]), normal(2, 2))
case(np.choose, [1, 0], [complex_normal(2), normal(2)])
for mode in "wrap", "clip":
    case(np.choose, [5, -1, 0], (normal(3), normal(3)), mode=mode)
x = np.array([-1.2, 0.7, -0.3, 0.4, 1.1])
case(np.piecewise, x, [x < 0, x > 0.5], [np.sin, np.cos, np.exp])
case(np.piecewise, x, [x < 0, x > -0.5], [np.sin, lambda x: x * x])
case(np.piecewise, x, [x < 0], [2.5, np.exp])
case(np.piecewise, x, [x > 5], [np.exp, 2.5])
case(np.piecewise, x, x < 0, [lambda x, a, b: a * x**b, 0], 2.0, b=3)
case(np.piecewise, positive(), [True], [np.log])
case(np.piecewise, complex_normal(2), [[True, False]], [np.sin, np.cos])

# Indexing

indices = [(0, [1, 2]), (0, slice(None), [1, 0]), ([0, 1], 0, [1, 0]), ([0, 1], slice(None), 0), (..., [0, 1, 1])]
indices += [(None, [0, 1], ..., None), (slice(None), [[0], [3]], [0, 1]), ([[0], [2]], slice(1, 3), [[1], [0]])]
indices += [np.array(1), (np.array(1), ..., np.array(0)), np.array(True), False, (slice(2, 0, -1), [0, 0], 1)]
indices += [(np.array([True, False, True]), slice(None), 1), (np.array([True, False, True]), [0, 3])]
indices += [(np.array([True, False, True]), np.array([True, False, True, False]))]
indices += [np.arange(12).reshape(3, 4) % 2 == 0, (..., np.arange(8).reshape(4, 2) % 3 == 0)]
indices += [(np.uint8(1), np.int32(-1)), np.ix_([0, 2], [1, 1], [0]), [True, False, True], ([], slice(None))]
indices += [np.zeros((3, 4, 2), bool), (slice(None, None, -2), slice(10, None), -1), (np.int64(2), [0, 0])]
for index in indices:
    case(getitem, normal(3, 4, 2), index)
    case(getitem, complex_normal(3, 4, 2), index)

# Constant almost everywhere

case(np.argpartition, normal(2, 3), 1)
case(np.argpartition, normal(2, 3), 1, axis=0)
case(np.lexsort, (normal(3), normal(3)))
case(np.argwhere, normal(2, 3))
for function in np.diag_indices_from, np.tril_indices_from, np.triu_indices_from:
    case(function, normal(3, 3))
for function in np.zeros_like, np.ones_like, np.iscomplexobj, np.isrealobj, np.result_type, np.min_scalar_type:
    case(function, normal(2))
case(np.can_cast, np.dtype(np.float64), np.float32)
case(np.shares_memory, normal(2), normal(2))
case(np.may_share_memory, normal(2), normal(2))
