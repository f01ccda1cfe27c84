"""The network is the paper's; the scale-aware one differs in its dependence on the scale only."""

import torch
from torch import nn

from magray.config import WIDTHS
from magray.network.branches import NETWORKS, ScaleAwareCnn, forward, paper_cnn


def test_the_blocks_are_those_of_the_paper_and_in_its_order() -> None:
    network = paper_cnn(1)
    block = [nn.Conv2d, nn.ReLU, nn.BatchNorm2d, nn.MaxPool2d]
    assert [type(layer) for layer in network] == [*block * 6, nn.Flatten, nn.Linear]
    convolutions = [layer for layer in network if isinstance(layer, nn.Conv2d)]
    assert [layer.out_channels for layer in convolutions] == [16, 32, 64, 64, 128, 128]
    assert {layer.kernel_size for layer in convolutions} == {(3, 3)}


def test_a_network_may_be_wider_or_narrower() -> None:
    for name, network in NETWORKS.items():
        for width in WIDTHS:
            blocks = [layer for layer in network(1, width).modules() if isinstance(layer, nn.Conv2d)]
            assert [layer.out_channels for layer in blocks] == [width * n for n in (16, 32, 64, 64, 128, 128)], name
            assert forward(network(2, width), torch.zeros(3, 128, 128), torch.ones(3), False).shape == (3, 2)


def test_a_view_becomes_one_number_for_each_target() -> None:
    for name, network in NETWORKS.items():
        for outputs in (1, 2):
            estimates = forward(network(outputs, 1.0), torch.zeros(3, 128, 128), torch.ones(3), bfloat16=False)
            assert (estimates.shape, estimates.dtype) == ((3, outputs), torch.float32), name


def test_lower_precision_changes_estimates_less_than_any_error_bar() -> None:
    """Bfloat16 and float32 agree to 0.02 standard deviations of the target."""
    torch.manual_seed(0)
    network, views = paper_cnn(1).eval(), torch.rand(8, 128, 128)
    with torch.inference_mode():
        exact, lower = (forward(network, views, torch.ones(8), bfloat16) for bfloat16 in (False, True))
        torch.testing.assert_close(lower, exact, atol=0.02, rtol=0)


def test_a_scale_aware_network_begins_as_the_papers_and_may_then_follow_the_scale() -> None:
    torch.manual_seed(0)
    network, views, scales = ScaleAwareCnn(1).eval(), torch.rand(2, 1, 128, 128), torch.tensor([0.5, 2.0])
    papers = nn.Sequential(network.blocks, network.estimates)
    torch.testing.assert_close(network(views, scales), papers(views))
    nn.init.normal_(list(network.scale.parameters())[-2])
    assert (network(views, scales) - network(views, scales.flip(0))).abs().min() > 0.01
