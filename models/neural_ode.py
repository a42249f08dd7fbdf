"""A neural ordinary differential equation: a network that says how fast things move, fitted to where they were seen.

The network f gives the velocity at each place, dy/dt = f(y), and a solver moves along it: here Runge and Kutta's
method of fourth order, in plain NumPy, so that gradients pass through its steps to the weights (Chen, Rubanova,
Bettencourt & Duvenaud, Neural Ordinary Differential Equations, 2018; they solve a second equation backwards in time
instead, which needs less memory). It learns from short stretches of a noisy spiral, and is judged by going all the way.

    python models/neural_ode.py
"""

import argparse
import io

import numpy as np
from tqdm import tqdm

import tinygrad_np
from tinygrad_np import nn, no_grad, optim
from tinygrad_np.files import write_atomically

START = np.array([1.5, 0.0], np.float32)
TIME, SEEN = 10.0, 400  # the spiral, and how often it is looked at on its way
SPIRAL = np.array([[-0.1, 2.0], [-2.0, -0.1]], np.float32)
STRETCH, BATCH = 10, 32  # how many observations follow each other in training, and how many such stretches at once


def true_velocity(y):
    """A cubic spiral: the velocity, shape (N, 2), at the places y (N, 2)."""
    return y**3 @ SPIRAL.T


def solve(velocity, y, steps, dt):
    """Move along a velocity from the places y (N, 2): the places at all times, shape (steps + 1, N, 2)."""
    places = [y]
    for _ in range(steps):
        k1 = velocity(y)
        k2 = velocity(y + dt / 2 * k1)
        k3 = velocity(y + dt / 2 * k2)
        k4 = velocity(y + dt * k3)
        y = y + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        places.append(y)
    return np.stack(places)


def draw(path, seen, truth, found, network):
    """Two panels: the spiral with what was seen of it and what was learned, and the learned velocity everywhere."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 5), layout="constrained")
    left, right = figure.subplots(1, 2, sharex=True, sharey=True)
    left.plot(*seen.T, "k.", markersize=3, alpha=0.4, label="observations")
    left.plot(*truth.T, "k--", linewidth=1, label="truth")
    left.plot(*found.T, label="learned, from the first place on")
    left.set(title="The spiral", xlabel="x", ylabel="y", aspect="equal")
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    grid = np.linspace(-1.8, 1.8, 30, dtype=np.float32)
    places = np.stack(np.meshgrid(grid, grid), axis=-1)
    with no_grad():
        learned = network(places.reshape(-1, 2)).numpy().reshape(places.shape)
    speed = np.linalg.norm(learned, axis=-1)
    lines = right.streamplot(grid, grid, learned[..., 0], learned[..., 1], color=speed, density=1.2, linewidth=1)
    right.set(title="The velocity that the network has learned", xlabel="x", aspect="equal")
    figure.colorbar(lines.lines, label="speed")
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    write_atomically(path, picture.getvalue())


def main(steps=4000, noise=0.03, seed=0, out="neural_ode.png"):
    """Look at a spiral, learn its velocity, and say how far the learned spiral is from the true one."""
    generator = np.random.default_rng(seed)
    dt = TIME / SEEN
    truth = solve(true_velocity, START[None], SEEN, dt)[:, 0]
    seen = truth + noise * generator.standard_normal(truth.shape, np.float32)
    network = nn.Sequential(
        nn.Linear(2, 64, generator=generator),
        nn.Tanh(),
        nn.Linear(64, 64, generator=generator),
        nn.Tanh(),
        nn.Linear(64, 2, generator=generator),
    )
    optimizer = optim.Adam(network.parameters())
    schedule = optim.schedules.cosine(2e-2, steps)

    @tinygrad_np.compile
    def distance(stretches):
        """The mean squared distance from the places seen, shape (STRETCH + 1, BATCH, 2), to those on the way."""
        return np.mean((solve(network, stretches[0], STRETCH, dt) - stretches) ** 2)

    for step in tqdm(range(steps), "learning", unit=" steps", mininterval=1):
        optimizer.lr = schedule(step)
        starts = generator.integers(0, SEEN - STRETCH + 1, BATCH)
        loss = distance(seen[starts + np.arange(STRETCH + 1)[:, None]])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    with no_grad():
        found = solve(network, START[None], SEEN, dt)[:, 0].numpy()
    error, radius = (np.sqrt(np.mean(np.sum(x**2, axis=-1))) for x in (found - truth, truth))
    print(f"observations: {noise:.3f} away from the truth in each direction")
    print(f"the learned spiral, after {TIME:.0f} seconds: {error:.3f} away from the true one, of radius {radius:.2f}")
    try:
        draw(out, seen, truth, found, network)
    except ImportError:
        print('no picture: it needs matplotlib, python -m pip install "tinygrad_np[plots]"')
    else:
        print(f"drawn in {out}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=4000, help="how many steps to learn (%(default)s)")
    parser.add_argument("--noise", type=float, default=0.03, help="standard deviation of what is seen (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the observations and the network (%(default)s)")
    parser.add_argument("--out", default="neural_ode.png", help="the picture (%(default)s)")
    main(**vars(parser.parse_args()))
