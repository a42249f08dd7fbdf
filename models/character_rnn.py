"""A recurrent network that reads a text character by character, learns to guess the next one, and then writes.

The idea is Karpathy's (The Unreasonable Effectiveness of Recurrent Neural Networks, 2015). The cell is the gated
recurrent unit (Cho et al., 2014): gates say how much of the state is kept, so that it can remember a word's beginning
or an open bracket. The text comes with every Python: its own reference, as `help("if")` shows it.

    python models/character_rnn.py

The step of training, 32 times the cell forwards and backwards, is one compiled function.
"""

import argparse
import io
from pydoc_data.topics import topics

import numpy as np
from tqdm import tqdm

import tinygrad_np
from tinygrad_np import functional, nn, no_grad, optim
from tinygrad_np.files import write_atomically

LENGTH, BATCH, UNITS = 32, 64, 128  # characters that a step reads one after another, texts side by side, the state


class CharacterRNN(nn.Module):
    """A gated recurrent unit and the scores for what comes next.

    Args:
        classes: how many different characters there are.
        generator: draws the weights.
    """

    def __init__(self, classes, generator):
        self.reset_update = nn.Linear(classes + UNITS, 2 * UNITS, generator=generator)
        self.candidate = nn.Linear(classes + UNITS, UNITS, generator=generator)
        self.scores = nn.Linear(UNITS, classes, generator=generator)

    def cell(self, character, state):
        """The next state, shape (N, UNITS), after characters of shape (N, classes), one-hot, and the last state."""
        gates = functional.sigmoid(self.reset_update(np.concatenate([character, state], axis=1)))
        reset, update = gates[:, :UNITS], gates[:, UNITS:]
        candidate = np.tanh(self.candidate(np.concatenate([character, reset * state], axis=1)))
        return update * state + (1 - update) * candidate

    def forward(self, characters, state):
        """Scores for the character after each, shape (T, N, classes), as `characters` are, and the last state."""
        states = []
        for character in characters:
            state = self.cell(character, state)
            states.append(state)
        return self.scores(np.stack(states)), state


def write(model, alphabet, beginning, length, generator):
    """Go on from a beginning: draw each character from those that the model holds likely, and read it in turn."""
    text = beginning
    state = np.zeros((1, UNITS), np.float32)
    with no_grad():
        for position in range(len(beginning) + length - 1):
            character = functional.one_hot([alphabet.index(text[position])], len(alphabet))
            scores, state = model(character[None], state)
            if position == len(text) - 1:
                likely = functional.softmax(scores / 0.7).numpy().ravel().astype(float)  # below 1: fewer oddities
                text += alphabet[generator.choice(len(alphabet), p=likely / likely.sum())]
    return text


def draw(path, losses, unread, alone):
    """The loss of each step, beside what guessing by how frequent characters are would cost."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(losses, linewidth=1, label="text being read")
    axes.axhline(unread, color="C1", label="text not read before")
    axes.axhline(alone, color="k", linestyle="--", linewidth=1, label="by frequency alone")
    axes.set(title="Surprise at the next character", xlabel="step", ylabel="bits", ylim=(0, None))
    axes.legend()
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    write_atomically(path, picture.getvalue())


def main(steps=1200, seed=0, out="character_rnn.png"):
    """Read Python's reference, measure the surprise at its last twentieth, which was not read, and write."""
    generator = np.random.default_rng(seed)
    text = "\n".join(topics[name] for name in sorted(topics)).encode("ascii", "ignore").decode()
    alphabet = sorted(set(text))
    codes = np.array([alphabet.index(character) for character in text])
    end = len(codes) * 19 // 20
    streams, unread = (
        part[: len(part) // BATCH * BATCH].reshape(BATCH, -1).T  # BATCH pieces of the text, read side by side
        for part in (codes[:end], codes[end:])
    )
    model = CharacterRNN(len(alphabet), generator)
    optimizer = optim.Adam(model.parameters())
    schedule = optim.schedules.cosine(5e-3, steps)

    def surprise(piece, state):
        """How many bits it takes to tell a character from those before; and the last state."""
        scores, state = model(functional.one_hot(piece[:-1], len(alphabet)), state)
        return functional.cross_entropy(scores.reshape(-1, len(alphabet)), piece[1:].ravel()) / np.log(2), state

    compiled = tinygrad_np.compile(surprise)
    state = new = np.zeros((BATCH, UNITS), np.float32)
    losses = []
    progress = tqdm(range(steps), "reading", unit=" steps", mininterval=1)
    for step in progress:
        start = step * LENGTH % ((len(streams) - 1) // LENGTH * LENGTH)
        loss, state = compiled(streams[start : start + LENGTH + 1], state if start else new)
        state = state.numpy()  # the next step goes on from here, but its gradient does not come back
        loss.backward()
        optim.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.lr = schedule(step)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        progress.set_postfix_str(f"{losses[-1]:.2f} bits a character", refresh=False)

    with no_grad():
        bits = surprise(unread, new)[0].item()
    share = np.bincount(codes) / len(codes)
    alone = -np.sum(share * np.log2(share))
    print(f"surprise at text that was not read: {bits:.2f} bits a character; by frequency alone {alone:.2f}")
    print(f"\n{write(model, alphabet, 'The ', 400, generator)}\n")
    try:
        draw(out, losses, bits, alone)
    except ImportError:
        print('no picture: it needs matplotlib, python -m pip install "tinygrad_np[plots]"')
    else:
        print(f"drawn in {out}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1200, help="how many steps to learn (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the weights and of what is written (%(default)s)")
    parser.add_argument("--out", default="character_rnn.png", help="the picture (%(default)s)")
    main(**vars(parser.parse_args()))
