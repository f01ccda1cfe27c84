"""The effective medium of a multilayer: one film that has its domains.

Lemesh, Büttner and Beach, Phys. Rev. B 95, 174423 (2017).
"""

from magray.errors import UserError
from magray.films.reduced import stray_energy


def effective_medium(
    Ms: float, Ku1: float, Aex: float, D: float, thickness: float, spacer: float, repeats: int
) -> dict[str, float]:
    """Return the constants of the film that stands for `repeats` magnetic layers with spacers between them. SI units.

    Ms, Ku1, Aex, D and thickness are those of one magnetic layer, spacer the distance from one to the next. With the
    share f = thickness / (thickness + spacer), Ms, Aex and D are diluted to f times their values and the film is as
    thick as the stack. Ku1 becomes f Ku1 − ½ µ0 Ms² (f − f²), so that Keff, too, is f times that of a layer: its
    surface charges act on itself alone.

    Limits: the moments must be the same in all layers, and the repeat thickness + spacer well below the domains' width
    and the walls' parameter Δ. In thick stacks with |D| below that of pure Néel walls the walls twist from layer to
    layer, which one film does not show; neither does it show exchange through the spacers. A single layer stays as it
    is.
    """
    if min(Ms, Aex, thickness) <= 0 or spacer < 0 or repeats < 1:
        raise UserError(
            "a multilayer has Ms, Aex and a thickness above 0, a spacer of 0 or more, and 1 or more repeats"
        )
    if repeats == 1:
        return {"Ms": Ms, "Ku1": Ku1, "Aex": Aex, "D": D, "thickness": thickness}
    f = thickness / (thickness + spacer)
    return {
        "Ms": f * Ms,
        "Ku1": f * Ku1 - stray_energy(Ms) * (f - f**2),
        "Aex": f * Aex,
        "D": f * D,
        "thickness": repeats * thickness + (repeats - 1) * spacer,
    }
