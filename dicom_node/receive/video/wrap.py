"""Makes a DICOM object of a video file: probe, plan, convert, describe, encapsulate."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final

from dicom_node.errors import Failed, Refused, StorageUnavailable
from dicom_node.receive.video.convert import convert
from dicom_node.receive.video.dataset import (
    Stream,
    Subject,
    Walk,
    check_subject,
    check_walk,
    video_dataset,
)
from dicom_node.receive.video.encapsulate import write_object
from dicom_node.receive.video.plan import Plan, Way, plan
from dicom_node.receive.video.probe import VideoFacts, probe
from operators.video.photographic import Codec, StreamFacts

OnStep = Callable[[str, float], None]
"""Told what is being done, in words, and which share of it is done."""

EXIT_REFUSED: Final = 3
BLUR_TIMEOUT_S: Final = 3600.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrapped:
    """An object that was made of a video.

    Attributes:
        path: Of the object.
        way: What was done with the pictures.
        reasons: Why they were copied or encoded.
        frame_count: Of the object.
        duration_s: Of the object.
        notices: Sentences that a person should read.
    """

    path: Path
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    transfer_syntax_uid: str
    way: Way
    reasons: tuple[str, ...]
    frame_count: int
    duration_s: float
    notices: tuple[str, ...]


def wrap(
    video: Path,
    output: Path,
    subject: Subject,
    walk: Walk,
    *,
    keep_sound: bool = False,
    blur_faces: bool = False,
    on_step: OnStep = lambda _what, _share: None,
) -> Wrapped:
    """Make a Video Photographic Image of a video file.

    Args:
        video: Any file that FFmpeg reads.
        output: The object; passing files lie beside it.
        subject: Whose video it is.
        walk: How it was filmed; what it leaves open is taken from the file.
        keep_sound: Let the sound stay.
        blur_faces: Hide faces before the object is made.
        on_step: Told how far it is.

    Raises:
        Refused: The video cannot be wrapped, or patient or walk are not told rightly.
        Failed: Faces could not be hidden.
        StorageUnavailable: The disk is full or cannot be written.
    """
    check_subject(subject)
    check_walk(walk)
    on_step("reading the video", 0.0)
    facts = probe(video)
    chosen = plan(facts, keep_sound=keep_sound)
    walk = replace(
        walk,
        recorded_at=walk.recorded_at or facts.recorded_at,
        maker=walk.maker or facts.maker,
        model=walk.model or facts.model,
    )
    with _workshop(output) as folder:
        stream, made = _stream(video, facts, chosen, folder, on_step)
        hidden_in = ""
        if blur_faces:
            stream, made, hidden_in = _without_faces(stream, folder, on_step)
        described = _described(made, chosen, stream, hidden_in=hidden_in, keep_sound=keep_sound)
        dataset = video_dataset(subject, walk, described, datetime.now().astimezone())
        write_object(output, dataset, stream, on_progress=lambda share: on_step("writing the object", share))
    logger.info(
        "wrapped a video",
        extra={"action": "video_wrapped", "way": chosen.way.value, "frames": made.frame_count},
    )
    return Wrapped(
        path=output,
        sop_instance_uid=str(dataset.SOPInstanceUID),
        study_instance_uid=str(dataset.StudyInstanceUID),
        series_instance_uid=str(dataset.SeriesInstanceUID),
        transfer_syntax_uid=str(dataset.file_meta.TransferSyntaxUID),
        way=Way.ENCODE if blur_faces else chosen.way,
        reasons=(*chosen.reasons, *(("its faces are hidden",) if blur_faces else ())),
        frame_count=made.frame_count,
        duration_s=float(made.frame_count / made.timing.rate),
        notices=tuple(_notices(subject, walk, facts, chosen, hidden_in)),
    )


@contextmanager
def _workshop(output: Path) -> Iterator[Path]:
    """A folder for passing files, on the disk that the object will be on."""
    try:
        with tempfile.TemporaryDirectory(prefix=".wrap-", dir=output.parent) as folder:
            yield Path(folder)
    except OSError as error:
        raise StorageUnavailable(f"{output.parent}: {error.strerror or error}") from error


def _stream(
    video: Path, facts: VideoFacts, chosen: Plan, folder: Path, on_step: OnStep
) -> tuple[Path, VideoFacts]:
    """The file of the stream, and what it is."""
    if chosen.way is Way.WHOLE_FILE:
        return video, facts
    target = folder / "stream.mp4"
    doing = "encoding" if chosen.way is Way.ENCODE else "copying the pictures"
    convert(video, target, facts, chosen, lambda share: on_step(doing, share))
    made = probe(target)
    _require_fit(made, keep_sound=chosen.keep_sound)
    if chosen.way is Way.COPY_PICTURES and made.frame_count != facts.frame_count:
        raise Failed(f"{made.frame_count} of {facts.frame_count} frames were copied")
    return target, made


def _require_fit(made: VideoFacts, *, keep_sound: bool) -> None:
    """What we made ourselves is judged like what came in."""
    judged = plan(made, keep_sound=keep_sound)
    if judged.way is not Way.WHOLE_FILE:
        raise Failed(f"the stream made does not fit: {'; '.join(judged.reasons)}")


def _without_faces(stream: Path, folder: Path, on_step: OnStep) -> tuple[Path, VideoFacts, str]:
    """Hide faces, and say in how many frames, in a process of its own: the service imports no OpenCV."""
    target = folder / "faceless.mp4"
    on_step("hiding faces", 0.0)
    try:
        finished = subprocess.run(
            [sys.executable, "-m", "operators.command", "blur-faces", str(stream), str(target)],
            capture_output=True,
            text=True,
            timeout=BLUR_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Failed("hiding faces took too long") from None
    said = " ".join(finished.stderr.split())  # the other process breaks long lines
    if finished.returncode == EXIT_REFUSED:
        raise Refused(said.rpartition("Refused: ")[2] or "faces cannot be hidden")
    if finished.returncode != 0:
        raise Failed(f"faces could not be hidden: {said[-300:]}")
    made = probe(target)
    _require_fit(made, keep_sound=True)
    counts = json.loads(finished.stdout)
    return target, made, f"{counts['frames_with_face']} of {counts['frames']} frames"


def _described(made: VideoFacts, chosen: Plan, stream: Path, *, hidden_in: str, keep_sound: bool) -> Stream:
    history = []
    if chosen.way is Way.ENCODE:
        history.append(f"encoded anew as H.264, because {'; '.join(chosen.reasons)}")
    elif chosen.way is Way.COPY_PICTURES:
        history.append(f"coded pictures copied into a new MP4, because {'; '.join(chosen.reasons)}")
    if hidden_in:
        history.append(f"faces that a detector found, in {hidden_in}, are hidden; no person has checked")
    return Stream(
        facts=StreamFacts(
            codec=Codec.H264,
            columns=made.width,
            rows=made.height,
            frames=made.frame_count,
            frame_rate=made.timing.rate,
            byte_count=stream.stat().st_size,
        ),
        transfer_syntax_uid=plan(made, keep_sound=keep_sound).level.transfer_syntax_uid,
        audio_channels=made.audio_channels if chosen.keep_sound else 0,
        history=". ".join(history),
        has_other_pixels=bool(hidden_in),
    )


def _notices(subject: Subject, walk: Walk, facts: VideoFacts, chosen: Plan, hidden_in: str) -> Iterator[str]:
    if hidden_in:
        yield f"a face was found and hidden in {hidden_in}: look at the video before it leaves the house"
    if walk.recorded_at is None:
        yield "when it was recorded is not known: Study Date stays empty; --recorded-at says it"
    if not subject.study_instance_uid:
        yield "a new study was begun; --study-uid or --worklist puts the video into one that exists"
    if facts.audio_codec and not chosen.keep_sound:
        yield "the sound was left out; --keep-sound keeps it"
    if chosen.rate != facts.timing.rate:
        yield f"{float(facts.timing.rate):g} frames/s became {float(chosen.rate):g}, which level 4.2 can hold"
