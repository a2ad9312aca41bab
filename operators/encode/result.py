"""The table of contents of an analysis: ``result.json``, beside the objects it names."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from operators.encode.identity import Producer

DEFLATED_FROM_BYTES = 1_000_000
"""Pixel data of this size or more are deflated, when they are neither compressed nor a picture.

Labels and maps become a tenth to a hundredth; below this size readers without deflate matter more.
"""
_DEFLATED = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7", "1.2.840.10008.5.1.4.1.1.30")
"""Segmentation, Label Map Segmentation, Parametric Map."""


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
    sizes = [save(made.dataset, folder / f"{made.file_stem}.dcm") for made in objects]
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
        "objects": [
            {"role": made.role, "file": f"{made.file_stem}.dcm", "bytes": size}
            for made, size in zip(objects, sizes, strict=True)
        ],
        "pdf": None if pdf is None else "report.pdf",
        "previews": sorted(previews or {}),
        "measurements": {name: dict(entry) for name, entry in outcome.measurements.items()},
        "warnings": list(outcome.warnings),
        "summary": outcome.summary,
    }
    text = json.dumps(contents, indent=1, ensure_ascii=False, allow_nan=False)
    (folder / "result.json").write_text(text + "\n", encoding="utf-8")


def save(dataset: Dataset, path: Path) -> int:
    """Write an object, deflated (PS3.5 A.5) when that is worth it; the size of its file in bytes.

    Delivery inflates it again for a peer that does not take that transfer syntax.
    """
    meta = dataset.file_meta
    if _is_worth_deflating(dataset):
        # highdicom builds nothing in this transfer syntax; it only says how the file is written.
        dataset.file_meta = copy.deepcopy(meta)
        dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    try:
        dataset.save_as(path, enforce_file_format=True)
    finally:
        dataset.file_meta = meta
    return path.stat().st_size


def _is_worth_deflating(dataset: Dataset) -> bool:
    if (
        str(dataset.SOPClassUID) not in _DEFLATED
        or dataset.file_meta.TransferSyntaxUID != ExplicitVRLittleEndian
    ):
        return False
    pixels = dataset.get("PixelData") or dataset.get("FloatPixelData") or b""
    return len(pixels) >= DEFLATED_FROM_BYTES
