"""Instance files: safe names, nothing overwritten, nothing lost, nothing half."""

from __future__ import annotations

import io
import struct
import subprocess
import threading
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pydicom
import pytest

from dicom_node.errors import InconsistentInstance, NotDicom, StorageUnavailable
from dicom_node.store.instances import SPOOL_BYTES, InstanceStore, StoredInstance, file_name_of
from dicom_node.store.part10 import HEADER_BYTES, read_identity

CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
BIG_ENDIAN, DEFLATED = "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"


def element(tag: int, vr: str, value: bytes, syntax: str = EXPLICIT) -> bytes:
    value += b"\0" * (len(value) % 2)
    order = ">" if syntax == BIG_ENDIAN else "<"
    head = struct.pack(order + "HH", tag >> 16, tag & 0xFFFF)
    if syntax == IMPLICIT:
        return head + struct.pack("<I", len(value)) + value
    if vr == "OW":
        return head + vr.encode() + struct.pack(order + "HI", 0, len(value)) + value
    return head + vr.encode() + struct.pack(order + "H", len(value)) + value


def encoded(
    sop: str = "1.2.3.4",
    study: str = "1.2",
    series: str = "1.2.3",
    pixels: bytes = b"\1\2",
    syntax: str = EXPLICIT,
) -> bytes:
    """A data set with the four UIDs; an empty UID leaves the attribute out."""
    parts = [element(0x00080016, "UI", CT.encode(), syntax)]
    parts += [element(0x00080018, "UI", sop.encode(), syntax)] if sop else []
    parts += [element(0x00100010, "PN", b"NOBODY", syntax)]
    parts += [element(0x0020000D, "UI", study.encode(), syntax)] if study else []
    parts += [element(0x0020000E, "UI", series.encode(), syntax)] if series else []
    data = b"".join([*parts, element(0x7FE00010, "OW", pixels, syntax)])
    if syntax == DEFLATED:
        deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        return deflater.compress(data) + deflater.flush()
    return data


def put(store: InstanceStore, data: bytes, syntax: str = EXPLICIT, **command: str) -> StoredInstance:
    data_set = store.incoming()
    data_set.write(data)
    return store.commit(data_set, transfer_syntax_uid=syntax, calling_ae_title="PACS", **command)


def left_over(data_dir: Path) -> list[Path]:
    return list((data_dir / "instances" / ".incoming").iterdir())


@pytest.fixture
def store(tmp_path: Path) -> InstanceStore:
    return InstanceStore(tmp_path)


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB; needs root, as the tests of CI have it."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG_ENDIAN, DEFLATED])
def test_data_set_is_stored_byte_for_byte_as_a_part_10_file(store: InstanceStore, syntax: str) -> None:
    data = encoded(syntax=syntax)
    stored = put(store, data, syntax, sop_class_uid=CT, sop_instance_uid="1.2.3.4")
    assert stored.path.read_bytes()[HEADER_BYTES:] == data
    assert stored.path == store.path_of("1.2", "1.2.3", "1.2.3.4")
    assert (stored.size_bytes, stored.transfer_syntax_uid) == (len(data), syntax)
    read = pydicom.dcmread(stored.path)
    assert read.file_meta.TransferSyntaxUID == syntax
    assert read.file_meta.MediaStorageSOPInstanceUID == read.SOPInstanceUID == "1.2.3.4"
    assert read.PixelData == b"\1\2"


def test_large_data_set_is_written_while_it_arrives(store: InstanceStore, tmp_path: Path) -> None:
    data = encoded(pixels=bytes(3 * SPOOL_BYTES))
    data_set = store.incoming()
    for start in range(0, len(data), 100_000):
        data_set.write(data[start : start + 100_000])
    assert len(left_over(tmp_path)) == 1
    assert not data_set._memory
    stored = store.commit(data_set, transfer_syntax_uid=EXPLICIT)
    assert stored.path.read_bytes()[HEADER_BYTES:] == data
    assert left_over(tmp_path) == []


def test_same_instance_twice_is_harmless(store: InstanceStore) -> None:
    first, second = put(store, encoded()), put(store, encoded())
    assert (first.already_had, second.already_had) == (False, True)
    assert second.path == first.path
    assert second.received_at == first.received_at
    assert store.files_of_series("1.2", "1.2.3") == [first.path]


def test_other_content_under_the_same_uid_is_kept_apart_and_flagged(store: InstanceStore) -> None:
    first = put(store, encoded(pixels=b"\1\2"))
    other = put(store, encoded(pixels=b"\3\4"))
    again = put(store, encoded(pixels=b"\3\4"))
    assert other.conflict
    assert again.conflict
    assert again.already_had
    assert again.path == other.path != first.path
    assert first.path.read_bytes().endswith(b"\1\2")
    assert other.path.read_bytes().endswith(b"\3\4")
    assert store.files_of_series("1.2", "1.2.3") == [first.path]
    assert len(store.files_of_series("1.2", "1.2.3", conflicts=True)) == 2


def test_file_damaged_since_does_not_count_as_held(store: InstanceStore) -> None:
    first = put(store, encoded())
    first.path.write_bytes(first.path.read_bytes()[:-4])
    second = put(store, encoded())
    assert not second.already_had
    assert second.path != first.path
    assert second.path.read_bytes()[HEADER_BYTES:] == encoded()


def test_racing_senders_of_one_instance_leave_one_file(store: InstanceStore, tmp_path: Path) -> None:
    start = threading.Barrier(8)

    def send(number: int) -> StoredInstance:
        start.wait()
        return put(store, encoded(pixels=bytes([number % 2, 0])))

    with ThreadPoolExecutor(8) as pool:
        stored = list(pool.map(send, range(8)))
    assert sum(not instance.already_had for instance in stored) == 2
    assert len({instance.path for instance in stored}) == 2
    assert len(store.files_of_series("1.2", "1.2.3", conflicts=True)) == 2
    assert {instance.path.read_bytes()[-2:] for instance in stored} == {b"\0\0", b"\1\0"}
    assert left_over(tmp_path) == []


@pytest.mark.parametrize(
    "uid",
    [
        "../../../etc/x",
        "/etc/passwd",
        "..",
        ".",
        "1.2/../../3",
        "~",
        "CON",
        "a" * 64,
        "1..2",
        ".1",
        "1.",
        "%2e",
    ],
)
def test_no_uid_leads_out_of_the_data_folder(store: InstanceStore, tmp_path: Path, uid: str) -> None:
    stored = put(store, encoded(sop=uid, study=uid, series=uid))
    assert stored.sop_instance_uid == uid
    assert stored.path.resolve().is_relative_to(tmp_path / "instances")
    assert len(stored.path.resolve().relative_to(tmp_path / "instances").parts) == 3
    assert not any(part.startswith(".") for part in stored.path.relative_to(tmp_path).parts)
    assert store.read(stored.path) == stored


def test_file_names_are_short_and_distinct() -> None:
    names = {file_name_of(uid) for uid in ("1.2", "1.2/", "1.2 ", "x" * 500, "y" * 500, "\0")}
    assert len(names) == 6
    assert max(map(len, names)) <= 64


@pytest.mark.parametrize(
    ("missing", "attribute"),
    [("sop", "SOPInstanceUID"), ("study", "StudyInstanceUID"), ("series", "SeriesInstanceUID")],
)
def test_data_set_without_a_uid_is_refused_by_name(
    store: InstanceStore, missing: str, attribute: str
) -> None:
    with pytest.raises(NotDicom, match=attribute) as caught:
        put(store, encoded(**{missing: ""}))
    assert caught.value.attribute == attribute
    with pytest.raises(NotDicom, match=attribute):
        put(store, encoded(**{missing: "  "}))


@pytest.mark.parametrize("uid", ["1" * 65, "1.2\\1.3", "1.2\n3", "1 2"])
def test_what_is_not_one_uid_is_refused(store: InstanceStore, uid: str, tmp_path: Path) -> None:
    with pytest.raises(NotDicom, match="SeriesInstanceUID"):
        put(store, encoded(series=uid))
    assert left_over(tmp_path) == []


@pytest.mark.filterwarnings("ignore:Expected (explicit|implicit) VR")  # how pydicom says that it guesses
@pytest.mark.parametrize(
    "data", [b"", b"\0", b"not DICOM at all, only text " * 10, b"\xff" * 4096, bytes(4096)]
)
@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG_ENDIAN, DEFLATED])
def test_bytes_that_are_no_data_set_are_refused(store: InstanceStore, data: bytes, syntax: str) -> None:
    with pytest.raises(NotDicom):
        put(store, data, syntax)


def test_identifiers_behind_a_megabyte_of_others_are_found_in_a_deflated_data_set() -> None:
    private = b"".join(element(0x00090010 + n, "LO", bytes([65 + n % 20]) * 60_000) for n in range(0, 60, 2))
    plain = element(0x00080016, "UI", CT.encode()) + element(0x00080018, "UI", b"1.5") + private
    plain += element(0x0020000D, "UI", b"1.2") + element(0x0020000E, "UI", b"1.3")
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    data = deflater.compress(plain) + deflater.flush()
    assert read_identity(io.BytesIO(data), DEFLATED).series_instance_uid == "1.3"


def test_data_set_that_contradicts_its_command_is_refused(store: InstanceStore) -> None:
    with pytest.raises(InconsistentInstance, match="SOPClassUID"):
        put(store, encoded(), sop_class_uid="1.2.840.10008.5.1.4.1.1.4")
    with pytest.raises(InconsistentInstance, match="SOPInstanceUID"):
        put(store, encoded(), sop_class_uid=CT, sop_instance_uid="9.9")


@pytest.mark.parametrize("size", [900_000, 4_000_000])
def test_full_disk_is_told_and_leaves_nothing_behind(full_disk: Path, size: int) -> None:
    store = InstanceStore(full_disk)
    put(store, encoded(sop="1.1", pixels=bytes(200_000)))
    with pytest.raises(StorageUnavailable, match="No space left"):
        put(store, encoded(sop="1.2", pixels=bytes(size)))
    assert left_over(full_disk) == []
    assert put(store, encoded(sop="1.3", pixels=bytes(200_000))).path.exists()
    assert len(list(store.recover())) == 2


def test_folder_that_is_gone_is_told(full_disk: Path) -> None:
    store = InstanceStore(full_disk)
    subprocess.run(["mount", "-o", "remount,ro", str(full_disk)], check=True)
    with pytest.raises(StorageUnavailable, match="Read-only"):
        put(store, encoded())
    with pytest.raises(StorageUnavailable):
        InstanceStore(full_disk / "other")


def test_reserve_of_free_space_is_kept(tmp_path: Path) -> None:
    with pytest.raises(StorageUnavailable, match="almost full"):
        put(InstanceStore(tmp_path, reserve_bytes=1 << 60), encoded())


def test_recovery_finds_every_instance_and_removes_what_was_never_completed(
    store: InstanceStore, tmp_path: Path
) -> None:
    stored = [put(store, encoded(sop=f"1.2.{n}", pixels=bytes([n, 0]))) for n in range(3)]
    stored.append(put(store, encoded(sop="1.2.0", pixels=b"\7\7")))
    (tmp_path / "instances" / ".incoming" / "dead.part").write_bytes(b"half")
    foreign = stored[0].path.with_name("foreign.dcm")
    foreign.write_bytes(b"not ours")
    again = InstanceStore(tmp_path)
    assert sorted(again.recover(), key=lambda s: s.path) == sorted(stored, key=lambda s: s.path)
    assert left_over(tmp_path) == []
    assert [s.path for s in again.recover({s.path for s in stored[1:]})] == [stored[0].path]


def test_recovery_leaves_alone_what_is_being_written(store: InstanceStore, tmp_path: Path) -> None:
    data_set = store.incoming()
    data = encoded(pixels=bytes(2 * SPOOL_BYTES))
    data_set.write(data)
    assert list(InstanceStore(tmp_path).recover()) == []
    assert store.commit(data_set, transfer_syntax_uid=EXPLICIT).path.read_bytes()[HEADER_BYTES:] == data


def test_study_folder_that_was_removed_is_made_again(store: InstanceStore) -> None:
    first = put(store, encoded())
    first.path.unlink()
    first.path.parent.rmdir()
    first.path.parent.parent.rmdir()
    assert put(store, encoded()).path == first.path
