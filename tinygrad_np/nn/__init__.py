"""Networks: modules that hold parameters, layers, losses, and initialisers. Names and defaults are PyTorch's."""

__docformat__ = "google"

from tinygrad_np.nn import init
from tinygrad_np.nn.containers import ModuleDict, ModuleList, Sequential
from tinygrad_np.nn.layers import (
    GELU,
    BatchNorm1d,
    Dropout,
    Flatten,
    Identity,
    LayerNorm,
    LeakyReLU,
    Linear,
    LogSoftmax,
    ReLU,
    Sigmoid,
    Softmax,
    Softplus,
    Tanh,
)
from tinygrad_np.nn.losses import CrossEntropyLoss, MSELoss, NLLLoss
from tinygrad_np.nn.module import Module, Parameter

__all__ = [
    "GELU",
    "BatchNorm1d",
    "CrossEntropyLoss",
    "Dropout",
    "Flatten",
    "Identity",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "LogSoftmax",
    "MSELoss",
    "Module",
    "ModuleDict",
    "ModuleList",
    "NLLLoss",
    "Parameter",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Tanh",
    "init",
]
