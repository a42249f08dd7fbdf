"""Libraries that compute with other libraries' arrays: what they give for Tensors, and its derivatives."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tinygrad_np import Tensor
from tinygrad_np.debug import gradcheck

ROOT = Path(__file__).resolve().parents[1]
X = np.array([[0.5, 2.0, 1.2], [3.0, 1.5, 0.7]])


@pytest.mark.parametrize(
    "compute",
    [
        lambda x, pd: x * pd.Series([1.0, 2.0, 3.0], index=list("abc")),
        lambda x, pd: pd.Series([1.0, 2.0, 3.0], index=list("abc")) - x,
        lambda x, pd: x / pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0], "c": [5.0, 6.0]}),
        lambda x, pd: pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0], "c": [5.0, 6.0]}) ** x,
        lambda x, pd: x @ pd.DataFrame({"a": [1.0, 2.0, 5.0]}),
        lambda x, pd: np.multiply(pd.Series([1.0, 2.0, 3.0]), x[1]),
        lambda x, pd: x + pd.Index([1, 2, 3]),
    ],
)
def test_arithmetic_of_pandas_and_tensors_gives_tensors(compute):
    pd = pytest.importorskip("pandas")
    assert type(compute(Tensor(X), pd)) is Tensor
    gradcheck(lambda x: compute(x, pd), X)


@pytest.mark.parametrize(
    "compute",
    [
        lambda d, xr: d.mean("a"),
        lambda d, xr: np.exp(d) * xr.DataArray([1.0, 2.0], dims="a"),
        lambda d, xr: d.isel(a=0) - d.std("b"),
        lambda d, xr: d.where(d > 1, 0.0),
        lambda d, xr: xr.concat([d, d * d], "a"),
        lambda d, xr: d.rolling(b=2).mean().sel(b=[20, 30]),
        lambda d, xr: d.weighted(xr.DataArray([1.0, 2.0, 3.0], dims="b")).mean("b"),
        lambda d, xr: d.integrate("b"),
        lambda d, xr: d.dot(d, dim="b"),
    ],
)
def test_xarray_computes_with_tensors(compute):
    xr = pytest.importorskip("xarray")

    def f(x):
        array = xr.DataArray(x, dims=("a", "b"), coords={"b": [10, 20, 30]})
        return compute(array, xr).data

    expected, ours = f(X), f(Tensor(X))
    assert type(ours) is Tensor
    np.testing.assert_allclose(ours.data, expected)
    gradcheck(f, X)


def test_opt_einsum_contracts_tensors():
    oe = pytest.importorskip("opt_einsum")
    gradcheck(lambda x, y: oe.contract("ij,kj,kl->il", x, x, y), (X, X))
    expression = oe.contract_expression("ij,jk->ik", (2, 3), (3, 2))
    gradcheck(lambda x: expression(x, x.T), X)


def test_einops_rearranges_tensors_as_the_guide_says(monkeypatch):
    einops = pytest.importorskip("einops")
    guide = (ROOT / ".github" / "guide.md").read_text(encoding="utf-8")
    block = re.search(r"<!-- einops -->\n```\n(.*?)```", guide, re.S)[1]
    exec(compile(block, "guide.md", "exec"), {})
    gradcheck(lambda x: einops.rearrange(x, "a b -> (b a)"), X)
    gradcheck(lambda x: einops.reduce(x, "a b -> b", "mean"), X)
    gradcheck(lambda x: einops.repeat(x, "a b -> a b c", c=2), X)
    gradcheck(lambda x: einops.einsum(x, x, "a b, c b -> a c"), X)


def test_einops_for_the_array_api_needs_nothing():
    ops = pytest.importorskip("einops.array_api")
    gradcheck(lambda x: ops.rearrange(x, "a b -> (b a)"), X)
    gradcheck(lambda x: ops.reduce(x, "a b -> b", "max"), X)


@pytest.mark.slow
def test_functions_of_scipy_and_scikit_learn_differentiate_through_the_array_api():
    pytest.importorskip("sklearn")
    pytest.importorskip("array_api_compat")
    script = ROOT / "tests" / "array_api_functions.py"  # SciPy has to be told before it is imported
    run = subprocess.run([sys.executable, script], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
