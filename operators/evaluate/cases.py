"""Every case of a folder one after another, with what is said of it: refusals are results too."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from operators.errors import Refused
from operators.read.case_folders import find_cases, note_of_hospital_a, read_truth

Row = dict[str, float]
"""What one patient, or one structure of a patient, contributes to each column."""


class NamedCase(Protocol):
    """A case as apps read it."""

    @property
    def name(self) -> str:
        """Of its folder."""

    @property
    def patient_id(self) -> str:
        """From its images."""

    @property
    def truth(self) -> Mapping[str, Any]:
        """Of truth.json."""


Case = TypeVar("Case", bound=NamedCase)


@dataclass(frozen=True, kw_only=True)
class UnreadCase:
    """A case whose images cannot be read: nothing is known but what truth.json tells.

    Args:
        name: Of its folder.
        patient_id: The folder's name too, as no image tells it.
        truth: Of truth.json.
        reason: Why.
    """

    name: str
    patient_id: str
    truth: Mapping[str, Any]
    reason: str


@dataclass(kw_only=True)
class PatientRows:
    """What the patients of a folder contributed.

    Attributes:
        rows: A value by column, absent where there is none.
        patient_ids: Of each row.
        notes: Sentences that belong beside the figures.
    """

    rows: list[Row] = field(default_factory=list)
    patient_ids: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def columns(self, *names: str) -> dict[str, NDArray[np.float64]]:
        """Every column, and these whether or not a row has a value; NaN where a row has none.

        >>> PatientRows(rows=[{"dice": 1.0}, {}]).columns("error")["dice"].tolist()
        [1.0, nan]
        """
        every = sorted(set(names).union(*self.rows))
        return {name: np.array([row.get(name, np.nan) for row in self.rows]) for name in every}


def cases_of(data: Path, read_case: Callable[[Path], Case], notes: list[str]) -> Iterator[Case]:
    """The cases of a folder, with a bar on standard error.

    Args:
        data: Folder of case folders.
        read_case: Reads one.
        notes: A sentence is added for each case that is like those trained on.

    Raises:
        FileNotFoundError: The folder holds no case.
        Refused: The images of a case cannot be read.
    """
    for case in read_or_unread(data, read_case, notes):
        if isinstance(case, UnreadCase):
            raise Refused(f"{case.name}: {case.reason}")
        yield case


def read_or_unread(
    data: Path, read_case: Callable[[Path], Case], notes: list[str]
) -> Iterator[Case | UnreadCase]:
    """As `cases_of`; a case whose images are refused is told in the notes and still counts.

    Raises:
        FileNotFoundError: The folder holds no case.
    """
    for folder in track(find_cases(data), description="evaluating patients", console=Console(stderr=True)):
        case: Case | UnreadCase
        try:
            case = read_case(folder)
        except Refused as refused:
            notes.append(f"{folder.name} was refused: {refused.reason}")
            case = UnreadCase(
                name=folder.name, patient_id=folder.name, truth=read_truth(folder), reason=refused.reason
            )
        notes += note_of_hospital_a(case.name, case.truth)
        yield case


def measure_patients(
    data: Path,
    read_case: Callable[[Path], Case],
    measure: Callable[[Case, list[str]], Row],
    refused_row: Callable[[Case], Row],
    unread_row: Callable[[UnreadCase], Row] | None = None,
) -> PatientRows:
    """A row for each case of a folder.

    Args:
        data: Folder of case folders.
        read_case: Reads one.
        measure: What it contributes; may add notes.
        refused_row: What it contributes where `measure` refuses it.
        unread_row: What it contributes where its images cannot be read; None ends the evaluation there.

    Raises:
        FileNotFoundError: The folder holds no case.
        Refused: The images of a case cannot be read, and nothing tells what that contributes.
    """
    found = PatientRows()
    for case in read_or_unread(data, read_case, found.notes):
        found.patient_ids.append(case.patient_id)
        if isinstance(case, UnreadCase):
            if unread_row is None:
                raise Refused(f"{case.name}: {case.reason}")
            found.rows.append(unread_row(case))
            continue
        try:
            found.rows.append(measure(case, found.notes))
        except Refused as refused:
            found.notes.append(f"{case.name} was refused: {refused.reason}")
            found.rows.append(refused_row(case))
    return found
