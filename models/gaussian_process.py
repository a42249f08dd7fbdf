"""Gaussian process regression: a curve through noisy points, with its uncertainty.

The prior says how alike a function's values at two places are: by the squared exponential kernel, over a length scale.
Given points, the posterior is known in closed form (Rasmussen & Williams, Gaussian Processes for Machine Learning,
2006, chapter 2). The best hyperparameters are those that make the points most likely (chapter 5): SciPy's minimizer
looks for them, with the gradient that `func.value_and_grad` gives it. Run it: `python models/gaussian_process.py`
"""

import argparse
from importlib.util import find_spec

import numpy as np
from scipy.optimize import minimize

from tinygrad_np import func

TRUTH = np.log([1.5, 0.8, 0.2])  # the logarithms of amplitude, length scale and noise, so that any numbers are valid
STARTS = np.log([[1.0, 3.0, 1.0], [1.0, 1.0, 0.3], [1.0, 0.3, 0.1]])


def kernel(x, y, amplitude, length):
    """The prior covariance, shape (N, M), of the function's values at the places x (N,) and y (M,)."""
    return amplitude**2 * np.exp(-0.5 * ((x[:, None] - y) / length) ** 2)


def negative_log_likelihood(theta, x, y):
    """Of the points, whatever the function (equation 2.30); theta are hyperparameters as in TRUTH."""
    amplitude, length, noise = np.exp(theta)
    covariance = kernel(x, x, amplitude, length) + noise**2 * np.eye(len(x))
    _, log_determinant = np.linalg.slogdet(covariance)
    return 0.5 * (y @ np.linalg.solve(covariance, y) + log_determinant + len(x) * np.log(2 * np.pi))


def posterior(theta, x, y, at):
    """The mean and the standard deviation of the function at some places, given the points (equations 2.23, 2.24)."""
    amplitude, length, noise = np.exp(theta)
    across = kernel(x, at, amplitude, length)
    weights = np.linalg.solve(kernel(x, x, amplitude, length) + noise**2 * np.eye(len(x)), across)
    return weights.T @ y, np.sqrt(np.maximum(amplitude**2 - np.sum(across * weights, axis=0), 0))


def draw(x, y, at, truth, thetas):
    """A panel for each theta: the points, the truth, and the posterior with two standard deviations around it."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4), layout="constrained")
    for axes, (title, theta) in zip(figure.subplots(1, len(thetas), sharey=True), thetas.items(), strict=True):
        mean, deviation = posterior(theta, x, y, at)
        axes.fill_between(at, mean - 2 * deviation, mean + 2 * deviation, alpha=0.25, label="two standard deviations")
        axes.plot(at, mean, label="mean")
        axes.plot(at, truth, "k--", label="truth")
        axes.plot(x, y, "k.", label="points")
        axes.set_title(title)
    axes.legend()
    figure.savefig("gaussian_process.png", dpi=120)


def main(points=60):
    """Draw a function and points on it, find the hyperparameters, and say how well they and the function are met."""
    generator, (amplitude, length, noise) = np.random.default_rng(4), np.exp(TRUTH)
    at, x = np.linspace(0, 10, 300), np.sort(generator.uniform(0, 10, points))
    x = x[(x < 5.5) | (x > 7.5)]  # a gap, where the uncertainty should grow
    places = np.concatenate([at, x])
    values = generator.multivariate_normal(np.zeros(len(places)), kernel(places, places, amplitude, length))
    truth, y = values[: len(at)], values[len(at) :] + noise * generator.standard_normal(len(x))

    objective = func.value_and_grad(negative_log_likelihood)
    found = [minimize(objective, start, (x, y), jac=True, method="L-BFGS-B") for start in STARTS]
    theta = min(found, key=lambda result: result.fun).x  # there may be several minima (section 5.4.1)
    for title, known in {"first guess": STARTS[0], "most likely": theta, "truth": TRUTH}.items():
        print(f"{title}: amplitude {{:.2f}}, length scale {{:.2f}}, noise {{:.2f}};".format(*np.exp(known)), end=" ")
        print(f"log likelihood: {-negative_log_likelihood(known, x, y):.2f}")
    mean, deviation = posterior(theta, x, y, at)
    within = np.mean(np.abs(truth - mean) <= 2 * deviation)
    print(f"the truth is within two standard deviations at {within:.0%} of the places (95% on average)")
    if find_spec("matplotlib"):
        draw(x, y, at, truth, {"first guess": STARTS[0], "most likely": theta})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=60, help="how many points (%(default)s)")
    main(**vars(parser.parse_args()))
