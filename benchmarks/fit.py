"""Speed of a fit on this machine, part by part, each checked against the plain float32 way first.

    python -m benchmarks.fit                       # everything, at batches of 128, 512 and 1,024: 100 s on one H200
    python -m benchmarks.fit --batches 512 --parts block steps
    python -m benchmarks.fit --parts stream        # streamed films against films that are all on the device

Needs torch, numpy, Pillow, tifffile, and CuPy on a GPU; "stream" all of magray. Times by CUDA events after warm-ups,
medians of rounds. On a CPU, steps and epochs of few pictures, to see that they run.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from magray.imaging import VIEW_SIZE
from magray.network.branches import FILTERS, forward, paper_cnn, split_backbone
from magray.network.execution import Estimate, ExecutionConfig, estimate_of
from magray.network.kernels.blocks import LAYERS, Block, Blocks
from magray.network.kernels.kernels import compile_for
from magray.network.kernels.pictures import Pictures
from magray.training.config import TrainConfig
from magray.training.crops import FilmBatch, epoch_crops
from magray.training.optimizer import hyperparameter_table
from magray.training.rendering import max_cells, render
from magray.training.step import Step
from magray.training.trainer import Trainer

if TYPE_CHECKING:
    from magray.films import Film
    from magray.micromagnetics import RelaxedFilm
    from magray.store import Store

SIDES = (128, 256, 384, 512)
CELLS = 512
MS_MEAN, MS_SPREAD = 1e6, 1e5  # A/m
STREAM_VIEWS = 88 if torch.cuda.is_available() else 4  # of a film in an epoch; the paper's has 88
CONFIG = TrainConfig(epochs=2, learning_rate=1e-3, views_per_epoch=4096)
GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda", 0) if GPU else torch.device("cpu")


def microseconds(run: Callable[[], object], repeat: int = 20, rounds: int = 7) -> float:
    """Median time of `run`, which is called `repeat` times in each round."""
    if not GPU:
        repeat, rounds = 1, 2
    run()
    times = []
    for _ in range(rounds):
        begin = _mark()
        for _ in range(repeat):
            run()
        times.append(_since(begin) / repeat)
    return statistics.median(times)


def _mark() -> "torch.cuda.Event | float":
    if not GPU:
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    event.record()
    return event


def _since(begin: "torch.cuda.Event | float") -> float:
    """µs."""
    if isinstance(begin, float):
        return (time.perf_counter() - begin) * 1e6
    end = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    end.record()
    end.synchronize()
    return float(begin.elapsed_time(end)) * 1e3


def row(name: str, batch: int, time_us: float, note: str = "") -> None:
    """One line: µs a batch, and pictures a second."""
    print(f"{name:<58} {batch:>5} {time_us:>9.0f} µs {batch / time_us * 1e6:>10,.0f} /s  {note}", flush=True)


def films(count: int) -> FilmBatch:
    """Return labyrinths of known width, which is the target: the sign of noise of one wavelength band."""
    random = torch.Generator(DEVICE).manual_seed(0)
    k = torch.fft.fftfreq(CELLS, device=DEVICE) * CELLS
    radius = (k[:, None] ** 2 + k[None, : CELLS // 2 + 1] ** 2).sqrt()
    periods = torch.rand(count, generator=random, device=DEVICE) * 16 + 4
    images = torch.empty(count, CELLS, CELLS, dtype=torch.uint8, device=DEVICE)
    for i in range(count):
        noise = torch.fft.rfft2(torch.randn(CELLS, CELLS, generator=random, device=DEVICE))
        band = torch.exp(-(((radius - periods[i]) / (0.2 * periods[i])) ** 2))
        field = torch.fft.irfft2(noise * band, s=(CELLS, CELLS))
        images[i] = ((field / field.std() * 4).tanh() + 1) * 127.5
    targets = ((periods - periods.mean()) / periods.std())[:, None]
    return FilmBatch(images, targets, SIDES, 4 / 1024)


def some_crops(resident: FilmBatch, batch: int, epoch: int = 0) -> torch.Tensor:
    """Return `batch` random crops on the device."""
    train_config = replace(CONFIG, views_per_epoch=-(-batch // len(SIDES)))
    return torch.from_numpy(epoch_crops(resident, train_config, epoch).table[:batch]).to(DEVICE)


def pictures(resident: FilmBatch, batches: list[int]) -> None:
    """Measure the views of random crops at four scales, from resident films: our kernel, and `render`."""
    for bfloat16 in (False, True):
        way = Pictures(compile_for(DEVICE), bfloat16)
        crops = some_crops(resident, 64)
        error = float((way(resident.images, crops).float() - render(resident.images, crops)).abs().max())
        assert error < (2**-9 + 1e-6 if bfloat16 else 1e-6), f"pictures are wrong by {error:g}"
        for batch in batches:
            crops = some_crops(resident, batch)
            name = "bfloat16" if bfloat16 else "float32"
            row(f"pictures, kernel, {name}", batch, microseconds(recorded(partial(way, resident.images, crops))))
    crops = some_crops(resident, batches[0])
    row("pictures, render", batches[0], microseconds(partial(render, resident.images, crops), 2, 3))


def recorded(run: Callable[[], object]) -> Callable[[], None]:
    """The same as a CUDA graph, without the processor's part in its time."""
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay


def block(batch: int) -> None:
    """Each block by kernels against its layers: gradients first, then the time there and back, then each kernel's."""
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    torch.manual_seed(0)
    layers, channels = split_backbone(paper_cnn(1).to(DEVICE).train())[0], (1, *FILTERS)
    for number in range(len(FILTERS)):
        part = nn.Sequential(*list(layers)[LAYERS * number : LAYERS * (number + 1)])
        side = VIEW_SIZE >> number
        convolution, norm = part[0], part[2]
        assert isinstance(convolution, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        kernels = Block(convolution, norm, side, compile_for(DEVICE), bfloat16=True)
        x = (torch.rand(batch, channels[number], side, side, device=DEVICE) * 2 - 1).bfloat16()
        x = x.to(memory_format=torch.channels_last).requires_grad_(number > 0)
        up = torch.randn(batch, FILTERS[number], side // 2, side // 2, device=DEVICE).bfloat16()
        up = up.to(memory_format=torch.channels_last)
        expected = _gradients(part, part, x.detach().float().requires_grad_(number > 0), up.float())
        found = _gradients(kernels, part, x, up)
        again = _gradients(kernels, part, x, up)
        errors = [float((a - b).norm() / b.norm()) for a, b in zip(found, expected, strict=True)]
        assert max(errors) < (0.01 if number == 0 else 0.2), f"block {number + 1} is wrong: {errors}"
        same = all(torch.equal(a, b) for a, b in zip(found, again, strict=True))
        note = f"off by {max(errors):.1e}, the same twice: {same}"
        name = f"block {number + 1}, {channels[number]} to {FILTERS[number]} at {side}²"
        row(f"{name}, layers", batch, microseconds(recorded(partial(_there_and_back, _lower(part), x, up)), 5, 3))
        row(f"{name}, kernels", batch, microseconds(recorded(partial(_there_and_back, kernels, x, up)), 5, 3), note)
        print_kernels(partial(_there_and_back, kernels, x, up), most=12)


def _gradients(
    way: Callable[[torch.Tensor], torch.Tensor], layers: nn.Sequential, x: torch.Tensor, up: torch.Tensor
) -> list[torch.Tensor]:
    """The outputs, and the gradients of the parameters and of inputs that have one."""
    layers.zero_grad()
    x.grad = None
    out = way(x)
    torch.autograd.backward(out, up)
    gradients = [parameter.grad for parameter in layers.parameters()] + [x.grad]
    return [out.detach().float(), *(gradient.float().clone() for gradient in gradients if gradient is not None)]


def _lower(way: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[torch.Tensor], torch.Tensor]:
    """In bfloat16, as PyTorch chooses where."""

    def run(x: torch.Tensor) -> torch.Tensor:
        with torch.autocast(DEVICE.type, torch.bfloat16, cache_enabled=False):
            return way(x)

    return run


def _there_and_back(way: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, up: torch.Tensor) -> None:
    torch.autograd.backward(way(x), up)


def network(batch: int) -> None:
    """All blocks there and back, from views that are there: layers, compiled, and by kernels, all or the first one."""
    torch.manual_seed(0)
    views = (torch.rand(batch, VIEW_SIZE, VIEW_SIZE, device=DEVICE) * 2 - 1).bfloat16()
    plain = split_backbone(paper_cnn(1).to(DEVICE).train())[0]
    rest, up = nn.Sequential(*list(plain)[LAYERS:]), torch.randn(batch, FILTERS[-1] * 4, device=DEVICE)
    kernels = Blocks(plain, compile_for(DEVICE), bfloat16=True)

    def first_then(way: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[torch.Tensor], torch.Tensor]:
        return lambda x: way(kernels.blocks[0](x[:, None]))

    def layers(x: torch.Tensor) -> torch.Tensor:
        return _lower(plain)(x[:, None])

    ways: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
        "layers": layers,
        "first block by kernels, then layers": first_then(_lower(rest)),
        "first block by kernels, the rest compiled": first_then(torch.compile(_lower(rest), dynamic=False)),
        "kernels": kernels,
    }
    for name, way in ways.items():
        start = time.perf_counter()
        run = recorded(partial(_there_and_back_as_it_is, way, views, up))
        note = f"{time.perf_counter() - start:.0f} s to start"
        row(f"all blocks, {name}", batch, microseconds(run, 5, 3), note)


def _there_and_back_as_it_is(way: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, up: torch.Tensor) -> None:
    out = way(x)
    torch.autograd.backward(out, up.to(out.dtype))


@dataclass(frozen=True)
class Variant:
    """A way to do a step. tf32: in what remains float32."""

    name: str
    execution: ExecutionConfig
    tf32: bool = True


PLAIN = Variant("float32", ExecutionConfig(bfloat16=False), tf32=False)
COMPILED = Variant("compiled, graphed, without CuPy", ExecutionConfig(bfloat16=True, compiled=True, graphed=True))
VARIANTS = (
    [
        Variant("float32, kernels, graphed", ExecutionConfig(bfloat16=False, kernels=True, graphed=True)),
        Variant("kernels, graphed", ExecutionConfig(bfloat16=True, kernels=True, graphed=True)),
    ]
    if GPU
    else [Variant("bfloat16", ExecutionConfig(bfloat16=True))]
)


def make_step(variant: Variant, resident: FilmBatch) -> Step:
    """The variant with the same untrained network for all."""
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = variant.tf32
    torch.manual_seed(0)
    return Step(paper_cnn(1).to(DEVICE).train(), resident, variant.execution, max_cells(SIDES) if GPU else None)


def steps(resident: FilmBatch, batches: list[int], with_compiled: bool) -> None:
    """Whole steps (views, forward, backward, update): first whether they are right, then how fast, and how soon.

    with_compiled: at the first batch also as it is without CuPy; compiling takes most of a minute.
    """
    numbers = hyperparameter_table("constant", 1e-3, 0.05, 64).to(DEVICE)
    for batch in batches:
        crops = [some_crops(resident, batch, epoch) for epoch in range(16)]
        plain = make_step(PLAIN, resident)
        loss = float(plain.backward(crops[0]))
        expected = plain.parameters.gradient
        for variant in [*VARIANTS, *([COMPILED] if with_compiled and batch == batches[0] else [])]:
            start = time.perf_counter()
            step = make_step(variant, resident)
            step.backward(crops[0])
            gradient = step.parameters.gradient.clone()
            losses = [float(step(crops[0], numbers[0]))]
            seconds = time.perf_counter() - start
            losses += [float(step(c, numbers[i])) for i, c in enumerate(crops[1:])]
            error = float((gradient - expected).norm() / expected.norm())
            # a pixel that rounding makes the largest of its four takes the whole gradient of the pool: hence so large
            assert error < (0.5 if variant.execution.bfloat16 else 0.1), f"{variant.name}: gradient off by {error:.2g}"
            assert abs(losses[0] / loss - 1) < 0.02, f"{variant.name}: loss {losses[0]}, not {loss}"
            note = f"gradient off by {error:.1e}; loss {losses[0]:.3f} to {losses[-1]:.3f}; {seconds:.1f} s to start"
            row(f"step, {variant.name}", batch, microseconds(partial(step, crops[0], numbers[0]), 10, 5), note)


def epochs(resident: FilmBatch, batches: list[int]) -> None:
    """Whole epochs as a fit runs them, with all that the processor does for them."""
    for batch in batches:
        training = Trainer(resident, replace(CONFIG, batch=batch, views_per_epoch=32768 if GPU else 64, epochs=3))
        training.run_epoch()
        start = time.perf_counter()
        losses = [training.run_epoch() for _ in range(2)]
        seconds = time.perf_counter() - start
        row("epochs", training.views * 2, seconds * 1e6, f"batch {batch}, loss {losses[-1]:.4f}")


def answers(resident: FilmBatch) -> None:
    """A network's estimates, by layers and as estimators make them; and of whole films, four turns of each view."""
    from magray.estimator.metadata import Target
    from magray.estimator.predictor import CHUNK, CHUNK_ON_GPU, Predictor
    from magray.imaging import scale_of

    some, batch = (512, CHUNK_ON_GPU) if GPU else (16, CHUNK)
    training = Trainer(resident, replace(CONFIG, batch=some, views_per_epoch=4 * some, epochs=1))
    training.run_epoch()
    network, shown = training.network.eval(), training.step.render(resident.images, some_crops(resident, batch))
    scales = torch.full((batch,), 1.0, device=DEVICE)
    layers: Estimate = partial(forward, network, bfloat16=GPU)
    with torch.inference_mode():
        exact = forward(network, shown.float(), scales, bfloat16=False)
        for name, way in (("layers", layers), ("estimator", estimate_of(network, DEVICE))):
            error = float((way(shown, scales) - exact).square().mean().sqrt() / exact.std())
            assert error < 0.1, f"{name}: estimates are off by {error:.2g} of their spread"
            row(f"estimates, {name}", batch, microseconds(partial(way, shown, scales), 5, 5), f"off by {error:.1e}")
    target = Target("Ms", "A/m", MS_MEAN, MS_SPREAD, 0.0, 2 * MS_MEAN)
    predictor = Predictor(network, (target,))
    films = resident.images[:256]
    for side in SIDES:
        tiles = len(films) * (CELLS // side) ** 2
        time_us = microseconds(partial(predictor.predict_films, films, scale_of(side, 4.0), 4.0), 1, 5)
        row(f"answers, {side} cells a view", tiles, time_us, f"{4 * tiles / time_us * 1e6:,.0f} pictures/s")


def stream(resident: FilmBatch, batches: list[int]) -> None:
    """Measure epochs on a store's films, all on the device and streamed by quarters, in alternating rounds."""
    from magray.estimator.metadata import Target
    from magray.imaging import scale_of
    from magray.runtime.connect import connect
    from magray.training.spec import TrainingSpec

    connect()
    rounds = 3
    with tempfile.TemporaryDirectory() as folder:  # on whatever disk that is, and read from memory again
        store = store_of(resident, Path(folder) / "store")
        ids, target = tuple(store.ids().to_pylist()), Target("Ms", "A/m", MS_MEAN, MS_SPREAD, 0.0, 2 * MS_MEAN)
        train_config = replace(
            CONFIG, epochs=rounds + 2, batch=batches[0], views_per_epoch=STREAM_VIEWS * len(ids) // 4
        )
        spec = TrainingSpec(
            store.uri,
            ids,
            (),
            (target,),
            tuple(scale_of(side, 4.0) for side in SIDES),
            4.0,
            (CELLS, CELLS),
            train_config,
        )
        with spec.films(DEVICE, len(ids)) as whole, spec.films(DEVICE, max(4, len(ids) // 4)) as some:
            trainings = {"all on the device": Trainer(whole, train_config), "streamed": Trainer(some, train_config)}
            times: dict[str, list[float]] = {name: [] for name in trainings}
            for _ in range(rounds + 1):  # the first makes ready
                for name, training in trainings.items():
                    start = time.perf_counter()
                    training.run_epoch()
                    times[name].append(time.perf_counter() - start)
        medians = [statistics.median(times[name][1:]) for name in trainings]
        for (name, training), seconds in zip(trainings.items(), medians, strict=True):
            row(f"epochs, {len(ids)} films, {name}", training.views, seconds * 1e6, f"batch {batches[0]}")
        print(f"streamed / all on the device: {medians[0] / medians[1]:.2f} of the pictures/s")


def store_of(films: FilmBatch, folder: Path) -> "Store":
    """A committed store of these pictures, 128 in a file; Ms tells their targets."""
    from magray.films import Film, plan_table
    from magray.store import create_store, rows_of

    values = films.targets[:, 0].cpu().numpy() * MS_SPREAD + MS_MEAN
    made = [Film((CELLS, CELLS), (4e-9,) * 3, float(Ms), 1.6e6, 31e-12, seed=i) for i, Ms in enumerate(values)]
    plan = plan_table(made, "benchmark")
    store = create_store(str(folder), "benchmark", plan)
    for first in range(0, len(made), 128):
        images = films.images[first : first + 128].cpu().numpy()
        drawn = [_drawn(film, image) for film, image in zip(made[first : first + 128], images, strict=True)]
        store.commit(rows_of(drawn, plan.slice(first, 128)))
    return store


def _drawn(film: "Film", image: NDArray[np.uint8]) -> "RelaxedFilm":
    """A film whose picture is drawn; nothing else of it is read."""
    from magray.micromagnetics import RelaxedFilm

    mz = (image / 127.5 - 1).astype(np.float32)
    m = np.stack([np.sqrt(np.maximum(0, 1 - mz**2)), np.zeros_like(mz), mz])
    return RelaxedFilm(film, m, {"total": 0.0}, 0.0, 1, "converged", "", 0.0, device="none", solver="drawn")


def profile(resident: FilmBatch, batch: int) -> None:
    """The kernels of a step that take longest."""
    crops, numbers = some_crops(resident, batch), hyperparameter_table("constant", 1e-3, 0.05, 1).to(DEVICE)[0]
    step = make_step(Variant("", ExecutionConfig(bfloat16=True, kernels=True)), resident)
    print(f"kernels of a step, batch {batch}, µs:")
    print_kernels(partial(step, crops, numbers), most=30)


def print_kernels(run: Callable[[], object], most: int, repeat: int = 5) -> None:
    """The kernels of `run`, those that take longest first: µs of all calls, and their number."""
    for _ in range(3):
        run()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as record:
        for _ in range(repeat):
            run()
        torch.cuda.synchronize()
    kernels = sorted(record.key_averages(), key=lambda kernel: -kernel.self_device_time_total)
    for kernel in kernels[:most]:
        mean, count = kernel.self_device_time_total / repeat, kernel.count / repeat
        print(f"  {mean:>7.1f}  {count:>4.0f} x  {kernel.key[:90]}", flush=True)


PARTS = ("pictures", "block", "steps", "epochs", "answers", "profile", "network", "stream")


def main() -> None:
    """Print a line a measurement, with the seconds that each part took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, nargs="+", default=[512, 128, 1024] if GPU else [16])
    parser.add_argument("--films", type=int, default=2000 if GPU else 8)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS[:-1] if GPU else ("steps", "epochs"))
    parser.add_argument("--compiled", action="store_true", help="steps without CuPy too: most of a minute longer")
    arguments = parser.parse_args()
    print(f"{torch.cuda.get_device_name() if GPU else 'CPU'}, torch {torch.__version__}")
    torch.backends.cudnn.benchmark = True
    resident = films(arguments.films)
    for part in arguments.parts:
        start = time.perf_counter()
        for _ in _run(part, resident, arguments.batches, arguments.compiled):
            print(f"-- {part}: {time.perf_counter() - start:.0f} s", flush=True)


def _run(part: str, resident: FilmBatch, batches: list[int], with_compiled: bool) -> Iterator[None]:
    match part:
        case "pictures":
            pictures(resident, batches)
        case "block":
            block(batches[0])
        case "network":
            network(batches[0])
        case "steps":
            steps(resident, batches, with_compiled)
        case "epochs":
            epochs(resident, batches)
        case "answers":
            answers(resident)
        case "stream":
            stream(resident, batches)
        case "profile":
            profile(resident, batches[0])
    yield


if __name__ == "__main__":
    np.seterr(all="raise")
    main()
