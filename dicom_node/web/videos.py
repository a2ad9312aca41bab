"""``POST /api/v1/videos``: a video of a walk comes in as a form and goes on to the receive stage.

The file goes to the disk piece by piece. Which videos are taken, and what of them, the receive
stage decides; here its answers become statuses.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final
from urllib.parse import urlsplit

from fastapi import APIRouter, HTTPException, Request
from pydantic import BaseModel, Field
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from dicom_node.errors import Failed, Refused, StorageUnavailable
from dicom_node.web.view import TakeVideo

if TYPE_CHECKING:
    from dicom_node.receive.video.upload import TakenVideo

LARGEST_VIDEO_BYTES: Final = 2 * 1024**3
LONGEST_FIELD_BYTES: Final = 1024
MOST_PARTS: Final = 32
VIDEO: Final = "video"
"""Name of the part that is the file."""

_FIELDS: Final = {
    "patient_id": "Patient ID; needed.",
    "patient_name": "As DICOM writes it: FAMILY^GIVEN.",
    "birth_date": "YYYYMMDD or YYYY-MM-DD.",
    "sex": "M, F or O.",
    "accession_number": "Accession Number of the study.",
    "study_uid": "Study Instance UID of a study that exists; a new study without it.",
    "view": "From where the walk was filmed: frontal, sagittal or oblique; needed.",
    "task": "What was walked.",
    "aid": "Walking aid, in words.",
    "distance_m": "Length of the walkway in metres.",
    "recorded_at": "ISO date and time; what the file says without it.",
    "keep_sound": "true keeps the sound.",
    "blur_faces": "true hides faces.",
}
_SCHEMA: Final = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": [VIDEO, "patient_id", "view"],
                    "properties": {
                        VIDEO: {"type": "string", "format": "binary", "description": "The video file."},
                        **{name: {"type": "string", "description": text} for name, text in _FIELDS.items()},
                    },
                }
            }
        },
    }
}


class VideoDocument(BaseModel):
    """A video that the node has stored as a DICOM object."""

    study_instance_uid: str = Field(description="Of the study it is in.")
    series_instance_uid: str = Field(description="Of its series.")
    sop_instance_uid: str = Field(description="Of the object.")
    transfer_syntax_uid: str = Field(description="How the stream is coded.")
    frames: int = Field(description="Number of Frames.")
    duration_s: float = Field(description="Seconds from the first frame to the end of the last.")
    way: str = Field(description="What was done with the pictures: whole file, copy pictures or encode.")
    reasons: list[str] = Field(description="Why they were copied or encoded.")
    notices: list[str] = Field(description="What a person should know.")


class Problem(BaseModel):
    """Why the video was not taken."""

    detail: str = Field(description="The reason, in a sentence.")


_PROBLEMS: Final[dict[int | str, dict[str, Any]]] = {
    400: {"model": Problem, "description": "The request is no such form, or ended early."},
    403: {"model": Problem, "description": "The request comes from a page of another server."},
    413: {"model": Problem, "description": "The video is too large."},
    422: {"model": Problem, "description": "Refused: the video or a field is not as it must be."},
    500: {"model": Problem, "description": "The node could not finish."},
    507: {"model": Problem, "description": "The data folder is full or cannot be written."},
}


def videos_router(take_video: TakeVideo, folder: Path) -> APIRouter:
    """The route below ``/api/v1``.

    Args:
        take_video: The receive stage.
        folder: For files on their way; made if missing.
    """
    router = APIRouter(prefix="/api/v1")

    @router.post(
        "/videos",
        tags=["studies"],
        summary="Send a video of a walk",
        status_code=201,
        responses=_PROBLEMS,
        openapi_extra=_SCHEMA,
    )
    async def send_video(request: Request) -> VideoDocument:
        """Stores the video as a Video Photographic Image, as ``dicom-node wrap-video`` makes it."""
        _require_own_page(request)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix="upload-", dir=folder) as passing:
                form = _Form(Path(passing) / VIDEO)
                await _receive(request, form)
                taken = await run_in_threadpool(_take, take_video, form)
        except OSError as error:
            raise HTTPException(
                507, f"the data folder cannot be written: {error.strerror or error}"
            ) from error
        return _document(taken)

    return router


def _require_own_page(request: Request) -> None:
    """Pages of other servers may make a browser send forms here; they say where they are from."""
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        raise HTTPException(403, "the request comes from a page of another server")


class _Form:
    """A form whose file part goes to the disk; what `MultipartParser` calls."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fields: dict[str, str] = {}
        self.has_video = False
        self.is_complete = False
        self._file: BinaryIO | None = None
        self._name = ""
        self._value = bytearray()
        self._header = [bytearray(), bytearray()]
        self._parts = self._size = 0

    def callbacks(self) -> Any:
        """For the parser."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._header[0].extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._header[1].extend(data[start:end]),
            "on_header_end": self._end_header,
            "on_part_data": lambda data, start, end: self._data(data[start:end]),
            "on_part_end": self._end,
            "on_end": self._end_form,
        }

    def close(self) -> None:
        """Close the file, complete or not."""
        if self._file is not None:
            self._file.close()

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > MOST_PARTS:
            raise HTTPException(400, f"the form has more than {MOST_PARTS} parts")
        self._name, self._value = "", bytearray()

    def _end_header(self) -> None:
        name, value = (bytes(part) for part in self._header)
        self._header = [bytearray(), bytearray()]
        if name.lower() == b"content-disposition":
            self._name = parse_options_header(value)[1].get(b"name", b"").decode("utf-8", "replace")
            if self._name == VIDEO and self.has_video:
                raise HTTPException(400, "the form has more than one video")
            if self._name == VIDEO:
                self.has_video = True
                self._file = self.path.open("wb")

    def _data(self, data: bytes) -> None:
        if self._name == VIDEO and self._file is not None:
            self._size += len(data)
            if self._size > LARGEST_VIDEO_BYTES:
                raise HTTPException(413, f"a video has at most {LARGEST_VIDEO_BYTES} bytes")
            self._file.write(data)
            return
        self._value += data
        if len(self._value) > LONGEST_FIELD_BYTES:
            raise HTTPException(400, f"a field of the form has more than {LONGEST_FIELD_BYTES} bytes")

    def _end(self) -> None:
        if self._name != VIDEO:
            if not self._name or self._name in self.fields:
                raise HTTPException(400, "a part of the form has no name, or that of another")
            self.fields[self._name] = self._value.decode("utf-8", "replace")

    def _end_form(self) -> None:
        self.is_complete = True


async def _receive(request: Request, form: _Form) -> None:
    content_type, options = parse_options_header(request.headers.get("content-type", ""))
    boundary = options.get(b"boundary")
    if content_type != b"multipart/form-data" or not boundary:
        raise HTTPException(400, "the request is no multipart/form-data")
    said = request.headers.get("content-length", "")
    if said.isdigit() and int(said) > LARGEST_VIDEO_BYTES + MOST_PARTS * 2 * LONGEST_FIELD_BYTES:
        raise HTTPException(413, f"a video has at most {LARGEST_VIDEO_BYTES} bytes")
    parser = MultipartParser(boundary, form.callbacks())
    try:
        async for piece in request.stream():
            await run_in_threadpool(parser.write, piece)
        parser.finalize()
    except FormParserError as error:
        raise HTTPException(400, f"the form cannot be read: {error}") from None
    except ClientDisconnect:
        raise HTTPException(400, "the request ended early") from None
    finally:
        form.close()
    if not form.is_complete:
        raise HTTPException(400, "the request ended early")


def _take(take_video: TakeVideo, form: _Form) -> TakenVideo:
    if not form.has_video:
        raise HTTPException(422, f"the form has no part named {VIDEO}")
    fields: Mapping[str, str] = form.fields
    try:
        return take_video(form.path, fields)
    except Refused as error:
        raise HTTPException(422, str(error)) from None
    except StorageUnavailable as error:
        raise HTTPException(507, str(error)) from None
    except Failed as error:
        raise HTTPException(500, str(error)) from None


def _document(taken: TakenVideo) -> VideoDocument:
    stored, wrapped = taken.stored, taken.wrapped
    return VideoDocument(
        study_instance_uid=stored.study_instance_uid,
        series_instance_uid=stored.series_instance_uid,
        sop_instance_uid=stored.sop_instance_uid,
        transfer_syntax_uid=stored.transfer_syntax_uid,
        frames=wrapped.frame_count,
        duration_s=wrapped.duration_s,
        way=wrapped.way.value,
        reasons=list(wrapped.reasons),
        notices=list(wrapped.notices),
    )
