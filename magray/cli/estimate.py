"""The command that estimates a film's parameters from pictures."""

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from magray.errors import Refused, UserError

if TYPE_CHECKING:
    from magray.project.picture import Reading

Channel = Annotated[
    str | None, typer.Option(metavar="NAME", help="Name or number of the picture in a file of several.")
]
Crop = Annotated[
    str | None, typer.Option(metavar="X,Y,W,H", help="Part of the picture, from its upper left corner, pixels.")
]
Clean = Annotated[
    str,
    typer.Option(
        metavar="STEPS",
        help="Steps of cleaning: all, none, some as rows,plane, or all but some as -colours: frame, banner, "
        "scale-bar, colours, field, pixels, scars, rows, plane, square.",
    ),
]
Largest = Annotated[float, typer.Option(metavar="N", min=0, help="Refuse larger pictures.")]


def estimate(
    pictures: Annotated[
        list[str],  # a Path would take one of a URL's slashes away
        typer.Argument(
            metavar="PICTURE",
            help="Picture of a film's domains, or its URL: PNG, TIFF, JPEG, GIF, BMP, or a file of a microscope; "
            "several are of one film.",
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
    pixel_nm: Annotated[
        float | None, typer.Option(metavar="Y", help="Size of a pixel, nm, where the file does not tell it.")
    ] = None,
    channel: Channel = None,
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
    crop: Crop = None,
    clean: Clean = "all",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, in SI units.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Show an estimate that cannot be trusted, too.")] = False,
    max_megapixels: Largest = 64,
) -> None:
    """Estimate a film's parameters from one or several pictures."""
    from magray.project.estimate import estimate_film, estimate_pictures, knows_any_film

    reading = _reading(channel, crop, clean, max_megapixels)
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
            reading=reading,
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
    answer = estimate_pictures(*pictures, estimator=estimator, scale_um=scale_um, pixel_nm=pixel_nm, reading=reading)
    text = f"{answer}\ntrained on {answer.films}"
    _print(text, answer.to_json(), answer.trust, answer.warnings, as_json, force)


def picture(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Picture, or file of a microscope, or its URL.")],
    channel: Channel = None,
    crop: Crop = None,
    clean: Clean = "all",
    output: Annotated[
        Path | None, typer.Option(metavar="PNG", help="Where to write what the network will see.")
    ] = None,
    max_megapixels: Largest = 64,
) -> None:
    """Show what is read in a picture file, what is done to it, and whether it looks like domains."""
    from magray.project.picture import describe

    if output is not None and output.suffix.lower() != ".png":
        raise UserError(f"--output: {output} is not the name of a .png")
    typer.echo(describe(file, _reading(channel, crop, clean, max_megapixels), output))


def _reading(channel: str | None, crop: str | None, clean: str, max_megapixels: float) -> "Reading":
    """Return how files are read, by the options of a command."""
    from magray.imaging.cleaning import steps_of
    from magray.imaging.cleaning.frames import Box
    from magray.project.picture import Reading

    box = None
    if crop is not None:
        if not re.fullmatch(r"\d{1,6}(,\d{1,6}){3}", crop):
            raise UserError("--crop: give four whole numbers, x,y,width,height, as in 0,0,512,480")
        box = Box(*map(int, crop.split(",")))
    return Reading(channel, max_megapixels, box, steps_of(clean))


def _print(
    text: str, record: dict[str, object], trust: str, reasons: tuple[str, ...], as_json: bool, force: bool
) -> None:
    """Print an answer, and why it is doubtful; raise Refused for one that is refused unless forced."""
    if trust == "refused" and not force:
        raise Refused(f"{'; '.join(reasons)}; --force shows the value all the same")
    typer.echo(json.dumps(record, ensure_ascii=False) if as_json else text)
    for reason in reasons:
        typer.echo(f"warning: {reason}", err=True)
