"""The CUDA kernels for training, emulated on any machine with g++, agree with PyTorch's layers and with `render`."""

import copy
import shutil
import subprocess
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from magray.cuda import compiler_options
from magray.network.branches import ScaleAwareCnn
from magray.network.execution import ExecutionConfig
from magray.network.kernels.blocks import Block
from magray.network.kernels.kernels import Compile, Kernels, macros, source
from magray.network.kernels.pictures import Pictures
from magray.network.kernels.turned import TurnedViews
from magray.network.kernels.update import Update
from magray.training.any_film.views import random_geometry, turned_views
from magray.training.config import TrainConfig
from magray.training.crops import Crops, FilmBatch
from magray.training.optimizer import BETA2, EPS, adamw, hyperparameter_table
from magray.training.rendering import render
from magray.training.trainer import Trainer
from tests.support.emulation import emulator
from tests.support.stripes import stripes

NVCC = shutil.which("nvcc")
BLOCKS = {  # channels in and out, side
    "first": (1, 16, 64),
    "second": (16, 32, 8),
    "wide": (64, 128, 4),
    "first of half the width": (1, 8, 128),
    "first of twice the width": (1, 32, 64),
    "last of twice the width": (256, 256, 4),
}


@pytest.fixture(scope="module")
def emulated(tmp_path_factory: pytest.TempPathFactory) -> Compile:
    if emulator.COMPILER is None:
        pytest.skip("no g++ on this machine")
    folder = tmp_path_factory.mktemp("kernels")

    def make(sources: tuple[str, ...], definitions: dict[str, int]) -> Kernels:
        return Kernels(emulator.Kernels(source(sources), compiler_options(macros(definitions)), folder), nullcontext)

    return make


class BlockCase:
    """A block's layers, with different parameters for every channel, its inputs, and the gradient of its outputs."""

    def __init__(self, name: str, pictures: int, dtype: torch.dtype = torch.float32) -> None:
        torch.manual_seed(0)
        channels, filters, side = BLOCKS[name]
        self.convolution, self.norm = nn.Conv2d(channels, filters, 3, padding=1), nn.BatchNorm2d(filters)
        self.layers = nn.Sequential(self.convolution, nn.ReLU(), self.norm, nn.MaxPool2d(2))
        self.layers.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        nn.init.normal_(self.norm.weight)
        nn.init.normal_(self.norm.bias)
        self.views = (torch.rand(pictures, channels, side, side) * 2 - 1).to(dtype).requires_grad_(channels > 1)
        self.from_above = torch.randn(pictures, filters, side // 2, side // 2).to(dtype)
        self.side = side

    def block(self, compile: Compile) -> Block:  # noqa: A002
        return Block(self.convolution, self.norm, self.side, compile, self.views.dtype == torch.bfloat16)

    def found(self, block: Block) -> dict[str, torch.Tensor]:
        """Return outputs, gradients and buffers of a block after a training step."""
        before = {name: value.clone() for name, value in self.layers.state_dict().items()}
        results = _results(block, self.layers, self.views, self.from_above)
        self.layers.load_state_dict(before)
        return results

    def expected(self) -> dict[str, torch.Tensor]:
        """Return the same from PyTorch's layers in float64: its float32 batch norm is less exact than the kernels."""
        layers = copy.deepcopy(self.layers).double()
        views = self.views.detach().double().requires_grad_(self.views.requires_grad)
        return _results(layers, layers, views, self.from_above.double())


def _results(way: Any, layers: nn.Module, views: torch.Tensor, from_above: torch.Tensor) -> dict[str, torch.Tensor]:
    layers.zero_grad()
    views.grad = None
    out = way(views)
    out.backward(from_above)
    gradients = {f"{name}.grad": parameter.grad for name, parameter in layers.named_parameters()}
    kept = {"out": out, "views.grad": views.grad, **gradients, **dict(layers.named_buffers())}
    return {name: value.detach().float().clone() for name, value in kept.items() if value is not None}


def _assert_alike(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    """Assert equality to the precision of sums of thousands of numbers of size 1 in float32."""
    assert found.keys() == expected.keys()
    for what, value in expected.items():
        torch.testing.assert_close(found[what], value, atol=1e-4, rtol=1e-5, msg=f"{what}: {{}}".format)


@pytest.mark.parametrize(
    ("name", "pictures"),
    [
        ("first", 1),
        ("first", 3),
        ("second", 2),
        ("second", 37),
        ("wide", 5),
        ("first of half the width", 1),
        ("first of twice the width", 1),
        ("last of twice the width", 2),
    ],
)
def test_a_block_agrees_with_pytorchs_layers_forward_and_backward(emulated: Compile, name: str, pictures: int) -> None:
    """Outputs, gradients and running averages agree."""
    case = BlockCase(name, pictures)
    _assert_alike(case.found(case.block(emulated)), case.expected())


def test_channels_with_zero_weight_or_without_positive_outputs_agree_with_pytorchs(emulated: Compile) -> None:
    """If all four values of a pool are equal, the first of them counts as the largest."""
    case = BlockCase("first", 1)
    with torch.no_grad():
        case.norm.weight[3] = 0
        case.convolution.bias[5] = -100  # type: ignore[index]
    _assert_alike(case.found(case.block(emulated)), case.expected())


@pytest.mark.parametrize("name", ["first", "second"])
def test_a_block_in_evaluation_uses_its_running_averages_and_does_not_change_them(emulated: Compile, name: str) -> None:
    case = BlockCase(name, 3)
    nn.init.normal_(case.norm.running_mean)  # type: ignore[arg-type]
    nn.init.uniform_(case.norm.running_var, 0.1, 2.0)  # type: ignore[arg-type]
    case.layers.eval()
    before = copy.deepcopy(case.layers).double()
    with torch.inference_mode():
        found, expected = case.block(emulated)(case.views.detach()), before(case.views.detach().double())
    torch.testing.assert_close(found, expected.float(), atol=1e-5, rtol=1e-5)
    averages = zip(case.norm.buffers(), before[2].buffers(), strict=True)
    assert all(torch.equal(one, other.to(one)) for one, other in averages)


@pytest.mark.parametrize("name", ["first", "second"])
def test_in_bfloat16_only_what_is_stored_is_rounded(emulated: Compile, name: str) -> None:
    """The error against exact layers on the same rounded inputs is 2^-9 of each output and of the gradients' norm.

    The second block's convolution is PyTorch's own, also in bfloat16: rounding changes which output of a few pools is
    the largest, and with it the place of the gradient.
    """
    case = BlockCase(name, 3, torch.bfloat16)
    found, expected = case.found(case.block(emulated)), case.expected()
    largest = 0.005 if name == "first" else 0.1
    for what in (what for what in expected if what != "2.num_batches_tracked"):
        error = (found[what] - expected[what]).norm() / expected[what].norm()
        assert error < largest, f"{what}: off by {error:.2g}"


def test_the_same_batch_gives_the_same_bits(emulated: Compile) -> None:
    case = BlockCase("first", 3)
    block = case.block(emulated)
    first, second = case.found(block), case.found(block)
    assert all(torch.equal(first[what], second[what]) for what in first)


def test_weights_that_are_not_finite_reach_the_outputs(emulated: Compile) -> None:
    """A fit that has diverged must show it in its loss, instead of going on with a channel less."""
    for dtype in (torch.float32, torch.bfloat16):
        case = BlockCase("first", 1, dtype)
        with torch.no_grad():
            case.convolution.weight[2, 0, 1, 1] = torch.nan
        assert case.block(emulated)(case.views)[:, 2].isnan().all()


def test_a_step_by_kernels_does_what_layers_do(emulated: Compile, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures, six blocks forward and backward, and the update, against layers in float64 and `adamw`."""
    monkeypatch.setattr("magray.training.step.compile_for", lambda _: emulated)
    films = striped_films((2, 5))
    config = TrainConfig(epochs=1, learning_rate=1e-3, views_per_epoch=2, batch=2, network="scale-aware")
    training = Trainer(films, config, execution=ExecutionConfig(False, kernels=True))
    crops, values = training.batches(0)[0], training.step.parameters.values.clone()
    network = training.network
    assert isinstance(network, ScaleAwareCnn)
    layers = copy.deepcopy(network)
    layers.blocks.double()
    features = layers.blocks(render(films.images, crops)[:, None].double())
    expected = nn.functional.mse_loss(layers.head(features, crops[:, 0] * films.pixel_um), films.targets[crops[:, 1]])
    expected.backward()  # type: ignore[no-untyped-call]
    assert float(training.step(crops, training.hyperparameters[0])) == pytest.approx(float(expected.detach()), rel=1e-5)
    gradients = zip(network.parameters(), layers.parameters(), strict=True)
    errors, sizes = zip(*(_error_and_size(one.grad, other.grad) for one, other in gradients), strict=True)
    assert sum(errors) < 1e-4**2 * sum(sizes)
    gradient = training.step.parameters.gradient
    adamw(values, gradient, torch.zeros_like(values), torch.zeros_like(values), training.hyperparameters[0])
    torch.testing.assert_close(training.step.parameters.values, values, atol=1e-7, rtol=1e-6)
    for found, wanted in zip(network.buffers(), layers.buffers(), strict=True):
        torch.testing.assert_close(found, wanted.to(found), atol=1e-5, rtol=1e-5)


def _error_and_size(found: torch.Tensor | None, expected: torch.Tensor | None) -> tuple[float, float]:
    """Return the squared norms of a gradient's error and of the gradient."""
    assert found is not None
    assert expected is not None
    return float((found - expected).square().sum()), float(expected.square().sum())


def test_recalibrated_batch_norm_has_the_means_over_batches(emulated: Compile, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are those of PyTorch's layers in float64, whatever the running averages were before."""
    monkeypatch.setattr("magray.training.step.compile_for", lambda _: emulated)
    config = TrainConfig(epochs=2, learning_rate=1e-3, views_per_epoch=3, batch=1)
    training = Trainer(striped_films((2, 5, 3)), config, execution=ExecutionConfig(False, kernels=True))
    layers = copy.deepcopy(training.network).double()
    for norm in _norms(layers):
        norm.momentum = None
    for crops in training.epoch_batches(0):
        layers(training.step.pictures(crops)[:, None].double())
    training.step.estimates(next(training.epoch_batches(0)))
    training.recalibrate_batch_norm()
    for found, expected in zip(training.network.buffers(), layers.buffers(), strict=True):
        torch.testing.assert_close(found, expected.to(found), atol=1e-5, rtol=1e-5)
    assert {norm.momentum for norm in _norms(training.network)} == {nn.BatchNorm2d(1).momentum}


def _norms(network: nn.Module) -> list[nn.BatchNorm2d]:
    return [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]


def striped_films(periods: tuple[int, ...]) -> FilmBatch:
    mz = np.stack([stripes(count, 0.4, seed=count, side=128) for count in periods])
    images = torch.from_numpy(np.rint((mz + 1) * 127.5).astype(np.uint8))
    return FilmBatch(images, torch.linspace(-1, 1, len(images))[:, None], (64, 128), pixel_um=4 / 1024)


@pytest.mark.parametrize("sides", [(64, 128), (192, 256), (77, 205, 300)])
def test_pictures_agree_with_render(emulated: Compile, sides: tuple[int, ...]) -> None:
    """At ratios of cells to pixels below 1, whole, 3 : 2 and arbitrary, in all orientations, across the edges.

    The kernel sums whole numbers, so that the error is the rounding of `render`; in bfloat16 half of 2^-8.
    """
    random, count = np.random.default_rng(0), 32
    images = torch.from_numpy(random.integers(0, 256, (3, 320, 300), np.uint8))
    film, row, col = random.integers(0, (3, 320, 300), (count, 3)).T
    crops = torch.from_numpy(Crops(np.resize(sides, count), film, row, col, np.arange(count) % 16).table)
    expected = render(images, crops)
    torch.testing.assert_close(Pictures(emulated, bfloat16=False)(images, crops), expected, atol=1e-6, rtol=0)
    lower = Pictures(emulated, bfloat16=True)(images, crops)
    torch.testing.assert_close(lower.float(), expected, atol=2**-9 + 1e-6, rtol=0)


@pytest.mark.parametrize(("pixel", "reach"), [(1.0, 2), (1.7, 3), (4.0, 6)])
def test_turned_views_are_those_of_pytorchs_operations(emulated: Compile, pixel: float, reach: int) -> None:
    """At any angle, across the edges of films that are not square; positions round to the same cells but for ties."""
    torch.manual_seed(0)
    images = torch.randint(0, 256, (3, 96, 80), dtype=torch.uint8)
    index, rows = torch.tensor([2, 0, 1]), random_geometry(torch.full((3,), pixel), 90)
    found, expected = TurnedViews(emulated, reach)(images, index, rows), turned_views(images, index, rows, reach)
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=0)
    assert float((found - expected).abs().mean()) < 1e-5


def test_the_update_agrees_with_adamw(emulated: Compile) -> None:
    """The length is not a multiple of a block of threads; the error is that of rounding."""
    torch.manual_seed(0)
    values, mean, square = torch.randn(1000), torch.randn(1000), torch.rand(1000)
    twins = values.clone(), mean.clone(), square.clone()
    update = Update(emulated, BETA2, EPS)
    for numbers in hyperparameter_table("constant", 0.01, 0.05, 3):
        gradient = torch.randn(1000)
        adamw(values, gradient, mean, square, numbers)
        update(twins[0], gradient, twins[1], twins[2], numbers)
    for found, expected in zip(twins, (values, mean, square), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)


def test_a_tensor_with_gaps_is_refused(emulated: Compile) -> None:
    """From its pointer alone the kernel would read other numbers, without an error."""
    films = torch.zeros(2, 320, 300, dtype=torch.uint8)
    with pytest.raises(ValueError, match="kernels need contiguous tensors"):
        Pictures(emulated, bfloat16=False)(films[:, ::2], torch.tensor([[64, 0, 0, 0, 0]]))


@pytest.mark.skipif(NVCC is None, reason="no nvcc on this machine")
@pytest.mark.parametrize(("architecture", "bfloat16"), [("sm_80", False), ("sm_90", True)])
def test_the_kernels_compile_without_spilling_registers(architecture: str, bfloat16: bool, tmp_path: Path) -> None:
    """Spilled registers would add memory traffic."""
    spills: list[str] = []

    def make(sources: tuple[str, ...], definitions: dict[str, int]) -> Any:
        file = tmp_path / "kernels.cu"
        file.write_text(source(sources))
        command = [
            str(NVCC),
            f"-arch={architecture}",
            *compiler_options(macros(definitions)),
            "-Xptxas",
            "-v",
            "-cubin",
        ]
        command += ["-o", str(tmp_path / "kernels.cubin"), str(file)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        spills.extend(line for line in done.stderr.splitlines() if "spill" in line)

    for name in BLOCKS:
        BlockCase(name, 1, torch.bfloat16 if bfloat16 else torch.float32).block(make)
    Pictures(make, bfloat16)
    TurnedViews(make, 6)
    Update(make, BETA2, EPS)
    assert spills
    assert all("0 bytes spill stores, 0 bytes spill loads" in line for line in spills)
