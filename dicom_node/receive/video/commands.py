"""``dicom-node wrap-video`` and ``dicom-node unwrap-video``."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from dicom_node.errors import Failed, Misconfigured, Refused, StorageUnavailable, Undelivered
from dicom_node.progress import show_progress

if TYPE_CHECKING:
    from dicom_node.receive.video.dataset import Subject
    from dicom_node.receive.video.wrap import Wrapped

EXIT_FAILED, EXIT_MISUSED, EXIT_REFUSED = 1, 2, 3
_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@contextmanager
def _exit_status() -> Iterator[None]:
    """Say on standard error why it ended, and end with the status for it."""
    try:
        yield
    except Misconfigured as error:
        _leave(str(error), EXIT_MISUSED)
    except Refused as error:
        _leave(f"refused: {error}", EXIT_REFUSED)
    except (Failed, Undelivered, StorageUnavailable) as error:
        _leave(f"failed: {error}", EXIT_FAILED)


def _leave(message: str, status: int) -> NoReturn:
    click.echo(message, err=True)
    sys.exit(status)


@click.command("wrap-video")
@click.argument("video", type=_FILE)
@click.option("--patient-id", default="", help="Patient ID; with --worklist what to ask for.")
@click.option("--patient-name", default="", help="As DICOM writes it: FAMILY^GIVEN.")
@click.option("--birth-date", default="", help="YYYYMMDD or YYYY-MM-DD.")
@click.option("--sex", default="", help="M, F or O.")
@click.option("--accession-number", default="", help="With --worklist what to ask for.")
@click.option(
    "--study-uid", default="", help="Study Instance UID of a study that exists; default: a new one."
)
@click.option(
    "--worklist", metavar="AE@HOST:PORT", help="Take patient and study from this modality worklist."
)
@click.option(
    "--view",
    type=click.Choice(["frontal", "sagittal", "oblique"]),
    required=True,
    help="From where the walk was filmed.",
)
@click.option("--task", default="", help='What was walked: "SARA gait", "tandem", "10 m".')
@click.option("--aid", default="", help="Walking aid, in words.")
@click.option("--distance-m", default="", help="Length of the walkway in metres.")
@click.option("--recorded-at", default="", help="ISO date and time; default: what the file says.")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Write the object here.")
@click.option("--send", "send_to", metavar="AE@HOST:PORT", help="Send the object here (C-STORE).")
@click.option("--calling-ae", default="DICOMNODE", show_default=True, help="AE title under which to call.")
@click.option("--blur-faces", is_flag=True, help="Hide faces before the object is made.")
@click.option("--keep-sound", is_flag=True, help="Keep the sound, which is else left out.")
def wrap_video(
    video: Path,
    output: Path | None,
    send_to: str | None,
    worklist: str | None,
    calling_ae: str,
    blur_faces: bool,
    keep_sound: bool,
    **said: str,
) -> None:
    """Make a DICOM object of a VIDEO of a walk, and write or send it.

    A stream that DICOM takes (H.264 High profile, level 4.1 or 4.2, progressive, constant frame
    rate) stays as it is, byte for byte; any other is encoded anew. Patient and study come from the
    options or from a worklist; what nobody says stays empty.

    Exit status: 0 done, 3 refused (the reason on standard error), 1 failed, 2 wrong use.
    """
    from dicom_node.receive.video.peer import Peer
    from dicom_node.receive.video.said import walk_of
    from dicom_node.receive.video.send import send_file
    from dicom_node.receive.video.wrap import wrap

    if output is None and send_to is None:
        raise click.UsageError("nowhere to put the object: give --output or --send")
    with _exit_status(), ExitStack() as stack:
        peer = Peer.parse(send_to) if send_to else None
        subject = _subject(said, worklist, calling_ae)
        is_kept = output is not None
        if output is None:
            output = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "video.dcm"
        with show_progress() as on_step:
            wrapped = wrap(
                video,
                output,
                subject,
                walk_of(said),
                keep_sound=keep_sound,
                blur_faces=blur_faces,
                on_step=on_step,
            )
            if peer is not None:
                on_step(f"sending to {peer}", 0.0)
                send_file(output, peer, calling_ae)
        _tell(wrapped, output if is_kept else None, peer)


def _subject(said: dict[str, str], worklist: str | None, calling_ae: str) -> Subject:
    """Of the worklist, or of the options; an option that contradicts the worklist is refused.

    Raises:
        Refused: As the worklist, or a contradiction.
    """
    from dicom_node.receive.video.peer import Peer
    from dicom_node.receive.video.said import subject_of
    from dicom_node.receive.video.worklist import ask_worklist

    given = subject_of(said)
    if worklist is None:
        if not given.patient_id.strip():
            raise Misconfigured(
                "no patient: give --patient-id, or --worklist with --patient-id or --accession-number"
            )
        return given
    found = ask_worklist(
        Peer.parse(worklist),
        calling_ae,
        patient_id=given.patient_id,
        accession_number=given.accession_number,
    )
    for name in ("patient_name", "birth_date", "sex", "study_instance_uid"):
        wanted, listed = getattr(given, name), getattr(found, name)
        if wanted and listed and wanted != listed:
            option = "--study-uid" if name == "study_instance_uid" else f"--{name.replace('_', '-')}"
            raise Refused(f"{option} differs from the worklist's entry; leave it out or correct one of them")
        if wanted and not listed:
            found = replace(found, **{name: wanted})
    return found


def _tell(wrapped: Wrapped, output: Path | None, peer: object | None) -> None:
    where = " and ".join(filter(None, (str(output or ""), f"sent to {peer}" if peer else "")))
    click.echo(
        f"{where}: {wrapped.frame_count} frames, {wrapped.duration_s:.1f} s, {wrapped.way.value}, "
        f"SOP Instance UID {wrapped.sop_instance_uid}"
    )
    for reason in wrapped.reasons:
        click.echo(f"  {wrapped.way.value}: {reason}", err=True)
    for notice in wrapped.notices:
        click.echo(f"  note: {notice}", err=True)


@click.command("unwrap-video")
@click.argument("path", metavar="OBJECT", type=_FILE)
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), required=True)
def unwrap_video(path: Path, output: Path) -> None:
    """Take the video stream out of a DICOM OBJECT, as it went in.

    Exit status: 0 done, 3 refused (the reason on standard error), 1 failed, 2 wrong use.
    """
    from dicom_node.receive.video.encapsulate import unwrap

    with _exit_status():
        size = unwrap(path, output)
        click.echo(f"{output}: {size} bytes")
