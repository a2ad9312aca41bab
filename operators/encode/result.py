"""The table of contents of an analysis: ``result.json``, beside the objects it names."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset

from operators.encode.identity import Producer


@dataclass(frozen=True, kw_only=True)
class MadeObject:
    """A DICOM object and the role that app.toml promises it in.

    Args:
        role: Of app.toml.
        file_stem: Name of its file without ``.dcm``.
        dataset: The object.
    """

    role: str
    file_stem: str
    dataset: Dataset


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What an analysis found, for people and for tables.

    Args:
        summary: One line, without the patient.
        measurements: Name to ``{"value", "unit"}``; a value that could not be had is None
            and then has a ``"why_missing"``.
        warnings: Sentences that a reader must see.
    """

    summary: str
    measurements: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def write_result(
    folder: Path,
    producer: Producer,
    objects: Sequence[MadeObject],
    outcome: Outcome,
    *,
    pdf: bytes | None = None,
    previews: Mapping[str, bytes] | None = None,
) -> None:
    """Write the objects, the PDF, the previews and, last of all, ``result.json``.

    Args:
        folder: Exists.
        producer: Who made them.
        objects: The DICOM objects.
        outcome: What was found.
        pdf: The report, also written as ``report.pdf``.
        previews: File name to PNG.
    """
    for made in objects:
        made.dataset.save_as(folder / f"{made.file_stem}.dcm", enforce_file_format=True)
    if pdf is not None:
        (folder / "report.pdf").write_bytes(pdf)
    for name, png in (previews or {}).items():
        (folder / name).write_bytes(png)
    contents = {
        "app": producer.app,
        "app_version": producer.app_version,
        "model_digest": producer.model_digest,
        "input_digest": producer.input_digest,
        "training_kind": producer.training_kind,
        "statement": producer.statement,
        "objects": [{"role": made.role, "file": f"{made.file_stem}.dcm"} for made in objects],
        "pdf": None if pdf is None else "report.pdf",
        "previews": sorted(previews or {}),
        "measurements": {name: dict(entry) for name, entry in outcome.measurements.items()},
        "warnings": list(outcome.warnings),
        "summary": outcome.summary,
    }
    text = json.dumps(contents, indent=1, ensure_ascii=False, allow_nan=False)
    (folder / "result.json").write_text(text + "\n", encoding="utf-8")
