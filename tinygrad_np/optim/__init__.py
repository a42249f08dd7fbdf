"""Optimizers, learning-rate schedules, gradient clipping and averages of weights: from gradients to new parameters.

Nothing here knows how a gradient was made: a parameter is an array with a `.grad`. A training step reads:

    loss.backward()
    optim.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.lr = schedule(step)
    optimizer.step()
    optimizer.zero_grad()
"""

__docformat__ = "google"

from tinygrad_np.optim import schedules
from tinygrad_np.optim.averaging import ema_update_
from tinygrad_np.optim.clip import clip_grad_norm_
from tinygrad_np.optim.distributed import Distributed
from tinygrad_np.optim.optimizers import SGD, Adam, AdamW, Optimizer, RMSprop

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "Distributed",
    "Optimizer",
    "RMSprop",
    "clip_grad_norm_",
    "ema_update_",
    "schedules",
]
