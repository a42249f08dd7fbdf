"""Cases of derivative_cases.py, continued: element-wise functions, reductions and scans."""

import numpy as np
from derivative_cases import between, case, complex_normal, normal, positive

from tinygrad_np.derivatives import elementwise, scans
from tinygrad_np.derivatives import reductions as reductions_of_ours

# Element-wise functions of one input

for function in np.deg2rad, np.radians, np.rad2deg, np.degrees, np.sinc, np.modf, np.nan_to_num, np.unwrap:
    case(function, normal(2, 3))
    case(function, normal(0, 3))
for function in np.deg2rad, np.sinc, np.modf, np.nan_to_num:
    case(function, normal())
case(np.sinc, np.array([0.0, 0.01, 0.029, 0.031, -0.02, 1.0, 2.5]))
case(np.sinc, complex_normal(2, 2))
case(np.unwrap, 4 * normal(2, 5))
case(np.unwrap, 4 * normal(5, 2), axis=0)
case(np.unwrap, 4 * normal(5), discont=4.0, period=5.0)
case(np.nan_to_num, normal(3), nan=1.0, posinf=2.0, neginf=3.0)
case(np.nan_to_num, complex_normal(2, 3))
for function in np.real_if_close, np.angle:
    case(function, complex_normal(2, 3))
    case(function, normal(3))
case(np.real_if_close, complex_normal(3), tol=1000)
case(np.angle, complex_normal(3), True)
case(np.angle, complex_normal(3), deg=True)
case(np.sign, complex_normal(2, 3))
case(np.square, np.array([0.0, -1.0]))
case(np.tanh, complex_normal(2))
case(np.ldexp, normal(2, 3), 3)
case(np.ldexp, normal(3), np.array([[-1], [2]]))

for scale in 1, 10, 100:
    case(np.i0, scale * normal(3) / 2)
case(np.i0, np.array([0.0, 20.0, -20.0]))
for order in 0, 1, 2:
    case(elementwise.bessel, normal(2, 2), order)

# Element-wise functions of two inputs

for function in np.arctan2, np.hypot, np.logaddexp2, np.fmax, np.fmin:
    case(function, normal(2, 3), normal(2, 3))
    case(function, normal(3), normal(2, 1))
    case(function, normal(2, 3), 1.5)
    case(function, -0.5, normal(2, 3))
    case(function, normal(3), [1.0, 2.0, 3.0])
for function in np.arctan2, np.hypot:
    x = positive(2, 2)
    case(function, x, x)
case(elementwise.logistic, normal(2, 3))
case(elementwise.over_length, normal(2, 3), positive(3))
case(np.copysign, normal(2, 3), [-1.0, 2.0, -0.0])
case(np.copysign, normal(3), np.array([[1], [-2]]))
case(np.heaviside, [1.0, 0.0, -1.0], normal(3))
case(np.heaviside, [0.0, 1.0, -1.0], normal(2, 3))
for exponent in 0, 1, 2, -1, 0.5, [0, 1, 2]:
    case(np.float_power, positive(3), exponent)
case(np.float_power, positive(2, 3), positive(3))
case(np.float_power, complex_normal(2), complex_normal(3, 1))
case(np.mod, between(-3, 3, 3), 0.7)

# Reductions: what all of them take

where = np.array([[[True, False], [False, True], [True, True]], [[False, True], [True, True], [False, True]]])
for function in np.sum, np.prod, np.mean, np.var, np.std, np.nansum, np.nanprod, np.nanmean, np.nanvar, np.nanstd:
    case(function, normal(2, 3, 2), where=where)
    case(function, normal(2, 3, 2), axis=(0, 1), where=where)
    case(function, normal(2, 3, 2), axis=1, keepdims=True, where=where[0])
    case(function, complex_normal(2, 3, 2), axis=(0, 1), where=where)
for function in np.sum, np.prod, np.max, np.min, np.amax, np.amin, np.nansum, np.nanprod, np.nanmax, np.nanmin:
    case(function, normal(2, 3), initial=0.5)
    case(function, normal(2, 3), axis=1, initial=0.1)
    case(function, normal(2, 3, 2), axis=(0, -1), initial=-0.2, where=where, keepdims=True)
case(np.prod, np.array([[2.0, 0.0, 3.0], [0.0, 0.0, 1.0]]), axis=1, initial=2.0)
case(np.prod, np.array([[2.0, 0.0, 3.0], [0.0, 0.0, 1.0]]), axis=1, where=[[True, False, True], [False, True, True]])
for function in np.var, np.std, np.nanvar, np.nanstd:
    case(function, normal(2, 3, 2), axis=(0, 1), ddof=1, where=where, keepdims=True)
    case(function, normal(3, 2), axis=0, mean=np.array([[0.5, 1.0]], dtype=np.float32))
    case(function, normal(3, 2), 0, np.float64, None, 1, True)
    case(function, complex_normal(3, 2), axis=0, correction=1)
reductions = [np.amax, np.amin, np.ptp, np.median, np.nansum, np.nanprod, np.nanmean, np.nanvar, np.nanstd]
for function in [*reductions, np.nanmax, np.nanmin, np.nanmedian, np.average]:
    case(function, normal(2, 3, 2))
    case(function, normal(3), axis=0)
    case(function, normal(4), axis=-1)
    case(function, normal(2, 3, 2), 1)
    case(function, normal(2, 3, 2), axis=-1, keepdims=True)
    case(function, normal(2, 3, 2), axis=(0, -1))
    case(function, normal(2, 3), keepdims=True)

# NaN and infinity: nudging them changes nothing

gaps = np.array([[1.0, np.nan, 3.0, 0.5], [np.nan, 2.0, 4.0, 7.0], [0.3, 0.2, np.nan, 9.0]])
for function in [np.nansum, np.nanprod, np.nanmean, np.nanvar, np.nanstd, np.nanmax, np.nanmin, np.nanmedian]:
    for axis in None, 0, 1, (0, 1):
        case(function, gaps, axis=axis)
    case(function, gaps, axis=1, keepdims=True)
for function in np.nancumsum, np.nancumprod:
    for axis in None, 0, -1:
        case(function, gaps, axis=axis)
for function in np.var, np.std, np.prod, np.mean, np.sum:
    case(function, gaps, axis=1, where=~np.isnan(gaps))
case(np.max, gaps, axis=1, initial=2.5, where=~np.isnan(gaps))
case(np.nan_to_num, np.array([np.nan, np.inf, -np.inf, 1.0]))
case(np.nan_to_num, np.array([complex(np.nan, 1), complex(2, np.inf)]), nan=3.0)
for function in np.fmax, np.fmin:
    case(function, np.array([np.nan, 1.0, 2.0]), np.array([1.0, np.nan, 3.0]))
for function in np.logaddexp, np.logaddexp2:
    case(function, np.array([-np.inf, 1.0]), np.array([2.0, -np.inf]))

# Quantiles

for function, scale in (np.quantile, 1), (np.percentile, 100):
    for q in 0, 0.3 * scale, 1 * scale, [0.2 * scale, 0.9 * scale], [[0.5 * scale], [0.21 * scale]]:
        case(function, normal(7), q)
        case(function, normal(2, 5), q, axis=1, keepdims=True)
    case(function, normal(2, 3, 2), [0.1 * scale, 0.6 * scale], axis=(0, 2))
    case(function, normal(2, 3), 0.4 * scale, -1)
    for method in ["lower", "higher", "nearest", "midpoint", "hazen", "median_unbiased", "inverted_cdf", "weibull"]:
        case(function, normal(6), 0.37 * scale, method=method)
case(np.median, np.array([1.0, 3.0, 2.0, 2.0 + 1e-3]))

# Averages

case(np.average, normal(2, 3), weights=[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
case(np.average, normal(2, 3), None, positive(2, 3))
case(reductions_of_ours.not_zero, positive(2))
case(np.average, normal(2, 3), 1, positive(3))
case(np.average, normal(2, 3), 0, positive(2), keepdims=True)
case(np.average, normal(2, 3, 4), (2, 0), positive(4, 2))
case(np.average, [1.0, 2.0], 0, positive(2))
case(np.average, complex_normal(3), 0, positive(3))

case(np.bincount, [0, 2, 2, 1], normal(4))
case(np.bincount, [0, 2, 2], normal(3), 5)
for function in np.cov, np.corrcoef:
    case(function, normal(2, 4))
    case(function, normal(3, 2), rowvar=False)
    case(function, normal(4), normal(4))
    case(function, normal(4, 2), [[1.0], [2.0], [3.0], [5.0]], False)
    case(function, complex_normal(2, 4))
case(np.cov, normal(4))
case(np.cov, normal(3, 4), bias=True)
case(np.cov, normal(3, 4), ddof=2)

# Running sums and products

for function in np.cumsum, np.cumprod, np.nancumsum, np.nancumprod:
    case(function, normal(2, 3))
    case(function, normal(2, 3), 0)
    case(function, normal(2, 3, 2), axis=-2)
    case(function, normal(3), axis=0, dtype=np.float64)
    case(function, normal(0, 3), axis=0)
    case(function, normal())
    case(function, complex_normal(2, 3), axis=1)
zeros = np.array([[1.0, 0.0, 2.0], [0.0, 3.0, 0.0], [-1.0, 2.0, 4.0]])
for function in np.cumprod, np.nancumprod:
    case(function, zeros, axis=0)
    case(function, zeros, axis=-1)
    case(function, zeros)
if hasattr(np, "cumulative_sum"):  # NumPy 2.1
    for function in np.cumulative_sum, np.cumulative_prod:
        case(function, normal(3))
        case(function, normal(2, 3), axis=-1)
        case(function, normal(2, 3), axis=0, include_initial=True)
        case(function, normal(3), include_initial=True, dtype=np.float64)
    case(np.cumulative_prod, zeros, axis=1, include_initial=True)

# Differences

for n in 0, 1, 2, 3:
    case(np.diff, normal(2, 3), n)
    case(np.diff, normal(3, 2, 2), n, axis=0)
case(np.diff, normal(1), 3)
case(scans.differences, normal(2, 3), 2, 1)
case(np.diff, complex_normal(3))
case(np.diff, normal(2, 3), prepend=0)
case(np.diff, normal(2, 3), 2, 0, [[1.0, 2.0, 3.0]], [[0.0, 0.0, 1.0], [4.0, 2.0, 2.0]])
case(np.diff, normal(2, 3), 2, -1, normal(2, 1), normal(2, 2))
case(np.diff, normal(2, 3), 1, 1, normal(), normal())
case(np.ediff1d, normal(2, 3))
case(np.ediff1d, normal(4), [1.0], [2.0, 3.0])
case(np.ediff1d, normal(4), normal(), normal(2))
case(np.ediff1d, normal(1), to_begin=0.0)
for edge_order in 1, 2:
    for n in range(1 + edge_order, 8):
        case(np.gradient, normal(n), edge_order=edge_order)
    case(np.gradient, normal(3, 4), edge_order=edge_order)
    case(np.gradient, normal(3, 4), 0.5, edge_order=edge_order)
    case(np.gradient, normal(3, 4), [0.0, 1.0, 3.0], 2.0, edge_order=edge_order)
    case(np.gradient, normal(5), [0.0, 1.0, 3.0, 3.5, 3.7], edge_order=edge_order)
    case(np.gradient, normal(3, 4), [0.0, 1.0, 3.0], axis=0, edge_order=edge_order)
case(np.gradient, normal(3, 3, 4), axis=(0, -1))
case(np.gradient, normal(3, 3, 4), 0.5, 2.0, axis=(2, 1))
case(np.gradient, normal(3, 4), axis=-1)
case(np.gradient, complex_normal(4))
case(scans.gradient_along, normal(2, 4), 1.0, 1, 2)
case(scans.transposed_gradient, normal(2, 4), 0.5, 1, 1)
case(np.trapezoid, normal(5))
case(np.trapezoid, normal(2, 5), dx=0.5, axis=0)
case(np.trapezoid, normal(2, 5), [0.0, 1.0, 1.5, 1.7, 4.0])
case(np.trapezoid, normal(2, 5), normal(5))
case(np.trapezoid, normal(2, 5), normal(2), axis=0)
case(np.trapezoid, normal(2, 5), normal(2, 5), axis=-2)
case(np.trapezoid, normal(4), 2.0 * np.arange(4), 1.0, 0)

# Constant almost everywhere

for function in [np.around, np.isposinf, np.isneginf, np.isreal, np.iscomplex, np.isrealobj, np.iscomplexobj]:
    case(function, normal(2, 3))
for function in np.nanargmax, np.nanargmin, np.common_type, np.result_type, np.min_scalar_type, np.array_str:
    case(function, normal(2, 3))
for function in np.array_equiv, np.isin, np.may_share_memory, np.shares_memory:
    case(function, normal(2, 3), normal(3))
for function in np.array_repr, np.array2string:
    case(function, normal(2, 3))
case(np.can_cast, np.float64, np.float32)
case(np.searchsorted, np.array([0.0, 1.0, 2.0]), between(0, 2, 4))
case(np.digitize, between(0, 2, 4), np.array([0.5, 1.5]))
