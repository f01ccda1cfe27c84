"""A fit that starts from an estimator says at first what the estimator would say, and resumes like any other."""

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from magray.config import FitConfig, ScaleSet, load_config
from magray.errors import UserError
from magray.estimator.estimator import Estimator
from magray.estimator.folders import SHIPPED
from magray.estimator.metadata import Calibration, EstimatorMetadata, Target
from magray.network.branches import NETWORKS, NetworkName, forward, split_backbone
from magray.store import Store
from magray.training.config import TrainConfig
from magray.training.fit import fit
from magray.training.ray import training_process
from magray.training.spec import TrainingSpec
from magray.training.starting_point import StartingPoint
from magray.training.trainer import State, Trainer
from tests.support.configs import QUICKSTART
from tests.support.stripes import striped_store

D = Target("D", "J/m2", 0.5e-3, 0.25e-3, 0.1e-3, 1e-3)
OTHER_D = Target("D", "J/m2", 1.1e-3, 0.1e-3, 0.9e-3, 1.3e-3)  # of other films
MS = Target("Ms", "A/m", 1e6, 1e5, 0.8e6, 1.2e6)
SCALES = ScaleSet.parse("0.125+0.25")
CONFIG = FitConfig(
    targets=["D"],
    train_scales=[SCALES],
    epochs=3,
    views_per_epoch=16,
    batch=16,
    learning_rate=1e-3,
    width=0.5,
    checkpoint_epochs=1,
    films_at_once=100,
)


def former(folder: Path, network: NetworkName = "paper", targets: tuple[Target, ...] = (D,), seed: int = 7) -> Path:
    """Save an estimator whose layers have all weights and running averages at random; return its folder."""
    torch.manual_seed(seed)
    made = NETWORKS[network](len(targets), 0.5)
    for name, tensor in made.state_dict().items():
        if tensor.is_floating_point() and ("scale" in name or "running" in name):
            tensor.copy_(torch.rand_like(tensor) * 0.2 + 0.5)
    calibration = Calibration((0.25,), {target.name: (1e-5,) for target in targets}, films=9)
    metadata = EstimatorMetadata(targets, (0.125, 0.25), 80, calibration, {}, network=network, width=0.5)
    Estimator(made, metadata).save(folder)
    return folder


def start_from(folder: Path) -> StartingPoint:
    start = StartingPoint.of(CONFIG.model_copy(update={"start_from": str(folder)}))
    assert start is not None
    return start


def new_network(start: StartingPoint, network: NetworkName, *targets: Target, scales: tuple[float, ...]) -> nn.Module:
    torch.manual_seed(3)
    made = NETWORKS[network](len(targets), 0.5)
    start.initialise(made, targets, scales)
    return made.eval()


def said(network: nn.Module, targets: tuple[Target, ...], scale_um: float) -> torch.Tensor:
    """Return what a network says of random pictures, SI, in the order of its targets."""
    pictures = torch.rand(5, 128, 128, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.no_grad():
        outputs = forward(network.eval(), pictures, torch.full((5,), scale_um), bfloat16=False)
    return outputs * torch.tensor([one.spread for one in targets]) + torch.tensor([one.mean for one in targets])


@pytest.mark.parametrize(
    ("before", "after", "scales"),
    [
        ("paper", "paper", (0.125, 0.25)),
        ("scale-aware", "scale-aware", (0.125, 0.25)),
        ("paper", "scale-aware", (0.125, 0.25)),
        ("scale-aware", "paper", (0.25,)),
    ],
)
def test_a_network_says_at_first_what_the_former_said_in_si(
    tmp_path: Path, before: NetworkName, after: NetworkName, scales: tuple[float, ...]
) -> None:
    """Mean and spread of the new films' targets are others, so that the last layer cannot be copied as it is."""
    folder = former(tmp_path, before, (MS, D))
    network = new_network(start_from(folder), after, OTHER_D, MS, scales=scales)
    for scale_um in scales:
        expected = said(Estimator.load(folder).network, (MS, D), scale_um).flip(1)
        found = said(network, (OTHER_D, MS), scale_um)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=0)


def test_an_output_of_another_parameter_begins_at_random_on_the_same_features(tmp_path: Path) -> None:
    start = start_from(former(tmp_path))
    network = new_network(start, "paper", OTHER_D, MS, scales=(0.25,))
    torch.manual_seed(3)
    untouched = NETWORKS["paper"](2, 0.5)
    assert torch.equal(list(network.parameters())[-2][1], list(untouched.parameters())[-2][1])
    layers = split_backbone(network)[0].state_dict()
    assert all(torch.equal(layers[name], start.weights[name]) for name in layers)


@pytest.mark.parametrize(
    ("name", "config", "complaint"),
    [
        ("any-film", {}, "any-film is another kind of network; name one of co-like, co-like-microscope"),
        ("co-like", {}, "the network of co-like has a width of 1, from which one of 0.5 (fit.width) cannot start"),
        ("{folder}/none", {"width": 1.0}, "none: there is no such estimator folder"),
        ("{folder}/damaged", {}, "network.safetensors does not hold this estimator's weights"),
    ],
)
def test_what_a_fit_cannot_start_from_is_refused_in_one_line(
    tmp_path: Path, name: str, config: dict[str, Any], complaint: str
) -> None:
    (former(tmp_path / "damaged") / "network.safetensors").write_bytes(b"no weights")
    changes = config | {"start_from": name.format(folder=tmp_path)}
    with pytest.raises(UserError) as error:
        StartingPoint.of(CONFIG.model_copy(update=changes))
    assert str(error.value).startswith("fit.start_from: ")
    assert complaint in str(error.value)
    assert "\n" not in str(error.value)


def test_a_shipped_estimator_is_meant_by_its_name_and_a_folder_by_its_path(tmp_path: Path) -> None:
    shipped = StartingPoint.of(CONFIG.model_copy(update={"start_from": "co-like", "width": 1.0}))
    assert shipped is not None
    assert shipped.sha256 == sha256((SHIPPED / "co-like" / "network.safetensors").read_bytes()).hexdigest()
    assert shipped.provenance()["training_films"] == 7604
    assert start_from(former(tmp_path / "co-like")).metadata.training_films == 80


def test_no_film_of_the_quickstart_is_of_the_material_that_its_start_was_trained_on() -> None:
    """Otherwise its test films would show no more than that the start works."""
    config = load_config(QUICKSTART)
    start = StartingPoint.of(config.fit)
    assert start is not None
    for film in config.films():
        constants = {name: getattr(film, name) for name in ("Ms", "Ku1", "Aex", "D", "sigma")}
        assert not start.metadata.knows(constants | {"dz": film.cell_size[2]})


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return striped_store(tmp_path_factory.mktemp("stripes") / "store", films=12)


@pytest.fixture
def without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `fit` train in this process."""

    def train(spec: TrainingSpec, workers: int, work_folder: Path, progress: bool, listeners: object) -> State:
        checkpoint = work_folder / spec.name / "training.pt"
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        return training_process(spec, 1, str(checkpoint), Epochs())  # type: ignore[arg-type]

    monkeypatch.setattr("magray.training.fit.train", train)
    monkeypatch.setattr("magray.training.fit.connect", lambda: None)


class Epochs:
    """A log of finished epochs that are forgotten."""

    def add(self, epoch: int, loss: float, views: int, seconds: float) -> None:
        """Forget an epoch."""


def started(store: Store, start: Path | None, folder: Path, **changes: Any) -> Estimator:
    config = CONFIG.model_copy(update={"start_from": start and str(start), **changes})
    fit(store.uri, config, SCALES, folder / "estimator", folder / "work", progress=False)
    return Estimator.load(folder / "estimator")


def test_a_fit_that_was_killed_resumes_from_its_checkpoint_and_not_from_the_start(
    store: Store, without_ray: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = former(tmp_path / "former")
    whole = started(store, start, tmp_path / "whole").network.state_dict()

    def kill(log: Epochs, epoch: int, loss: float, views: int, seconds: float) -> None:
        seen.append(epoch)
        if len(seen) == 2:
            raise KeyboardInterrupt

    seen: list[int] = []
    monkeypatch.setattr(Epochs, "add", kill)
    with pytest.raises(KeyboardInterrupt):
        started(store, start, tmp_path / "killed")
    resumed = started(store, start, tmp_path / "killed").network.state_dict()
    assert seen == [1, 2, 2, 3]
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_an_estimator_near_its_start_says_which_weights_these_were(
    store: Store, without_ray: None, tmp_path: Path
) -> None:
    start = former(tmp_path / "former")
    tuned = started(store, start, tmp_path / "tuned", epochs=1, learning_rate=1e-9).network.parameters()
    before = Estimator.load(start).network.parameters()
    for layer, first in list(zip(tuned, before, strict=True))[:-2]:
        torch.testing.assert_close(layer, first, rtol=0, atol=1e-7)
    provenance = json.loads((tmp_path / "tuned/estimator/estimator.json").read_text())["provenance"]
    weights = (start / "network.safetensors").read_bytes()
    assert provenance["start"]["sha256"] == sha256(weights).hexdigest()
    assert provenance["start"]["estimator"] == provenance["fit"]["start_from"] == str(start)


def test_seeds_show_other_pictures_from_the_same_start(store: Store, tmp_path: Path) -> None:
    ids = tuple(store.ids().to_pylist())
    config = TrainConfig(1, 1e-3, views_per_epoch=16, batch=16, width=0.5)
    spec = TrainingSpec(store.uri, ids, (), (D,), (0.25,), 4.0, (64, 64), config, start=start_from(former(tmp_path)))
    with spec.films(torch.device("cpu"), len(ids)) as films:
        one, other = (Trainer(films, replace(config, seed=seed), initialise=spec.initialise) for seed in (1, 2))
    assert torch.equal(one.step.parameters.values, other.step.parameters.values)
    assert not torch.equal(one.batches(0), other.batches(0))


def test_a_fit_from_another_start_is_another_fit(tmp_path: Path) -> None:
    spec = TrainingSpec("", ("",), (), (D,), (0.25,), 4.0, (64, 64), TrainConfig(1, 1e-3))
    starts = [start_from(former(tmp_path / str(seed), seed=seed)) for seed in (1, 2)]
    moved = replace(starts[0], name="elsewhere")
    names = [replace(spec, start=start).name for start in (None, *starts, moved)]
    assert len(set(names)) == 3
    assert names[1] == names[3]
    assert names[0] == "fit-053ccfb8a00166b5", "an unfinished fit of a former version goes on"
