"""What an app made, read back from a job's folder of verified results.

The folder ``<data_dir>/jobs/<job id>/results`` appears whole once its objects are
verified; without it a job has no results to show. Nothing is ever read outside of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pydantic import Field
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info

from dicom_node.errors import BrokenPromise
from dicom_node.store.documents import Measurement
from dicom_node.verify.manifest import FILE_NAME, ResultManifest, path_inside

REMEMBERED_RESULTS = 2048
"""Results kept in memory, so that a page that renews itself does not read files again."""


class ReadableResult(ResultManifest):
    """``result.json`` with what people read in it."""

    measurements: dict[str, Measurement] = Field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    summary: str = ""

    @property
    def files(self) -> frozenset[str]:
        """Every file that belongs to the result."""
        named = {entry.file for entry in self.objects} | set(self.previews) | {FILE_NAME}
        return frozenset(named | {self.pdf}) if self.pdf else frozenset(named)


@dataclass(frozen=True)
class ObjectIdentity:
    """SOP Class UID and SOP Instance UID of a file (PS3.10 7.1); empty when it cannot be read."""

    sop_class_uid: str = ""
    sop_instance_uid: str = ""


def results_dir(data_dir: Path, job_id: str) -> Path:
    """Folder of a job's verified results; it exists only when they are complete."""
    return data_dir / "jobs" / job_id / "results"


def read_results(data_dir: Path, job_id: str) -> tuple[ReadableResult, dict[str, ObjectIdentity]] | None:
    """The results of a job and the identity of each DICOM file in them, or None when it has none.

    Raises:
        BrokenPromise: ``result.json`` cannot be read any more.
    """
    folder = results_dir(data_dir, job_id)
    try:
        written_ns = (folder / FILE_NAME).stat().st_mtime_ns
    except OSError:
        return None
    return _read(folder, written_ns)


@lru_cache(maxsize=REMEMBERED_RESULTS)
def _read(folder: Path, written_ns: int) -> tuple[ReadableResult, dict[str, ObjectIdentity]]:  # noqa: ARG001
    try:
        result = ReadableResult.model_validate_json((folder / FILE_NAME).read_bytes())
    except (OSError, ValueError) as error:
        raise BrokenPromise(f"{FILE_NAME} cannot be read: {type(error).__name__}") from error
    return result, {entry.file: _identity(folder, entry.file) for entry in result.objects}


def _identity(folder: Path, name: str) -> ObjectIdentity:
    try:
        meta = read_file_meta_info(path_inside(folder, name))
    except (BrokenPromise, OSError, InvalidDicomError):
        return ObjectIdentity()
    return ObjectIdentity(
        str(meta.get("MediaStorageSOPClassUID", "")), str(meta.get("MediaStorageSOPInstanceUID", ""))
    )


def result_file(data_dir: Path, job_id: str, name: str) -> Path | None:
    """The file of that name when the job's ``result.json`` names it, else None.

    The job id must be one that the ledger knows. Links and names that lead elsewhere
    are no files of a result.
    """
    try:
        found = read_results(data_dir, job_id)
        if found is None or name not in found[0].files:
            return None
        return path_inside(results_dir(data_dir, job_id), name)
    except BrokenPromise:
        return None
