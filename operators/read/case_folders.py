"""Case folders, which phantoms write and a hospital gives: where they are, what they say of themselves.

A case is a folder with ``dicom/`` and ``truth.json``. What else is in it is the app's.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from operators.phantom.hospital import Hospital

PHANTOM_KIND = "synthetic phantom"
"""``kind`` of a truth.json whose patient a program made."""
SYNTHETIC = "synthetic"


def find_cases(data: Path) -> list[Path]:
    """Case folders below a folder, sorted by name.

    Raises:
        FileNotFoundError: There is none.
    """
    cases = sorted(path.parent for path in data.rglob("truth.json") if (path.parent / "dicom").is_dir())
    if not cases:
        raise FileNotFoundError(f"{data} holds no case: a case is a folder with dicom/ and truth.json")
    return cases


def read_truth(folder: Path) -> dict[str, Any]:
    """truth.json of a case folder.

    Raises:
        ValueError: It holds something other than an object.
    """
    truth = json.loads((folder / "truth.json").read_text(encoding="utf-8"))
    if not isinstance(truth, dict):
        raise ValueError(f"{folder.name}: truth.json does not hold an object")  # noqa: TRY004, content
    return truth


def case_files(folder: Path) -> list[Path]:
    """Every file below ``dicom/`` of a case folder, in any naming, sorted."""
    return sorted(path for path in (folder / "dicom").rglob("*") if path.is_file())


def is_phantom(truth: Mapping[str, Any]) -> bool:
    """True when a program made the patient; a case that does not say what it is counts as a patient's.

    >>> is_phantom({"kind": "synthetic phantom"}), is_phantom({})
    (True, False)
    """
    return PHANTOM_KIND in str(truth.get("kind", ""))


def training_kind(cases: Path | Iterable[Path]) -> str:
    """``synthetic`` when any case is a phantom, else the sites that the patients' truths name.

    Results say it wherever a reader sees them, and a few patients do not undo many phantoms.

    Args:
        cases: Case folders, or the folder that holds them.
    """
    truths = [read_truth(folder) for folder in _folders(cases)]
    if any(is_phantom(truth) for truth in truths):
        return SYNTHETIC
    sites = sorted({str(truth["site"]) for truth in truths if truth.get("site")})
    return ", ".join(sites) or "the site's own cases"


def refuse_hospital_b(cases: Path | Iterable[Path]) -> None:
    """Nothing is trained on what is kept for evaluation.

    Args:
        cases: Case folders, or the folder that holds them.

    Raises:
        ValueError: A case is a phantom of hospital B.
    """
    for folder in _folders(cases):
        truth = read_truth(folder)
        if is_phantom(truth) and truth.get("hospital") == Hospital.B.name:
            raise ValueError(f"{folder.name} is of hospital B, whose patients are kept for evaluation")


def note_of_hospital_a(name: str, truth: Mapping[str, Any]) -> list[str]:
    """What is said beside figures of a case that is like those trained on; empty of any other.

    >>> note_of_hospital_a("case_1", {"hospital": "A"})
    ['case_1 is of the hospital that training patients come from']
    """
    if truth.get("hospital") != Hospital.A.name:
        return []
    return [f"{name} is of the hospital that training patients come from"]


def _folders(cases: Path | Iterable[Path]) -> Iterable[Path]:
    return find_cases(cases) if isinstance(cases, Path) else cases
