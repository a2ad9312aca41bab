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
from operators.read.case_folders import find_cases, note_of_hospital_a

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
    """
    for folder in track(find_cases(data), description="evaluating patients", console=Console(stderr=True)):
        case = read_case(folder)
        notes += note_of_hospital_a(case.name, case.truth)
        yield case


def measure_patients(
    data: Path,
    read_case: Callable[[Path], Case],
    measure: Callable[[Case, list[str]], Row],
    refused_row: Callable[[Case], Row],
) -> PatientRows:
    """A row for each case of a folder.

    Args:
        data: Folder of case folders.
        read_case: Reads one.
        measure: What it contributes; may add notes.
        refused_row: What it contributes where `measure` refuses it.

    Raises:
        FileNotFoundError: The folder holds no case.
    """
    found = PatientRows()
    for case in cases_of(data, read_case, found.notes):
        found.patient_ids.append(case.patient_id)
        try:
            found.rows.append(measure(case, found.notes))
        except Refused as refused:
            found.notes.append(f"{case.name} was refused: {refused.reason}")
            found.rows.append(refused_row(case))
    return found
