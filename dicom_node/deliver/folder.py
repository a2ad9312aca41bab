"""Delivery into a folder: ``<path>/<study uid>/<app>/<file>``, complete or not at all.

The files are written and synced in a hidden folder beside their place, which is then
renamed: whoever watches never sees half a result. A second analysis of the same study
(late images, a newer model) goes to ``<app>_<digest>`` beside the first; neither
overwrites the other.
"""

from __future__ import annotations

import errno
import filecmp
import hashlib
import os
import shutil
from pathlib import Path

from pydicom.uid import UID

from dicom_node.deliver.destination import FolderDestination
from dicom_node.deliver.package import Progress, ResultPackage, identity_of
from dicom_node.errors import BrokenPromise, PeerStatus, PeerUnreachable
from dicom_node.verify.manifest import read_manifest

_NO_DIRECTORY_SYNC = (errno.EINVAL, errno.ENOTSUP)
"""What file systems answer that cannot sync a directory, e.g. some network shares."""

_EXISTS = (errno.EEXIST, errno.ENOTEMPTY)


def send(destination: FolderDestination, progress: Progress) -> None:
    """Places the whole package: objects, PDF, previews and ``result.json``.

    Raises:
        PeerUnreachable: The folder cannot be written.
        PeerStatus: The folder holds the same analysis with other content.
    """
    if not progress.pending():
        return
    try:
        _send(destination, progress)
    except OSError as error:
        raise PeerUnreachable(
            f"{destination.name} ({destination.where}) cannot be written: {error.strerror or error}; "
            "check that the share is mounted, its free space and the permissions of this service"
        ) from error


def folder_names(package: ResultPackage) -> tuple[str, str]:
    """Where the package goes below the study: the app's name, or the second place when that is taken."""
    digest = hashlib.sha256("\n".join(package.identity).encode()).hexdigest()[:12]
    return package.app, f"{package.app}_{digest}"


def _send(destination: FolderDestination, progress: Progress) -> None:
    package = progress.package
    study_uid = UID(package.study_instance_uid)
    if not study_uid.is_valid or not package.app.replace("_", "").isalnum():
        raise PeerStatus(f"{destination.name}: the study UID or the app's name cannot be a folder name")
    study_dir = destination.path / str(study_uid)
    study_dir.mkdir(parents=True, exist_ok=True)
    for name in folder_names(package):
        target = study_dir / name
        if not target.exists() and _place_whole(target, package):
            for item in progress.pending():
                progress.acknowledge(item)
            return
        if _is_of_same_analysis(target, package):
            _complete(target, progress)
            return
    raise PeerStatus(
        f"{destination.name} ({destination.where}) holds results of another analysis in that place"
    )


def _place_whole(target: Path, package: ResultPackage) -> bool:
    """Makes the folder at once; False when somebody else made it in the meantime."""
    staging = target.with_name(f".{folder_names(package)[1]}.partial")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir()
    for source in (*(item.path for item in package.objects), *package.companions):
        _copy_synced(source, staging / source.name)
    _sync_directory(staging)
    try:
        staging.rename(target)
    except OSError as error:
        if error.errno not in _EXISTS:
            raise
        shutil.rmtree(staging, ignore_errors=True)
        return False
    _sync_directory(target.parent)
    _sync_directory(target.parent.parent)
    return True


def _is_of_same_analysis(target: Path, package: ResultPackage) -> bool:
    try:
        return identity_of(read_manifest(target)) == package.identity
    except BrokenPromise:  # no result.json: not ours
        return False


def _complete(target: Path, progress: Progress) -> None:
    """Adds what is missing to a folder of this same analysis, and touches nothing else."""
    for item in progress.pending():
        if _add(item.path, target):
            progress.acknowledge(item)
        elif filecmp.cmp(item.path, target / item.path.name, shallow=False):
            progress.acknowledge(item, "already there", was_there=True)
        else:
            progress.refuse(
                item, "the folder holds another file of that name; move it away to deliver this one"
            )
    for source in progress.package.companions:
        _add(source, target)


def _add(source: Path, target: Path) -> bool:
    """Puts a file where there is none of its name; False when there is one."""
    place = target / source.name
    if place.exists():
        return False
    partial = target / f".{source.name}.partial"
    _copy_synced(source, partial)
    partial.rename(place)
    _sync_directory(target)
    return True


def _copy_synced(source: Path, place: Path) -> None:
    with source.open("rb") as reader, place.open("wb") as writer:
        shutil.copyfileobj(reader, writer, 1 << 20)
        writer.flush()
        os.fsync(writer.fileno())


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_DIRECTORY_SYNC:
            raise
    finally:
        os.close(descriptor)
