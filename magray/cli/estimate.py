"""The command that estimates a film's parameters from pictures."""

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from magray.errors import Refused, UserError

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
        "scale-bar, colours, field, unmeasured, pixels, scars, rows, plane, square.",
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
        str | None,
        typer.Option(
            metavar="KIND",
            help="microscope (blur and noise; if not told), none for a simulated picture, or kerr, mfm, peem, stxm, "
            "sempa, nv, which the estimator must have been trained on.",
        ),
    ] = None,
    resolution_nm: Annotated[
        float | None,
        typer.Option(
            "--resolution-nm",
            "--lift-nm",
            "--height-nm",
            metavar="X",
            help="What limits the instrument, if known: lift of mfm, height of nv, λ / (2 NA) of kerr, full width at "
            "half maximum of stxm, peem, sempa.",
        ),
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
    from magray.estimator.any_film import Posterior
    from magray.project.estimate import Question, answer
    from magray.project.picture import Reading

    constants = {"Ms": Ms, "Ku1": Ku1, "Keff": Keff, "Hk": Hk, "Aex": Aex, "D": D, "thickness": thickness}
    question = Question(
        pictures,
        estimator,
        {name: text for name, text in constants.items() if text is not None},
        dmi,
        history,
        instrument,
        scale_um,
        pixel_nm,
        Reading.of(channel, crop, clean, max_megapixels),
        resimulate,
        resolution_nm,
    )
    found = answer(question)
    if not isinstance(found, Posterior):
        text = f"{found}\ntrained on {found.films}"
        _print(text, found.to_json(), found.trust, found.warnings, as_json, force)
        return
    _print(str(found), found.to_json(), found.trust, found.reasons, as_json, force)
    if not as_json:
        for note in found.notes:
            typer.echo(note)


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
    from magray.project.picture import Reading, describe

    if output is not None and output.suffix.lower() != ".png":
        raise UserError(f"--output: {output} is not the name of a .png")
    typer.echo(describe(file, Reading.of(channel, crop, clean, max_megapixels), output))


def _print(
    text: str, record: dict[str, object], trust: str, reasons: tuple[str, ...], as_json: bool, force: bool
) -> None:
    """Print an answer, and why it is doubtful; raise Refused for one that is refused unless forced."""
    if trust == "refused" and not force:
        raise Refused(f"{'; '.join(reasons)}; --force shows the value all the same")
    typer.echo(json.dumps(record, ensure_ascii=False) if as_json else text)
    for reason in reasons:
        typer.echo(f"warning: {reason}", err=True)
