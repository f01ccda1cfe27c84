"""The pretrained estimators answer as version 0.1 did, for five pictures."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from magray.estimator.estimator import Estimator
from magray.network import execution

# D and its error bar, J/m², for each of the pictures
ANSWERS = {
    "co-like": [
        (0.0007116829872057604, 5.042085266224704e-05),
        (0.0007017211070522137, 3.030569325855202e-05),
        (0.0005719016969732646, 3.030569325855202e-05),
        (0.0007368297551390938, 2.6161478252652347e-05),
        (0.0008315142793891635, 2.89455663039053e-05),
    ],
    "co-like-microscope": [
        (0.0009269175350195712, 0.0001587987872882329),
        (0.001046612378658834, 0.00010170229971838711),
        (0.001083399029016448, 0.00010170229971838711),
        (0.00110395553585316, 8.92405928235456e-05),
        (0.0011561130647973223, 8.677176463246398e-05),
    ],
}


def wavy_stripes() -> Iterator[tuple[NDArray[np.uint8], float]]:
    """Yield grey values (h, w) of stripes of several widths, each with the scale that it is taken at, µm."""
    y, x = np.mgrid[:160, :160] / 160
    for stripes, scale_um in ((3, 0.5), (5, 1.0), (7, 1.0), (9, 1.5), (11, 2.0)):
        wave = np.sin(2 * np.pi * (stripes * x + 0.4 * np.sin(4 * np.pi * y)))
        yield np.rint(127.5 + 127.5 * np.tanh(4 * wave)).astype(np.uint8), scale_um


def in_double(network: torch.nn.Module) -> None:
    """Make a network compute in float64, in which processors agree to far more digits than in float32."""
    network.double()
    for module in network.modules():
        module.register_forward_pre_hook(lambda _, given: tuple(tensor.double() for tensor in given))


@pytest.mark.parametrize("name", ANSWERS)
def test_a_pretrained_estimator_answers_as_it_always_did(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "has_bfloat16", lambda _: False)
    estimator = Estimator.load(name)
    in_double(estimator.network)
    answers = [estimator.predict(picture, scale_um=scale_um) for picture, scale_um in wavy_stripes()]
    found = [number for answer in answers for number in (answer.value, answer.error)]
    assert found == pytest.approx([number for pair in ANSWERS[name] for number in pair], rel=1e-6)
