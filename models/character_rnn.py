"""A recurrent network that reads a text character by character, learns to guess the next one, and then writes.

The idea is Karpathy's (The Unreasonable Effectiveness of Recurrent Neural Networks, 2015). The cell is the gated
recurrent unit (Cho et al., 2014): gates say how much of the state is kept, so that it can remember a word's beginning
or an open bracket. The text comes with every Python: its reference. Run it: `python models/character_rnn.py`
"""

import argparse
from importlib.util import find_spec
from pydoc_data.topics import topics

import numpy as np
from tqdm import tqdm

import tinygrad_np
from tinygrad_np import functional, nn, no_grad, optim

LENGTH, BATCH, UNITS = 32, 64, 128  # characters that a step reads one after another, texts side by side, the state
TEXT = "\n".join(topics[name] for name in sorted(topics)).encode("ascii", "ignore").decode()
ALPHABET = sorted(set(TEXT))


class CharacterRNN(nn.Module):
    """A gated recurrent unit and the scores for what comes next."""

    def __init__(self, generator):
        self.gates = nn.Linear(len(ALPHABET) + UNITS, 2 * UNITS, generator=generator)
        self.candidate = nn.Linear(len(ALPHABET) + UNITS, UNITS, generator=generator)
        self.scores = nn.Linear(UNITS, len(ALPHABET), generator=generator)

    def forward(self, codes, state):
        """Scores for what follows each of `codes` (T, N), shape (T, N, alphabet), and the last state, (N, UNITS)."""
        states = []
        for character in functional.one_hot(codes, len(ALPHABET)):
            gates = functional.sigmoid(self.gates(np.concatenate([character, state], axis=1)))
            reset, update = np.split(gates, 2, axis=1)
            candidate = np.tanh(self.candidate(np.concatenate([character, reset * state], axis=1)))
            state = update * state + (1 - update) * candidate
            states.append(state)
        return self.scores(np.stack(states)), state


def surprise(model, codes, state):
    """How many bits it takes to tell each character from those before; and the last state."""
    scores, state = model(codes[:-1], state)
    return functional.cross_entropy(scores.reshape(-1, len(ALPHABET)), codes[1:].ravel()) / np.log(2), state


@no_grad()
def write(model, text, length, generator):
    """Go on from a text: draw each character from those that the model holds likely, and read it in turn."""
    state, unread = np.zeros((1, UNITS), np.float32), text
    for _ in range(length):
        scores, state = model(np.array([[ALPHABET.index(character)] for character in unread]), state)
        likely = functional.softmax(scores.numpy()[-1, 0].astype(float) / 0.7)  # below 1: fewer oddities
        unread = generator.choice(ALPHABET, p=likely)
        text += unread
    return text


def main(steps=1200, out="character_rnn.png"):
    """Read Python's reference, measure the surprise at its last twentieth, which was not read, and write."""
    generator = np.random.default_rng(0)
    codes = np.array([ALPHABET.index(character) for character in TEXT])
    end = len(codes) * 19 // 20
    read, unread = (part[: len(part) // BATCH * BATCH].reshape(BATCH, -1).T for part in (codes[:end], codes[end:]))
    model, losses, state = CharacterRNN(generator), [], np.zeros((BATCH, UNITS), np.float32)
    optimizer, schedule = optim.Adam(model.parameters()), optim.schedules.cosine(5e-3, steps)
    compiled = tinygrad_np.compile(lambda codes, state: surprise(model, codes, state))
    for step in tqdm(range(steps), "reading", mininterval=1):
        start = step * LENGTH % (len(read) - LENGTH)
        loss, state = compiled(read[start : start + LENGTH + 1], state)
        state = state.numpy()  # the next step goes on from here, but its gradient does not come back
        loss.backward()
        optim.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.lr = schedule(step)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())

    with no_grad():
        bits = surprise(model, unread, 0 * state)[0].item()
    alone = -np.log2(np.bincount(codes) / len(codes))[codes].mean()
    print(f"surprise at text that was not read: {bits:.2f} bits a character; by frequency alone {alone:.2f}")
    print(f"\n{write(model, 'The ', 400, generator)}\n")
    if find_spec("matplotlib"):
        from matplotlib.figure import Figure

        axes = Figure().subplots()
        axes.plot(losses)
        axes.set(title="Surprise at the text being read", xlabel="step", ylabel="bits a character")
        axes.figure.savefig(out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1200, help="how many steps to learn (%(default)s)")
    parser.add_argument("--out", default="character_rnn.png", help="the picture (%(default)s)")
    main(**vars(parser.parse_args()))
