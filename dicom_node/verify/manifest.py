"""``result.json``: what an app says that it made, and the objects it names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dicom_node.errors import BrokenPromise

FILE_NAME = "result.json"


@dataclass(frozen=True, kw_only=True)
class VerifiedObject:
    """One DICOM object of a result that may be delivered.

    Args:
        role: What it is for, as app.toml names it.
        path: Its file.
        sop_class_uid: SOP Class UID.
        sop_instance_uid: SOP Instance UID.
        series_instance_uid: Series Instance UID.
        study_instance_uid: Study Instance UID.
        transfer_syntax_uid: How the file is encoded.
    """

    role: str
    path: Path
    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str
    transfer_syntax_uid: str


class NamedObject(BaseModel):
    """One entry of ``objects``."""

    model_config = ConfigDict(frozen=True)

    role: str
    file: str = Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")


class ResultManifest(BaseModel):
    """The content of ``result.json``; keys that only people read are left to others.

    Args:
        app: Name of the app.
        app_version: Its version.
        model_digest: Digest of the model bundle it used.
        input_digest: Digest of the instances it was given.
        training_kind: ``synthetic`` or a site's name.
        objects: The DICOM objects, each with its role.
        pdf: File name of the PDF report, or None.
        previews: File names of the pictures that a person looks at.
    """

    model_config = ConfigDict(frozen=True)

    app: str
    app_version: str
    model_digest: str
    input_digest: str
    training_kind: str = ""
    objects: tuple[NamedObject, ...]
    pdf: str | None = None
    previews: tuple[str, ...] = ()


def read_manifest(result_dir: Path) -> ResultManifest:
    """The ``result.json`` of a folder.

    Raises:
        BrokenPromise: It is missing, is not JSON or lacks a key.
    """
    path = result_dir / FILE_NAME
    try:
        return ResultManifest.model_validate_json(path.read_bytes())
    except FileNotFoundError as missing:
        raise BrokenPromise(f"the app ended without writing {FILE_NAME}") from missing
    except ValidationError as invalid:
        first = invalid.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise BrokenPromise(f"{FILE_NAME}: {where}: {first['msg']}") from invalid


def path_inside(result_dir: Path, name: str) -> Path:
    """The regular file of that name directly inside the folder.

    Raises:
        BrokenPromise: There is no such file, or the name leads out of the folder.
    """
    path = result_dir / name
    if Path(name).name != name or path.is_symlink() or not path.is_file():
        raise BrokenPromise(f"{FILE_NAME} names {name!r}, which is not a file beside it")
    return path
