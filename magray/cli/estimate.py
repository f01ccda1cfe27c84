"""The command that estimates a film's parameters from pictures."""

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from magray.errors import Refused, UserError


def estimate(
    pictures: Annotated[
        list[Path],
        typer.Argument(
            metavar="PICTURE",
            help="PNG, TIFF, JPEG, GIF or BMP of a film's domains; several are of one film.",
        ),
    ],
    estimator: Annotated[
        str,  # a Path would make no difference between ./co-like and co-like
        typer.Option(
            metavar="FOLDER",
            parser=os.path.expanduser,
            help="Folder of the estimator; or any-film, co-like or co-like-microscope, which ship with magray "
            "(./co-like is a folder of yours).",
        ),
    ] = "any-film",
    scale_um: Annotated[
        float | None, typer.Option(metavar="X", help="Length of the picture's shorter side, µm.")
    ] = None,
    pixel_nm: Annotated[float | None, typer.Option(metavar="Y", help="Size of a pixel, nm.")] = None,
    Ms: Annotated[
        str | None, typer.Option("--Ms", metavar="X", help='As in "1.20 ± 0.05 MA/m", or 1.1..1.3MA/m.')
    ] = None,
    Ku1: Annotated[str | None, typer.Option("--Ku1", metavar="X", help="Uniaxial anisotropy.")] = None,
    Keff: Annotated[str | None, typer.Option("--Keff", metavar="X", help="Ku1 - µ0 Ms² / 2.")] = None,
    Hk: Annotated[str | None, typer.Option("--Hk", metavar="X", help='Anisotropy field of Keff, as "0.4 T".')] = None,
    Aex: Annotated[str | None, typer.Option("--Aex", metavar="X", help="Exchange stiffness.")] = None,
    D: Annotated[str | None, typer.Option("--D", metavar="X", help="DMI, where Ms or Aex are asked for.")] = None,
    thickness: Annotated[str | None, typer.Option(metavar="X", help="Thickness of the film.")] = None,
    dmi: Annotated[str | None, typer.Option(metavar="KIND", help="interfacial or bulk.")] = None,
    history: Annotated[
        str | None, typer.Option(metavar="KIND", help="minimised, quenched, thermal or demagnetised.")
    ] = None,
    instrument: Annotated[
        str | None, typer.Option(metavar="KIND", help="microscope (if not told), or none for a simulated picture.")
    ] = None,
    resimulate: Annotated[
        bool, typer.Option("--resimulate", help="Compare the picture with films of the answer: minutes on a CPU.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, in SI units.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Show an estimate that cannot be trusted, too.")] = False,
    max_megapixels: Annotated[float, typer.Option(metavar="N", min=0, help="Refuse larger pictures.")] = 64,
) -> None:
    """Estimate a film's parameters from one or several pictures."""
    if (scale_um is None) == (pixel_nm is None):
        raise UserError("give the size of the picture: either --scale-um or --pixel-nm")
    from magray.project.estimate import estimate_film, estimate_pictures, knows_any_film

    constants = {"Ms": Ms, "Ku1": Ku1, "Keff": Keff, "Hk": Hk, "Aex": Aex, "D": D, "thickness": thickness}
    known = {name: text for name, text in constants.items() if text is not None}
    kinds = {"dmi": dmi, "history": history, "instrument": instrument}
    if knows_any_film(estimator):
        posterior = estimate_film(
            *pictures,
            estimator=estimator,
            known=known,
            dmi=dmi,
            history=history,
            instrument=instrument,
            scale_um=scale_um,
            pixel_nm=pixel_nm,
            max_megapixels=max_megapixels,
            resimulate=resimulate,
        )
        _print(str(posterior), posterior.to_json(), posterior.trust, posterior.reasons, as_json, force)
        if not as_json:
            for note in posterior.notes:
                typer.echo(note)
        return
    if resimulate:
        raise UserError(f"{estimator} knows no constants to simulate; --resimulate is for the estimator any-film")
    if told := [*known, *(name for name, kind in kinds.items() if kind is not None)]:
        raise UserError(f"{estimator} knows the films of its training only; --{told[0]} is for the estimator any-film")
    answer = estimate_pictures(
        *pictures, estimator=estimator, scale_um=scale_um, pixel_nm=pixel_nm, max_megapixels=max_megapixels
    )
    text = f"{answer}\ntrained on {answer.films}"
    _print(text, answer.to_json(), answer.trust, answer.warnings, as_json, force)


def _print(
    text: str, record: dict[str, object], trust: str, reasons: tuple[str, ...], as_json: bool, force: bool
) -> None:
    """Print an answer, and why it is doubtful; raise Refused for one that is refused unless forced."""
    if trust == "refused" and not force:
        raise Refused(f"{'; '.join(reasons)}; --force shows the value all the same")
    typer.echo(json.dumps(record, ensure_ascii=False) if as_json else text)
    for reason in reasons:
        typer.echo(f"warning: {reason}", err=True)
