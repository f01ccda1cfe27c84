"""The starting point of a fit: the network of a finished estimator, in place of random weights.

The layers from pictures to features are taken as they are. An output of a target that the estimator knows, too, is
taken with them: it says at first what the estimator would have said, in SI, since its last layer is rescaled from the
mean and spread of the former films to those of the new ones. Outputs of other targets begin with random weights.

A network that is conditioned on the scale and one that is not can start from each other. The gain and the shift of
every feature, which such conditioning is, are kept; or taken at the middle of the new training scales, which is exact
where there is one; or begin with 1 and 0.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from magray.config import FitConfig
from magray.errors import UserError
from magray.estimator.estimator import Estimator
from magray.estimator.folders import ANY_FILM, folder_of, sha256_of_weights, shipped
from magray.estimator.metadata import EstimatorMetadata, Target
from magray.network.branches import NETWORKS, ScaleAwareCnn, split_backbone


@dataclass(frozen=True)
class StartingPoint:
    """The weights of an estimator, by the names in its network, with its metadata.

    name: as the config gives it. sha256: of the file of weights; fits from other weights are other fits.
    """

    name: str
    sha256: str
    weights: Mapping[str, torch.Tensor]
    metadata: EstimatorMetadata

    @classmethod
    def of(cls, config: FitConfig) -> "StartingPoint | None":
        """Return the starting point that a fit's config names; None for random weights.

        Raises UserError if there is no such estimator, it is damaged, or its network is not as wide as the config's.
        """
        name = config.start_from
        if name is None:
            return None
        if name == ANY_FILM:
            raise UserError(f"fit.start_from: {name} is another kind of network; name one of {', '.join(shipped())}")
        folder = folder_of(name)
        try:
            estimator = Estimator.load(folder)
        except UserError as error:
            raise UserError(f"fit.start_from: {error}") from error
        start = cls(name, sha256_of_weights(folder), estimator.network.state_dict(), estimator.metadata)
        start.check_width(config.width, "fit.width")
        return start

    def check_width(self, width: float, key: str) -> None:
        """Raise UserError unless networks of this width can start here. key: of the config, that gives the width."""
        if width != self.metadata.width:
            raise UserError(
                f"fit.start_from: the network of {self.name} has a width of {self.metadata.width:g}, from which one of "
                f"{width:g} ({key}) cannot start"
            )

    def provenance(self) -> dict[str, Any]:
        """Return a description for the metadata of the estimator that started here."""
        films, made = self.metadata.training_films, self.metadata.provenance.get("made")
        return {"estimator": self.name, "sha256": self.sha256, "training_films": films, "made": made}

    def initialise(self, network: nn.Module, targets: Sequence[Target], scales_um: Sequence[float]) -> None:
        """Set the weights of a new network of `targets`, which is to be trained at `scales_um`, ascending."""
        former = NETWORKS[self.metadata.network](len(self.metadata.targets), self.metadata.width)
        former.load_state_dict(dict(self.weights))
        split_backbone(network)[0].load_state_dict(split_backbone(former)[0].state_dict())
        weight: torch.Tensor
        bias: torch.Tensor
        if isinstance(network, ScaleAwareCnn) and isinstance(former, ScaleAwareCnn):
            network.scale.load_state_dict(former.scale.state_dict())
            weight, bias = former.estimates.weight, former.estimates.bias
        else:
            weight, bias = _last_layer_at(former, math.sqrt(scales_um[0] * scales_um[-1]))
        last, rows = _last_layer(network), {target.name: row for row, target in enumerate(self.metadata.targets)}
        with torch.no_grad():
            for row, target in enumerate(targets):
                if target.name in rows:
                    known = self.metadata.targets[rows[target.name]]
                    last.weight[row] = weight[rows[target.name]] * (known.spread / target.spread)
                    value = bias[rows[target.name]] * known.spread + known.mean
                    last.bias[row] = (value - target.mean) / target.spread


def _last_layer_at(network: nn.Module, scale_um: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the weight (outputs, features) and bias (outputs,) from the features to the estimates at a scale."""
    if not isinstance(network, ScaleAwareCnn):
        last = _last_layer(network)
        return last.weight, last.bias
    gain, shift = network.modulation(torch.tensor([scale_um]))
    weight, bias = network.estimates.weight, network.estimates.bias
    return weight * (1 + gain), weight @ shift[0] + bias


def _last_layer(network: nn.Module) -> nn.Linear:
    """Return the layer that makes the estimates."""
    last = network.estimates if isinstance(network, ScaleAwareCnn) else list(network.children())[-1]
    assert isinstance(last, nn.Linear)
    return last
