"""Read what a folder of mumax3's output tells of its film: log.txt, which repeats the script, and the table's last row.

Names, units and defaults: https://mumax.github.io/api.html. A script's names have no case. What it does not set is 0;
what it sets to an expression, or to several values, is not known. The table has what `TableAdd` put there, a field as
"B_extx (T)", "B_exty (T)" and "B_extz (T)".
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from magray.errors import UserError
from magray.films.film import Dmi, OpenEdges
from magray.interchange.known import NUMBER, Known, Vector, agreed
from magray.units import MU0

LOG, TABLE = "log.txt", "table.txt"
_DMI: dict[Dmi, str] = {"interfacial": "dind", "bulk": "dbulk"}
_EDGES: dict[tuple[bool, bool], OpenEdges] = {  # by whether there are copies along x, and along y
    (True, True): "none",
    (True, False): "y",
    (False, True): "x",
    (False, False): "xy",
}
_VECTOR = re.compile(rf"vector\(\s*({NUMBER})\s*,\s*({NUMBER})\s*,\s*({NUMBER})\s*\)")


def is_output(folder: Path) -> bool:
    """Return whether mumax3 wrote a folder."""
    return (folder / LOG).is_file() or (folder / TABLE).is_file()


def known(folder: Path) -> Known:
    """Return what the files of a folder tell. Raises UserError for films that magray has no constants for."""
    log = _log(folder / LOG) if (folder / LOG).is_file() else Known()
    return _table(folder / TABLE).over(log) if (folder / TABLE).is_file() else log


def _log(path: Path) -> Known:
    script = re.sub(r"//.*", "", path.read_text(encoding="utf-8", errors="replace")).lower()
    for axis in _assigned(script, "anisu"):
        vector = _vector(axis)
        if vector is None or vector[:2] != (0, 0):
            raise UserError(f"{path}: AnisU is not along z, as the anisotropy of magray's films is")
    demag = _assigned(script, "enabledemag")
    told = Known(
        Ms=_number(script, "msat"),
        Ku1=_number(script, "ku1"),
        Aex=_number(script, "aex"),
        field=_field(script),
        open_edges=_edges(script),
        demag=not demag or demag[-1] != "false",
    )
    return _with_dmi(told, {name: _number(script, name) for name in _DMI.values()}, path)


def _table(path: Path) -> Known:
    """Return what the last row of a table tells."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    if len(lines) < 2:
        return Known()
    names = [name.strip("# ").partition(" ")[0].lower() for name in lines[0].split("\t")]
    cells = dict(zip(names, map(str.strip, lines[-1].split("\t")), strict=False))
    row = {name: float(cell) for name, cell in cells.items() if re.fullmatch(NUMBER, cell)}
    field = None
    if {"b_extx", "b_exty", "b_extz"} <= row.keys():
        field = _a_per_m(row["b_extx"], row["b_exty"], row["b_extz"])
    told = Known(Ms=row.get("msat"), Ku1=row.get("ku1"), Aex=row.get("aex"), field=field)
    return _with_dmi(told, {name: row[name] for name in _DMI.values() if name in row}, path)


def _with_dmi(told: Known, found: Mapping[str, float | None], path: Path) -> Known:
    """Return what is known, with the DMI of the kind that is not 0. found: by mumax3's names."""
    there = {kind: found[name] for kind, name in _DMI.items() if found.get(name, 0) != 0}
    if len(there) > 1:
        raise UserError(f"{path}: both Dind and Dbulk are set; magray's films have one kind of DMI")
    for kind, value in there.items():
        return replace(told, D=value, dmi=kind)
    return replace(told, D=0.0, dmi="none") if found else told


def _assigned(script: str, name: str) -> list[str]:
    """Return what a script assigns to a quantity, everywhere or in regions, in order."""
    everywhere, region = r"\s*=\s*(.*)", r"\s*\.\s*setregion\(\s*[0-9]+\s*,\s*(.*)\)"
    found = re.findall(rf"(?m)^\s*{name}(?:{everywhere}|{region})\s*$", script)
    return [(one or other).strip() for one, other in found]


def _number(script: str, name: str) -> float | None:
    values = _assigned(script, name)
    return agreed(values) if values else 0.0


def _field(script: str) -> Vector | None:
    """Return the applied field, A/m: 0 if no line of the script sets it, None if it is not one plain vector."""
    if not re.search(r"(?m)^\s*b_ext\s*[.=]", script):
        return 0.0, 0.0, 0.0
    values = set(_assigned(script, "b_ext"))
    vector = _vector(values.pop()) if len(values) == 1 and not re.search(r"b_ext\s*\.\s*add", script) else None
    return None if vector is None else _a_per_m(*vector)


def _edges(script: str) -> OpenEdges:
    found = re.search(r"setpbc\(\s*([0-9]+)\s*,\s*([0-9]+)\s*,", script)
    return _EDGES[found is not None and int(found[1]) > 0, found is not None and int(found[2]) > 0]


def _vector(text: str) -> Vector | None:
    found = _VECTOR.fullmatch(text)
    return (float(found[1]), float(found[2]), float(found[3])) if found else None


def _a_per_m(x: float, y: float, z: float) -> Vector:
    return x / MU0, y / MU0, z / MU0
