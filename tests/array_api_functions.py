"""Functions of SciPy and scikit-learn that take arrays of any library: their values and gradients, for Tensors.

It is run by `test_other_libraries.py` in a process of its own, as SciPy reads the environment when it is imported.
"""

import os

os.environ["SCIPY_ARRAY_API"] = "1"

import numpy as np
import sklearn
from scipy import fft, integrate, optimize, signal, special, stats
from sklearn import preprocessing
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.metrics import pairwise

from tinygrad_np import Tensor
from tinygrad_np.debug import gradcheck

sklearn.set_config(array_api_dispatch=True)

generator = np.random.default_rng(0)
X = generator.uniform(0.5, 2, (5, 3))
Y = generator.uniform(0.5, 2, (4, 3))
TARGET = generator.uniform(0.5, 2, 5)

FUNCTIONS = {
    "special.softmax": lambda x, y: special.softmax(x, axis=1),
    "special.log_softmax": lambda x, y: special.log_softmax(x, axis=1),
    "special.logsumexp": lambda x, y: special.logsumexp(x, axis=0),
    "special.erf": lambda x, y: special.erf(x),
    "special.gammaln": lambda x, y: special.gammaln(x),
    "special.xlogy": lambda x, y: special.xlogy(x, x[0]),
    "special.rel_entr": lambda x, y: special.rel_entr(x, x[0]),
    "stats.zscore": lambda x, y: stats.zscore(x),
    "stats.gzscore": lambda x, y: stats.gzscore(x),
    "stats.gmean": lambda x, y: stats.gmean(x),
    "stats.hmean": lambda x, y: stats.hmean(x),
    "stats.pmean": lambda x, y: stats.pmean(x, 3),
    "stats.skew": lambda x, y: stats.skew(x),
    "stats.kurtosis": lambda x, y: stats.kurtosis(x),
    "stats.moment": lambda x, y: stats.moment(x, 3),
    "stats.sem": lambda x, y: stats.sem(x),
    "stats.circmean": lambda x, y: stats.circmean(x),
    "stats.boxcox_llf": lambda x, y: stats.boxcox_llf(0.5, x),
    "stats.quantile": lambda x, y: stats.quantile(x, 0.3),
    "signal.fftconvolve": lambda x, y: signal.fftconvolve(x, y),
    "signal.oaconvolve": lambda x, y: signal.oaconvolve(x, y),
    "signal.correlate": lambda x, y: signal.correlate(x, y, method="fft"),
    "integrate.trapezoid": lambda x, y: integrate.trapezoid(x),
    "integrate.cumulative_trapezoid": lambda x, y: integrate.cumulative_trapezoid(x),
    "integrate.cumulative_simpson": lambda x, y: integrate.cumulative_simpson(x),
    "fft.rfft": lambda x, y: np.abs(fft.rfft(x)),
    "fft.irfft": lambda x, y: fft.irfft(x),
    "optimize.rosen": lambda x, y: optimize.rosen(x),
    "pairwise.euclidean_distances": lambda x, y: pairwise.euclidean_distances(x, y),
    "pairwise.manhattan_distances": lambda x, y: pairwise.manhattan_distances(x, y),
    "pairwise.linear_kernel": lambda x, y: pairwise.linear_kernel(x, y),
    "pairwise.polynomial_kernel": lambda x, y: pairwise.polynomial_kernel(x, y),
    "pairwise.rbf_kernel": lambda x, y: pairwise.rbf_kernel(x, y),
    "pairwise.laplacian_kernel": lambda x, y: pairwise.laplacian_kernel(x, y),
    "pairwise.chi2_kernel": lambda x, y: pairwise.chi2_kernel(x, y),
    "pairwise.sigmoid_kernel": lambda x, y: pairwise.sigmoid_kernel(x, y),
    "pairwise.cosine_similarity": lambda x, y: pairwise.cosine_similarity(x, y),
    "MinMaxScaler": lambda x, y: preprocessing.MinMaxScaler().fit(x).transform(y),
    "MaxAbsScaler": lambda x, y: preprocessing.MaxAbsScaler().fit(x).transform(y),
    "Normalizer": lambda x, y: preprocessing.Normalizer().fit_transform(x),
    "PolynomialFeatures": lambda x, y: preprocessing.PolynomialFeatures().fit_transform(x),
    "PCA": lambda x, y: PCA(2, svd_solver="full").fit(x).transform(y),
    "Ridge": lambda x, y: Ridge(solver="svd").fit(x, x.__array_namespace__().asarray(TARGET)).predict(y),
}

if __name__ == "__main__":
    wrong = []
    for name, function in FUNCTIONS.items():
        try:
            ours = function(Tensor(X), Tensor(Y))
            assert isinstance(ours, Tensor)
            np.testing.assert_allclose(ours.data, function(X, Y), rtol=1e-7)
            gradcheck(function, (X, Y))
        except Exception as error:
            wrong.append(name)
            print(f"{name}: {error!r}\n")
    raise SystemExit(f"{len(wrong)} of {len(FUNCTIONS)} fail: {wrong}" if wrong else 0)
