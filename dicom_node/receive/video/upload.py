"""Stage 1, receive, over HTTP: a video file and what is said of it becomes a stored instance."""

from __future__ import annotations

import logging
import re
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dicom_node.errors import Refused, StorageUnavailable
from dicom_node.receive.refusal import OnRefused, RefusalSource, RefusedReceipt
from dicom_node.receive.video.said import NAMES, is_true, subject_of, walk_of
from dicom_node.receive.video.wrap import Wrapped, wrap
from dicom_node.store.instances import InstanceStore, StoredInstance, copy_into
from dicom_node.store.part10 import read_file_meta

_OPTION: Final = re.compile(r"--([a-z]+(?:-[a-z]+)*)")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TakenVideo:
    """A video that is stored as an object."""

    stored: StoredInstance
    wrapped: Wrapped


class VideoIntake:
    """Makes objects of videos and stores them like received ones; one at a time.

    Args:
        folder: For passing files; made if missing.
        store: Where instances go.
        on_stored: Told of each instance on disk before the sender is. May raise `StorageUnavailable`.
        on_refused: Told of everything that was not stored. Must not raise.
    """

    def __init__(
        self,
        folder: Path,
        store: InstanceStore,
        on_stored: Callable[[StoredInstance], None],
        on_refused: OnRefused,
    ) -> None:
        self._folder = folder
        self._store = store
        self._on_stored = on_stored
        self._on_refused = on_refused
        self._lock = threading.Lock()

    def take(self, video: Path, said: Mapping[str, str]) -> TakenVideo:
        """Store a video.

        Args:
            video: The file; stays where it is.
            said: Values of the fields in `said.NAMES`; what is missing is not said.

        Raises:
            Refused: The video cannot be wrapped, or a field is wrong; fields are named as such.
            Failed: Faces could not be hidden.
            StorageUnavailable: The disk is full or cannot be written.
        """
        try:
            with self._lock:
                return self._take(video, said)
        except Refused as error:
            reason = _OPTION.sub(lambda option: option[1].replace("-", "_"), str(error))
            self._on_refused(
                RefusedReceipt(source=RefusalSource.UPLOAD, reason=reason, attribute=error.attribute)
            )
            raise Refused(reason, attribute=error.attribute) from None

    def _take(self, video: Path, said: Mapping[str, str]) -> TakenVideo:
        unknown = sorted(set(said) - set(NAMES))
        if unknown:
            raise Refused(f"unknown fields: {', '.join(unknown)}; known are {', '.join(NAMES)}")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix="wrap-", dir=self._folder) as passing:
                wrapped = wrap(
                    video,
                    Path(passing) / "video.dcm",
                    subject_of(said),
                    walk_of(said),
                    keep_sound=is_true(said, "keep_sound"),
                    blur_faces=is_true(said, "blur_faces"),
                )
                stored = self._put(wrapped.path, wrapped.transfer_syntax_uid)
        except OSError as error:
            raise StorageUnavailable(f"the data folder cannot be written: {error.strerror}") from error
        self._on_stored(stored)
        logger.info("took in a video", extra={"action": "video_stored", "study": stored.study_instance_uid})
        return TakenVideo(stored, wrapped)

    def _put(self, path: Path, transfer_syntax_uid: str) -> StoredInstance:
        data_set = self._store.incoming()
        try:
            with path.open("rb") as file:
                read_file_meta(file)
                copy_into(data_set, file)
            return self._store.commit(data_set, transfer_syntax_uid=transfer_syntax_uid)
        finally:
            data_set.discard()
