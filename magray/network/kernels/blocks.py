"""The blocks of a network by CUDA kernels, which compute the same as its layers with fewer passes over memory.

In the first block (128², 1 → 16 channels) the outputs of the convolution are never stored: they are 16 times as large
as a view, and recomputing them costs 9 multiplications each. For one view, in bfloat16:

    pass            reads           writes     multiply-adds, and other operations
    statistics      view            sums       2.4 M + 0.8 M
    pool            view            out        2.4 M + 0.6 M
    gradient sums   view, g         sums       2.4 M + 0.6 M
    gradients       view, g         sums       4.9 M + 1.6 M

A view takes 33 kB, out and its gradient g 131 kB each. The sum is 0.52 MB and 16 million operations; layers that store
their outputs move about 10 MB. At 4.2 TB/s and 33 T operations/s that is 0.06 and 0.24 ms for 512 views.

In the other blocks cuDNN computes the convolutions, without their biases. Our kernels read the outputs twice in each
direction, and move 2 1/4 (forward) and 3 1/2 (backward) times their size; separate layers move about 20 times.
"""

from typing import Any

import torch
from torch import nn

from magray.imaging import VIEW_SIZE
from magray.network.kernels.kernels import THREADS, Compile

LAYERS = 4  # of a block: convolution, ReLU, batch norm, pool
TILE_ROWS = 16  # rows of pooled pixels that a thread processes in the first block
MAX_ROWS = 8  # the largest number in the others; fewer on small pictures, to occupy the whole GPU
LAST = torch.channels_last


class Block:
    """A block by kernels: convolution, ReLU, batch norm and 2 × 2 pool.

    Parameters, buffers and mode remain those of the layers. side: of the inputs, pixels. bfloat16: type of inputs and
    outputs; float32 otherwise.
    """

    def __init__(
        self,
        convolution: nn.Conv2d,
        norm: nn.BatchNorm2d,
        side: int,
        compile: Compile,  # noqa: A002
        bfloat16: bool,
    ) -> None:
        self.convolution, self.norm, self.side = convolution, norm, side
        self.sees_views = convolution.in_channels == 1
        self.channels = convolution.out_channels
        self.columns = THREADS // (self.channels // 2)
        self.rows = TILE_ROWS if self.sees_views else min(MAX_ROWS, side // 4)
        names = ("block.cu", "views.cu" if self.sees_views else "stored.cu", "passes.cu")
        sizes = {"CHANNELS": self.channels, "SIDE": side, "COLUMNS": self.columns, "ROWS": self.rows}
        self.kernels = compile(names, {**sizes, "BFLOAT16": int(bfloat16)})

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return outputs (n, channels, side/2, side/2) for views (n, 1, side, side) or outputs of the block before.

        In evaluation mode they have no gradients.
        """
        weight, bias, norm = self.convolution.weight, self.convolution.bias, self.norm
        assert bias is not None
        if self.sees_views:
            parameters = torch.cat([weight.flatten(1), bias[:, None]], 1)
        else:
            x, parameters = nn.functional.conv2d(x, weight.to(x.dtype), padding=1), bias
        if not norm.training:
            x = x.contiguous(memory_format=LAST)
            return self.pooled(x, parameters, norm.weight, norm.bias, self._running_moments())
        out: torch.Tensor = _Pooled.apply(x, parameters, norm.weight, norm.bias, self)  # type: ignore[no-untyped-call]
        return out

    def pooled(self, x: torch.Tensor, *numbers: torch.Tensor) -> torch.Tensor:
        """Return the outputs for `x`, a view or the output of a convolution without bias.

        numbers: the parameters of the convolution, batch norm's weight and bias, and the moments (2, channels) of its
        inputs: means and 1 / standard deviations.
        """
        parameters, gain, offset, moments = numbers
        n, size = len(x), (len(x), self.channels, self.side // 2, self.side // 2)
        out = torch.empty(size, dtype=x.dtype, device=x.device, memory_format=LAST)
        self.kernels("pool", (self.blocks_of_threads(n),), x, parameters, n, gain, offset, moments, out)
        return out

    def _running_moments(self) -> torch.Tensor:
        mean, variance = self.norm.running_mean, self.norm.running_var
        assert mean is not None
        assert variance is not None
        return torch.stack([mean, (variance + self.norm.eps).rsqrt()])

    def blocks_of_threads(self, pictures: int) -> int:
        """Return the number of thread blocks in each pass over a number of pictures."""
        pixels, each = pictures * (self.side // 2) ** 2, self.columns * self.rows
        return -(-pixels // each)


class Blocks:
    """All blocks of a network by kernels. layers: convolution, ReLU, batch norm, pool for each block; others follow."""

    def __init__(self, layers: nn.Sequential, compile: Compile, bfloat16: bool) -> None:  # noqa: A002
        self.blocks = []
        for number in range(len(layers) // LAYERS):
            convolution, norm = layers[LAYERS * number], layers[LAYERS * number + 2]
            assert isinstance(convolution, nn.Conv2d)
            assert isinstance(norm, nn.BatchNorm2d)
            self.blocks.append(Block(convolution, norm, VIEW_SIZE >> number, compile, bfloat16))

    def __call__(self, pictures: torch.Tensor) -> torch.Tensor:
        """Return float32 features (n, …) of pictures (n, 128, 128)."""
        x = pictures[:, None]
        for block in self.blocks:
            x = block(x)
        return x.flatten(1).float()


class _Pooled(torch.autograd.Function):
    """The differentiable part of a block: all of it for the first block, the part after the convolution for others."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, parameters: torch.Tensor, gain: torch.Tensor, offset: torch.Tensor, block: Block
    ) -> torch.Tensor:
        x, norm = x.contiguous(memory_format=LAST), block.norm
        n, channels, blocks = len(x), block.channels, block.blocks_of_threads(len(x))
        partial, moments = gain.new_empty(channels, 2, blocks), gain.new_empty(2, channels)
        block.kernels("statistics", (blocks,), x, parameters, n, partial)
        running = (norm.running_mean, norm.running_var, norm.num_batches_tracked)
        numbers = (n, norm.eps, norm.momentum)
        block.kernels("finish_statistics", (channels,), partial, blocks, *numbers, moments, *running)  # type: ignore[arg-type]
        out = block.pooled(x, parameters, gain, offset, moments)
        ctx.save_for_backward(x, parameters, gain, moments)
        ctx.block = block
        return out

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, parameters, gain, moments = ctx.saved_tensors
        block: Block = ctx.block
        g = g.to(x.dtype).contiguous(memory_format=LAST)
        n, channels, blocks = len(x), block.channels, block.blocks_of_threads(len(x))
        partial, slopes = gain.new_empty(channels, 2, blocks), torch.empty_like(moments)
        gain_gradient, offset_gradient = torch.empty_like(gain), torch.empty_like(gain)
        block.kernels("gradient_sums", (blocks,), x, parameters, n, gain, g, partial)
        results = (gain_gradient, offset_gradient, slopes)
        block.kernels("finish_gradient_sums", (channels,), partial, blocks, n, gain, moments, *results)
        partial, gradients = gain.new_empty(*parameters.shape, blocks), torch.empty_like(parameters)
        to_inputs = () if block.sees_views else (torch.empty_like(x),)
        block.kernels("gradients", (blocks,), x, parameters, n, gain, moments, slopes, g, partial, *to_inputs)
        block.kernels("finish_gradients", (parameters.numel(),), partial, blocks, gradients)
        return (*(to_inputs or (None,)), gradients, gain_gradient, offset_gradient, None)
