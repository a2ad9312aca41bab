"""Writes ``deploy/configuration.md`` from the configuration's own types.

``python -m deploy.reference`` writes it; a test compares it with the types, so that a key
cannot be added, changed or removed without the reference saying so.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from dicom_node.config import NodeSection, PeerSection, RouteSection, WebSection, WorkSection
from dicom_node.deliver import DicomDestination, FolderDestination, OrthancDestination, StowDestination

PATH = Path(__file__).parent / "configuration.md"

INTRODUCTION = """\
# Configuration reference

The node reads one TOML file: `dicom-node serve --config node.toml` (or `DICOM_NODE_CONFIG`).
`deploy/node.toml` is an example to start from, `dicom-node check-config` says whether a file is
right. Relative paths start at the folder of the file. A wrong key or value is told in one line with
the key, the value and what is allowed, and the node does not start.

This page is written from the types in `dicom_node/config.py` by `python -m deploy.reference`.
"""

SECTIONS: tuple[tuple[str, str, type[BaseModel]], ...] = (
    ("[node]", "The node itself.", NodeSection),
    (
        "[web]",
        "HTTP interface and dashboard. It shows study UIDs, results and pictures: keep it inside.",
        WebSection,
    ),
    ("[work]", "How analyses are run.", WorkSection),
    ("[[peer]]", "Who may send. None listed: this machine only.", PeerSection),
    ('[[destination]] kind = "dicom"', "A PACS, over C-STORE.", DicomDestination),
    ('[[destination]] kind = "stow"', "A DICOMweb server, over STOW-RS.", StowDestination),
    (
        '[[destination]] kind = "orthanc"',
        "An Orthanc, over its REST interface; the PDF report is attached to the study as well.",
        OrthancDestination,
    ),
    ('[[destination]] kind = "folder"', "A folder.", FolderDestination),
    ("[[route]]", "Which app runs, and where its results go.", RouteSection),
)


def default_of(default: Any) -> str:
    """A default as TOML would have it; empty when there is none."""
    if default is None or default is PydanticUndefined:
        return ""
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, int | float):
        return f"{default:g}"
    if isinstance(default, tuple):
        return "[]"
    text = default.get_secret_value() if hasattr(default, "get_secret_value") else str(default)
    return f'"{text}"'


def described_in_docstring(model: type[BaseModel], name: str) -> str:
    """What the class's docstring says of an argument."""
    for cls in model.__mro__:
        found = re.search(rf"^\s+{name}: (.+?)(?=\n\s+\w+: |\n\s*\n|\Z)", cls.__doc__ or "", re.M | re.S)
        if found:
            return " ".join(found.group(1).split()).replace("``", "`")
    return ""


def rows_of(model: type[BaseModel]) -> list[tuple[str, str, str]]:
    """Key, required or default, and description of every field of a table."""
    rows = []
    for name, field in model.model_fields.items():
        if name == "kind":
            continue
        default = default_of(field.get_default(call_default_factory=False))
        given = "required" if field.is_required() else f"`{default}`" if default else "none"
        rows.append((name, given, field.description or described_in_docstring(model, name)))
    return rows


def reference() -> str:
    """The whole page."""
    parts = [INTRODUCTION]
    for title, sentence, model in SECTIONS:
        lines = [f"\n## `{title}`\n", f"{sentence}\n", "| key | default | meaning |", "|---|---|---|"]
        lines += [f"| `{name}` | {given} | {meaning} |" for name, given, meaning in rows_of(model)]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(part.rstrip("\n") for part in parts) + "\n"


if __name__ == "__main__":
    PATH.write_text(reference(), encoding="utf-8")
