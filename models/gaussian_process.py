"""Gaussian process regression: a curve through noisy points, with its uncertainty.

The prior says how much function values at two places have to do with each other: by the squared exponential kernel,
over a length scale. Given the points, the posterior is known in closed form (Rasmussen & Williams, Gaussian Processes
for Machine Learning, 2006, chapter 2). The kernel's three hyperparameters are those that make the points most likely
(chapter 5). SciPy's minimizer looks for them, with the gradient by which `func.value_and_grad` answers.

    python models/gaussian_process.py

It draws functions from a prior with known hyperparameters, so that those found can be compared.
"""

import argparse
import io

import numpy as np
from scipy.optimize import minimize

from tinygrad_np import func
from tinygrad_np.files import write_atomically

NAMES = ("amplitude", "length scale", "noise")
TRUTH = np.log([1.5, 0.8, 0.2])
STARTS = np.log([[1.0, 3.0, 1.0], [1.0, 1.0, 0.3], [1.0, 0.3, 0.1]])


def kernel(x, y, amplitude, length):
    """The prior covariance of the function's values, shape (N, M), at the places x (N,) and y (M,)."""
    return amplitude**2 * np.exp(-0.5 * ((x[:, None] - y) / length) ** 2)


def noisy_kernel(x, theta):
    """The covariance of observations at x; theta has the logarithms of the hyperparameters, so that any are valid."""
    amplitude, length, noise = np.exp(theta)
    return kernel(x, x, amplitude, length) + noise**2 * np.eye(len(x))


def negative_log_likelihood(theta, x, y):
    """Minus the logarithm of the probability density of the points, the functions integrated out (equation 2.30)."""
    covariance = noisy_kernel(x, theta)
    _, log_determinant = np.linalg.slogdet(covariance)
    return 0.5 * (y @ np.linalg.solve(covariance, y) + log_determinant + len(x) * np.log(2 * np.pi))


def posterior(theta, x, y, at):
    """The mean and the standard deviation of the function at some places, given the points (equations 2.23, 2.24)."""
    amplitude, length, _ = np.exp(theta)
    across = kernel(x, at, amplitude, length)
    weights = np.linalg.solve(noisy_kernel(x, theta), across)
    return weights.T @ y, np.sqrt(np.maximum(amplitude**2 - np.sum(across * weights, axis=0), 0))


def fit(x, y):
    """The most likely logarithms of the hyperparameters. The likelihood may have several maxima (section 5.4.1)."""
    objective = func.value_and_grad(negative_log_likelihood)
    found = [minimize(objective, start, (x, y), jac=True, method="L-BFGS-B") for start in STARTS]
    return min(found, key=lambda result: result.fun).x


def draw(path, x, y, at, truth, thetas):
    """A panel for each set of hyperparameters: the points, the truth, and the posterior with two deviations around."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4), layout="constrained")
    for axes, (title, theta) in zip(figure.subplots(1, len(thetas), sharey=True), thetas.items(), strict=True):
        mean, deviation = posterior(theta, x, y, at)
        axes.fill_between(at, mean - 2 * deviation, mean + 2 * deviation, alpha=0.25, label="two standard deviations")
        axes.plot(at, mean, label="posterior mean")
        axes.plot(at, truth, "k--", linewidth=1, label="truth")
        axes.plot(x, y, "k.", label="observations")
        values = ", ".join(f"{name} {value:.2f}" for name, value in zip(NAMES, np.exp(theta), strict=True))
        axes.set(title=f"{title}\n{values}", xlabel="x")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    write_atomically(path, picture.getvalue())


def main(points=60, seed=4, out="gaussian_process.png"):
    """Draw a function and points on it, find the hyperparameters, and say how well they and the function are met."""
    generator = np.random.default_rng(seed)
    at = np.linspace(0, 10, 300)
    x = np.sort(generator.uniform(0, 10, points))
    x = x[(x < 5.5) | (x > 7.5)]  # a gap, where the uncertainty should grow
    places = np.concatenate([at, x])
    amplitude, length, noise = np.exp(TRUTH)
    values = generator.multivariate_normal(np.zeros(len(places)), kernel(places, places, amplitude, length))
    truth, y = values[: len(at)], values[len(at) :] + noise * generator.standard_normal(len(x))

    theta = fit(x, y)
    print("                 truth   found")
    for name, true, found in zip(NAMES, np.exp(TRUTH), np.exp(theta), strict=True):
        print(f"{name:15} {true:6.2f}  {found:6.2f}")
    for title, candidate in {"first guess": STARTS[0], "found": theta, "truth": TRUTH}.items():
        print(f"log likelihood, {title}: {-negative_log_likelihood(candidate, x, y):.2f}")
    mean, deviation = posterior(theta, x, y, at)
    within = np.mean(np.abs(truth - mean) <= 2 * deviation)
    print(f"the truth is within two standard deviations at {within:.0%} of the places (95% on average)")
    try:
        draw(out, x, y, at, truth, {"First guess": STARTS[0], "Most likely": theta})
    except ImportError:
        print('no picture: it needs matplotlib, python -m pip install "tinygrad_np[plots]"')
    else:
        print(f"drawn in {out}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=60, help="how many observations (%(default)s)")
    parser.add_argument("--seed", type=int, default=4, help="of the function and its observations (%(default)s)")
    parser.add_argument("--out", default="gaussian_process.png", help="the picture (%(default)s)")
    main(**vars(parser.parse_args()))
