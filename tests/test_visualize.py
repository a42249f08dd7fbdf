"""Drawings of the graph."""

import re

import numpy as np
import pytest

from tinygrad_np import Tensor, nn, visualize
from tinygrad_np.errors import GraphError


def test_a_drawing_names_calls_and_parameters_with_their_shapes():
    model = nn.Sequential(nn.Linear(3, 2), nn.ReLU())
    source = visualize.draw(model(np.zeros((4, 3), np.float32)).sum(), model).source
    for label in ("0.weight: (2, 3) float32", "0.bias: (2,) float32", "linear_relu: (4, 2) float32", "sum: ()"):
        assert label in source


def test_every_use_of_a_tensor_is_an_edge_and_it_itself_one_node():
    x = Tensor(2.0, requires_grad=True, name="x")
    source = visualize.draw(x * x).source
    assert source.count('label="x') == 1
    assert len(re.findall("->", source)) == 2


def test_a_drawing_can_be_made_after_backward_too_and_changes_no_gradient():
    x = Tensor(3.0, requires_grad=True)
    y = np.exp(x) * x
    visualize.draw(y)
    y.backward()
    assert x.grad == np.exp(3.0) * 4.0
    assert "exp" in visualize.draw(y).source


def test_a_tensor_without_history_cannot_be_drawn():
    with pytest.raises(GraphError):
        visualize.draw(Tensor(1.0))
