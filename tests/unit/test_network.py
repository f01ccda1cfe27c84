"""The network is the paper's."""

import torch
from torch import nn

from magray.learning.network import forward, paper_cnn


def test_the_blocks_are_those_of_the_paper_and_in_its_order() -> None:
    network = paper_cnn(1)
    block = [nn.Conv2d, nn.ReLU, nn.BatchNorm2d, nn.MaxPool2d]
    assert [type(layer) for layer in network] == [*block * 6, nn.Flatten, nn.Linear]
    convolutions = [layer for layer in network if isinstance(layer, nn.Conv2d)]
    assert [layer.out_channels for layer in convolutions] == [16, 32, 64, 64, 128, 128]
    assert {layer.kernel_size for layer in convolutions} == {(3, 3)}


def test_a_view_becomes_one_number_for_each_target() -> None:
    for outputs in (1, 2):
        estimates = forward(paper_cnn(outputs), torch.zeros(3, 128, 128))
        assert (estimates.shape, estimates.dtype) == ((3, outputs), torch.float32)


def test_lower_precision_changes_estimates_less_than_any_error_bar() -> None:
    """Bfloat16, where the processor has it, against float32: in standard deviations of the target."""
    torch.manual_seed(0)
    network, views = paper_cnn(1).eval(), torch.rand(8, 128, 128)
    with torch.inference_mode():
        torch.testing.assert_close(forward(network, views), network(views[:, None]), atol=0.02, rtol=0)
