"""Case folders: what the phantom writes and what a hospital gives for training.

``dicom/`` holds the slices of a sagittal T1, of a sagittal STIR, or both, in any naming and order.
``truth.json`` has ``vertebrae``, each with ``centre_mm_lps``, ``class`` (``none``, ``old``,
``osteoporotic`` or ``malignant``) and, where it is known, ``level``; ``S1`` among them
teaches what levels are counted from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apps.spine_metastasis.labels import CLASS_OF_TRUTH, FractureClass, Weighting
from apps.spine_metastasis.levels import Point, Vertebra, linked
from apps.spine_metastasis.stack import SagittalStack
from apps.spine_metastasis.study import read_study
from operators.errors import Refused
from operators.read.case_folders import read_truth
from operators.select.clinical import mr_weighting
from operators.select.headers import read_series

WEIGHTING_OF = {"T1": Weighting.T1, "STIR": Weighting.STIR}
SACRAL = "S1"


@dataclass(frozen=True, kw_only=True)
class TrueVertebra:
    """What is known of one vertebra.

    Args:
        centre_mm_lps: Of its body.
        fracture: What kind of fresh fracture it has.
        level: Such as ``L1``; empty when it is not known.
        is_old: A healed fracture.
        has_lesion: Not fractured, but with a lesion.
    """

    centre_mm_lps: tuple[float, float, float]
    fracture: FractureClass
    level: str = ""
    is_old: bool = False
    has_lesion: bool = False

    @property
    def centre(self) -> NDArray[np.float64]:
        """``(3,)`` float64, LPS, mm."""
        return np.asarray(self.centre_mm_lps, dtype=np.float64)


@dataclass(frozen=True, kw_only=True, eq=False)
class TruthCase:
    """One patient with images and truth.

    Args:
        name: Of the folder.
        patient_id: From the slices: what splits go by.
        stacks: The sequences.
        vertebrae: From head to feet, the sacrum not among them.
        sacrum: Middle of the first sacral vertebra, mm LPS, where it is in the picture.
        truth: All of truth.json.
    """

    name: str
    patient_id: str
    stacks: Mapping[Weighting, SagittalStack]
    vertebrae: tuple[TrueVertebra, ...]
    sacrum: tuple[float, float, float] | None
    truth: dict[str, Any] = field(default_factory=dict)

    @property
    def fracture(self) -> FractureClass:
        """Of the patient: the worst of the vertebrae."""
        return max((vertebra.fracture for vertebra in self.vertebrae), default=FractureClass.NOT_FRACTURED)

    @property
    def is_level_known(self) -> bool:
        """True when counting from the sacrum gives the right names."""
        return bool(self.truth.get("level_known", self.sacrum is not None))


def read_case(folder: Path) -> TruthCase:
    """One case folder.

    Raises:
        Refused: It holds neither a sagittal T1 nor a STIR that can be used, or more than one.
        ValueError: Its truth is not what the module describes.
    """
    truth = read_truth(folder)
    stacks = read_study(_sequences(folder)).stacks
    vertebrae, sacrum = _vertebrae_of(truth, folder.name)
    any_stack = next(iter(stacks.values()))
    return TruthCase(
        name=folder.name,
        patient_id=str(any_stack.headers[0].get("PatientID", folder.name)),
        stacks=stacks,
        vertebrae=vertebrae,
        sacrum=sacrum,
        truth=truth,
    )


def true_chain(case: TruthCase) -> tuple[Vertebra, ...]:
    """The vertebrae of the truth as the detector would give them, in the order of `TruthCase.vertebrae`."""
    ends = None if case.sacrum is None else Point(position_mm_lps=case.sacrum, score=1.0)
    points = [Point(position_mm_lps=one.centre_mm_lps, score=1.0) for one in case.vertebrae]
    return linked(points, ends)


def _sequences(folder: Path) -> dict[Weighting, list[Path]]:
    """Files of each sequence."""
    series, _ = read_series(sorted(p for p in (folder / "dicom").rglob("*") if p.is_file()))
    out: dict[Weighting, list[Path]] = {}
    for one in series:
        weighting = WEIGHTING_OF.get(mr_weighting(one.instances[0]) or "")
        if weighting is None:
            continue
        if weighting in out:
            raise Refused(
                f"{folder.name} holds more than one {weighting.spoken}; one is needed",
                attribute="SeriesInstanceUID",
            )
        out[weighting] = [header.path for header in one.instances]
    if not out:
        raise Refused(f"{folder.name} holds neither a T1 nor a STIR", attribute="ScanningSequence")
    return out


def _vertebrae_of(
    truth: dict[str, Any], name: str
) -> tuple[tuple[TrueVertebra, ...], tuple[float, float, float] | None]:
    """Those of the truth from head to feet, and the middle of S1."""
    sacrum = None
    out = []
    for given in truth.get("vertebrae", []):
        x, y, z = (float(v) for v in given["centre_mm_lps"])
        if given.get("level") == SACRAL:
            sacrum = (x, y, z)
            continue
        if given.get("class") not in CLASS_OF_TRUTH:
            raise ValueError(
                f"{name}: class of a vertebra is {given.get('class')!r}; "
                f"allowed are {', '.join(CLASS_OF_TRUTH)}"
            )
        out.append(
            TrueVertebra(
                centre_mm_lps=(x, y, z),
                fracture=CLASS_OF_TRUTH[given["class"]],
                level=str(given.get("level") or ""),
                is_old=given["class"] == "old",
                has_lesion=given.get("lesion", "none") != "none",
            )
        )
    if not out:
        raise ValueError(f"{name}: truth.json names no vertebrae")
    out.sort(key=lambda one: -one.centre_mm_lps[2])
    return tuple(out), sacrum
