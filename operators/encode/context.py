"""Patient, study and equipment of a result: copied from the source, never edited.

highdicom checks the values it is given, and clinical data break its checks. It
therefore gets a `stand_in` without the patient; `complete` then copies the real
attributes, with the source's character set, so that an archive finds the same bytes.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone

from pydicom.dataset import Dataset
from pydicom.uid import UID

from operators.encode.codes import MANUFACTURER, private_coding_scheme
from operators.encode.identity import Producer

PATIENT_KEYWORDS = (
    "PatientName", "PatientID", "IssuerOfPatientID", "TypeOfPatientID",
    "IssuerOfPatientIDQualifiersSequence", "SourcePatientGroupIdentificationSequence",
    "PatientBirthDate", "PatientBirthTime", "PatientSex", "QualityControlSubject",
    "OtherPatientIDs", "OtherPatientIDsSequence", "OtherPatientNames", "EthnicGroup",
    "PatientComments", "PatientIdentityRemoved", "DeidentificationMethod",
    "DeidentificationMethodCodeSequence", "PatientSpeciesDescription",
    "ReferencedPatientSequence", "ReferencedPatientPhotoSequence",
    "ClinicalTrialSponsorName", "ClinicalTrialProtocolID", "ClinicalTrialProtocolName",
    "ClinicalTrialSiteID", "ClinicalTrialSiteName", "ClinicalTrialSubjectID",
    "ClinicalTrialSubjectReadingID",
)  # fmt: skip
"""Patient (PS3.3 C.7.1.1) and Clinical Trial Subject (C.7.1.3) modules."""

STUDY_KEYWORDS = (
    "StudyInstanceUID", "StudyDate", "StudyTime", "StudyID", "AccessionNumber",
    "IssuerOfAccessionNumberSequence", "StudyDescription", "ReferringPhysicianName",
    "ReferringPhysicianIdentificationSequence", "ConsultingPhysicianName",
    "PhysiciansOfRecord", "PhysiciansOfRecordIdentificationSequence",
    "NameOfPhysiciansReadingStudy", "PhysiciansReadingStudyIdentificationSequence",
    "RequestingServiceCodeSequence", "ReferencedStudySequence", "ProcedureCodeSequence",
    "ReasonForPerformedProcedureCodeSequence",
    "AdmittingDiagnosesDescription", "AdmittingDiagnosesCodeSequence", "PatientAge",
    "PatientSize", "PatientWeight", "PatientBodyMassIndex", "PatientSizeCodeSequence",
    "MedicalAlerts", "Allergies", "SmokingStatus", "PregnancyStatus", "LastMenstrualDate",
    "PatientState", "Occupation", "AdditionalPatientHistory", "AdmissionID",
    "IssuerOfAdmissionIDSequence", "ServiceEpisodeID", "ServiceEpisodeDescription",
    "PatientSexNeutered",
    "ClinicalTrialTimePointID", "ClinicalTrialTimePointDescription",
)  # fmt: skip
"""General Study (PS3.3 C.7.2.1), Patient Study (C.7.2.2), Clinical Trial Study (C.7.2.3)."""

COPIED_KEYWORDS = ("SpecificCharacterSet", "TimezoneOffsetFromUTC", *PATIENT_KEYWORDS, *STUDY_KEYWORDS)
TYPE_2_KEYWORDS = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime",
    "StudyID", "AccessionNumber", "ReferringPhysicianName",
)  # fmt: skip
"""Must be present in a result, empty when the source has none."""
UNICODE = "ISO_IR 192"


def stand_in(source: Dataset) -> Dataset:
    """A copy of a source header with the same UIDs but nothing of the patient.

    Args:
        source: Header of an instance; pixel data, if any, are not copied.
    """
    blank = Dataset()
    for element in source.group_dataset(0x0028):
        blank.add(copy.deepcopy(element))
    skipped = {*COPIED_KEYWORDS, "PixelData"}
    for element in source:
        if element.keyword not in skipped and not element.tag.is_private and element.tag not in blank:
            blank.add(copy.deepcopy(element))
    for keyword in TYPE_2_KEYWORDS:
        setattr(blank, keyword, "")
    blank.StudyInstanceUID = source.StudyInstanceUID
    if hasattr(source, "file_meta"):
        blank.file_meta = copy.deepcopy(source.file_meta)
    return blank


def copy_patient_and_study(source: Dataset, target: Dataset) -> None:
    """Make patient and study of the target those of the source, unaltered.

    What the source has not, the target has not either, except that attributes of
    type 2 are then present and empty.

    >>> a, b = Dataset(), Dataset()
    >>> a.PatientName, b.PatientID = "Yamada^Tarou=山田^太郎", "stale"
    >>> copy_patient_and_study(a, b)
    >>> str(b.PatientName), b.PatientID
    ('Yamada^Tarou=山田^太郎', '')
    """
    for keyword in COPIED_KEYWORDS:
        if keyword in source:
            target.add(copy.deepcopy(source[keyword]))
        elif keyword in TYPE_2_KEYWORDS:
            setattr(target, keyword, "")
        elif keyword in target:
            delattr(target, keyword)


def use_unicode_for(texts: Sequence[str], target: Dataset) -> None:
    """Change the target to UTF-8 when its character set may lack one of the texts.

    The source's character set is kept for ASCII text, so that an archive which
    compares bytes sees the same name.
    """
    if not all(text.isascii() for text in texts):
        target.SpecificCharacterSet = UNICODE


def local_time(source: Dataset, producer: Producer) -> datetime:
    """When the results were made, in the source's time zone, else in this machine's."""
    offset = str(source.get("TimezoneOffsetFromUTC", ""))
    if len(offset) == 5 and offset[0] in "+-" and offset[1:].isdigit():
        minutes = int(offset[1:3]) * 60 + int(offset[3:])
        zone = timezone(timedelta(minutes=minutes if offset[0] == "+" else -minutes))
        return producer.created.astimezone(zone)
    return producer.created.astimezone()


def complete(
    target: Dataset, source: Dataset, producer: Producer, *, label: str, texts: Sequence[str] = ()
) -> None:
    """Give a result its patient, study, equipment and times; the last step of a builder.

    Args:
        target: The result being built.
        source: Header of one of the instances it was made from.
        producer: Who made it.
        label: Start of its Series Description.
        texts: Further texts in it that are not the source's, and may need another character set.

    Raises:
        ValueError: The label is too long for a Series Description.
    """
    copy_patient_and_study(source, target)
    target.SeriesDescription = producer.series_description(label)
    target.Manufacturer = MANUFACTURER
    target.ManufacturerModelName = producer.model_name
    target.DeviceSerialNumber = producer.device_serial_number
    target.SoftwareVersions = list(producer.software_versions)
    target.StationName = producer.node_name[:16]
    if "InstitutionName" in source:
        target.add(copy.deepcopy(source["InstitutionName"]))
    now = local_time(source, producer)
    date, time = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    target.SeriesDate = target.InstanceCreationDate = target.ContentDate = date
    target.SeriesTime = target.InstanceCreationTime = target.ContentTime = time
    target.InstanceCreatorUID = producer.device_uid
    equipment = [producer.contributing_equipment()]
    equipment += [item for item in target.get("ContributingEquipmentSequence", []) if _is_acquisition(item)]
    target.ContributingEquipmentSequence = equipment
    target.CodingSchemeIdentificationSequence = [private_coding_scheme()]
    use_unicode_for([label, producer.title, producer.statement, *texts], target)


def _is_acquisition(item: Dataset) -> bool:
    return bool(item.PurposeOfReferenceCodeSequence[0].CodeValue == "109101")


def reference(instance: Dataset) -> Dataset:
    """Item that names an instance: SOP Instance Reference Macro (PS3.3 10.8)."""
    item = Dataset()
    item.ReferencedSOPClassUID = UID(instance.SOPClassUID)
    item.ReferencedSOPInstanceUID = UID(instance.SOPInstanceUID)
    return item
