"""What the network of any film is told with a picture."""

from dataclasses import dataclass

import torch


@dataclass
class Knowns:
    """The numbers (n,) known of n pictures: log Q1, log τ, and kinds, −1 where unknown."""

    log_Q1: torch.Tensor
    log_tau: torch.Tensor
    dmi: torch.Tensor
    history: torch.Tensor
    instrument: torch.Tensor
