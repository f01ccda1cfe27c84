"""Check the JSON Schema of configs against configs: what editors accept is what magray reads."""

import json
from functools import cache
from pathlib import Path
from typing import Any, get_args

import jsonschema  # type: ignore[import-untyped]
import pytest

from magray.config.json_schema import MODELS, Kind, json_schema
from magray.config.starting import starting_config
from magray.config.strict_yaml import parse
from tests.support.configs import QUICKSTART

CONFIGS = QUICKSTART.parent
KINDS: dict[str, list[Path]] = {
    "project": [QUICKSTART, *sorted(CONFIGS.glob("paper/*")), *sorted(CONFIGS.glob("microscope/*"))],
    "design": sorted(CONFIGS.glob("any-film/*")),
    "search": sorted(CONFIGS.glob("searches/*")),
    "protocols": [CONFIGS / "protocols" / "dmi.yaml", CONFIGS / "protocols" / "ms.yaml"],
    "scale-cues": sorted(CONFIGS.glob("scale-cues/*")),
    "figure": sorted(CONFIGS.glob("studies/*")),
}


@cache
def editor(kind: Kind) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(json_schema(kind))


def complaints(content: Any, kind: Kind = "project") -> list[str]:
    """Return where, and by which keyword of the schema, an editor finds something wrong."""
    found = editor(kind).iter_errors(content)
    return [f"{'.'.join(map(str, error.absolute_path))}: {error.validator}" for error in found]


@pytest.mark.parametrize("kind", get_args(Kind))
def test_every_config_of_a_kind_fits_its_schema(kind: Kind) -> None:
    assert KINDS[kind]
    for path in KINDS[kind]:
        assert complaints(parse(path.read_text(encoding="utf-8")), kind) == [], path


def test_a_new_project_fits_its_schema() -> None:
    assert complaints(parse(starting_config(Path("/films"), "dmi", "laptop"))) == []
    assert complaints(parse(starting_config(Path("/films"), "any-film", "cluster")), "design") == []


@pytest.mark.parametrize(
    ("place", "value", "complaint"),
    [
        ("campaign.Ms", "1500 kA/m2", "campaign.Ms: anyOf"),
        ("campaign.Ms", 1500, "campaign.Ms: anyOf"),
        ("campaign.Ms", {"uniform": ["1 MA/m"]}, "campaign.Ms: anyOf"),
        ("campaign.cell_size", ["4 nm", "4 nm"], "campaign.cell_size: minItems"),
        ("campaign.cell_size", ["4 nm", "4 nm", "4"], "campaign.cell_size.2: pattern"),
        ("campaign.fims", 12, "campaign: additionalProperties"),
        ("campaign.demag", "no", "campaign.demag: type"),
        ("campaign.dmi", "both", "campaign.dmi: enum"),
        ("campaign.protocol.stages", [{}], "campaign.protocol.stages.0: minProperties"),
        ("fit.train_scales", ["0.5..1..2"], "fit.train_scales.0: pattern"),
    ],
)
def test_an_editor_marks_what_is_wrong(place: str, value: Any, complaint: str) -> None:
    content = parse(QUICKSTART.read_text(encoding="utf-8"))
    *sections, key = place.split(".")
    section = content
    for name in sections:
        section = section[name]
    section[key] = value
    assert complaints(content) == [complaint]


def test_a_unit_may_be_written_in_every_way_that_magray_reads() -> None:
    content = parse(QUICKSTART.read_text(encoding="utf-8"))
    content["campaign"] |= {"Ku1": "1.6e0 MJ/m³", "cell_size": ["0.004 µm", "4nm", " 4 nm "], "field": ["0 T"] * 3}
    content["campaign"]["D"] = {"uniform": ["0.1 mJ/m^2", "1 mJ/m²"]}
    assert complaints(content) == []


def test_the_schema_tells_units_and_defaults() -> None:
    campaign = json_schema("project")["$defs"]["CampaignConfig"]["properties"]
    assert campaign["D"]["description"] == "Dzyaloshinskii-Moriya constant. Units: J/m2, mJ/m2. Default: 0.0 J/m2."
    assert campaign["field"]["default"] == ["0.0 A/m"] * 3
    assert campaign["demag"]["description"].endswith("Default: true.")


@pytest.mark.parametrize("kind", get_args(Kind))
def test_every_key_is_described(kind: Kind) -> None:
    """The text below a key in its model is what an editor shows."""
    schema = json_schema(kind)
    jsonschema.Draft202012Validator.check_schema(schema)
    sections = {MODELS[kind].__name__: schema, **schema.get("$defs", {})}
    keys = {(name, key): about for name, part in sections.items() for key, about in part.get("properties", {}).items()}
    assert [place for place, about in keys.items() if not about.get("description")] == []
    assert "x-dimension" not in json.dumps(schema)
