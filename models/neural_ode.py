"""A neural ordinary differential equation: a network that says how fast things move, fitted to where they were seen.

The network gives the velocity at each place, dy/dt = f(y), and a solver moves along it: here Runge and Kutta's method
of fourth order, in plain NumPy, so that gradients pass through its steps to the weights. (Chen et al., Neural Ordinary
Differential Equations, 2018, solve a second equation backwards in time, as `tinygrad_np.scipy.integrate.odeint` does.)
It learns from short stretches of a noisy spiral and is judged by going all the way: `python models/neural_ode.py`
"""

import argparse
from importlib.util import find_spec

import numpy as np
from tqdm import tqdm

import tinygrad_np
from tinygrad_np import nn, no_grad, optim

START, SPIRAL = np.array([1.5, 0.0], np.float32), np.array([[-0.1, 2.0], [-2.0, -0.1]], np.float32)
TIME, SEEN, NOISE = 10.0, 400, 0.03  # of the spiral, how often it is looked at on its way, and how exactly
STRETCH, BATCH = 10, 32  # how many observations follow each other in training, and how many such stretches at once


def solve(velocity, y, steps):
    """Move along a velocity from the places y (N, 2): the places at all times, shape (steps + 1, N, 2)."""
    places, dt = [y], TIME / SEEN
    for _ in range(steps):
        k1 = velocity(y)
        k2 = velocity(y + dt / 2 * k1)
        k3 = velocity(y + dt / 2 * k2)
        k4 = velocity(y + dt * k3)
        places.append(y := y + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4))
    return np.stack(places)


def draw(path, network, **spirals):
    """The spirals, and the velocity that the network has learned everywhere."""
    from matplotlib.figure import Figure

    axes = Figure(figsize=(6, 6), layout="constrained").subplots()
    grid = np.linspace(-1.8, 1.8, 30, dtype=np.float32)
    with no_grad():
        learned = network(np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2)).numpy().reshape(30, 30, 2)
    axes.streamplot(grid, grid, learned[..., 0], learned[..., 1], color="0.85", linewidth=1)
    for (name, places), line in zip(spirals.items(), ["k.", "k--", "C0-"], strict=True):
        axes.plot(*places.T, line, markersize=3, alpha=0.7, label=name)
    axes.legend()
    axes.figure.savefig(path, dpi=120)


def main(steps=4000, out="neural_ode.png"):
    """Look at a spiral, learn its velocity, and say how far the learned spiral is from the true one."""
    generator = np.random.default_rng(0)
    truth = solve(lambda y: y**3 @ SPIRAL.T, START[None], SEEN)[:, 0]
    seen = truth + NOISE * generator.standard_normal(truth.shape, np.float32)
    layers = [nn.Linear(*sizes, generator=generator) for sizes in [(2, 64), (64, 64), (64, 2)]]
    network = nn.Sequential(layers[0], nn.Tanh(), layers[1], nn.Tanh(), layers[2])
    optimizer, schedule = optim.Adam(network.parameters()), optim.schedules.cosine(2e-2, steps)

    @tinygrad_np.compile
    def distance(stretches):
        """The mean squared distance from the places seen, shape (STRETCH + 1, BATCH, 2), to those on the way."""
        return np.mean((solve(network, stretches[0], STRETCH) - stretches) ** 2)

    for step in tqdm(range(steps), "learning", mininterval=1):
        optimizer.lr = schedule(step)
        loss = distance(seen[generator.integers(0, SEEN - STRETCH + 1, BATCH) + np.arange(STRETCH + 1)[:, None]])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    with no_grad():
        found = solve(network, START[None], SEEN)[:, 0].numpy()
    print(f"the places seen are {NOISE} away from the spiral in each direction")
    error, radius = (np.sqrt(np.mean(np.sum(x**2, axis=-1))) for x in (found - truth, truth))
    print(f"the learned spiral, after {TIME:.0f} seconds: {error:.3f} away from the true one, of radius {radius:.2f}")
    if find_spec("matplotlib"):
        draw(out, network, seen=seen, truth=truth, learned=found)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=4000, help="how many steps to learn (%(default)s)")
    parser.add_argument("--out", default="neural_ode.png", help="the picture (%(default)s)")
    main(**vars(parser.parse_args()))
