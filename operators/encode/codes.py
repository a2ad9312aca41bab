"""Codes that several apps write, and the private scheme for the rest.

SNOMED CT codes are only those listed by PS3.16; what has no standard code is
private, under `PRIVATE_SCHEME`, which every object that uses it declares. Needs pydicom
only, because the service writes codes too.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

PRIVATE_SCHEME = "99DAIN"
PRIVATE_SCHEME_UID = "2.25.231476013297158614386424373110296412207"
PRIVATE_SCHEME_NAME = "DICOM node private codes"
MANUFACTURER = "DICOM node project"
"""Of what is made here, and responsible for the private scheme."""
CODE_VALUE_LIMIT = 16
"""Longest Code Value (SH, PS3.5 6.2)."""

ANATOMICAL_STRUCTURE = Code("91723000", "SCT", "Anatomical Structure")
MORPHOLOGICALLY_ABNORMAL = Code("49755003", "SCT", "Morphologically Abnormal Structure")
PHYSICAL_OBJECT = Code("260787004", "SCT", "Physical object")

HEART = Code("80891009", "SCT", "Heart")
LUNG = Code("39607008", "SCT", "Lung")
LIVER = Code("10200004", "SCT", "Liver")
MEDIASTINUM = Code("72410000", "SCT", "Mediastinum")
RIGHT = Code("24028007", "SCT", "Right")
LEFT = Code("7771000", "SCT", "Left")

HIP_JOINT = Code("24136001", "SCT", "Hip joint")
PROXIMAL_FEMUR = Code("310651003", "SCT", "Proximal Femur")
VERTEBRAE = {
    level: Code(value, "SCT", f"{level} vertebra")
    for level, value in (
        ("C1", "14806007"),
        ("C2", "39976000"),
        ("C3", "113205007"),
        ("C4", "5329002"),
        ("C5", "36978003"),
        ("C6", "36054005"),
        ("C7", "87391001"),
        ("T1", "64864005"),
        ("T2", "53733008"),
        ("T3", "1626008"),
        ("T4", "73071006"),
        ("T5", "56401006"),
        ("T6", "45296009"),
        ("T7", "62487009"),
        ("T8", "11068009"),
        ("T9", "82687006"),
        ("T10", "7610001"),
        ("T11", "12989004"),
        ("T12", "23215003"),
        ("L1", "66794005"),
        ("L2", "14293000"),
        ("L3", "36470004"),
        ("L4", "11994002"),
        ("L5", "49668003"),
    )
}
"""By level, from head to feet (CID 7151)."""
VERTEBRA = Code("51282000", "SCT", "Vertebra")

FEMORAL_NECK_FRACTURE = Code("S72.0", "I10", "Fracture of neck of femur")
FEMORAL_NECK_FRACTURE_SCT = Code("5913000", "SCT", "Fracture of neck of femur")
"""Not listed by PS3.16: an equivalent of `FEMORAL_NECK_FRACTURE` only."""
PERTROCHANTERIC_FRACTURE = Code("S72.1", "I10", "Pertrochanteric fracture")
BONE_METASTASIS = Code("C79.5", "I10", "Secondary malignant neoplasm of bone and bone marrow")
BONE_METASTASIS_SCT = Code("94222008", "SCT", "Bony metastasis")
OSTEOPOROTIC_FRACTURE = Code("M80", "I10", "Osteoporosis with pathological fracture")
INDETERMINATE = Code("82334004", "SCT", "Indeterminate")

IMAGE_VIEW = Code("111031", "DCM", "Image View")
ANTERO_POSTERIOR = Code("399348003", "SCT", "antero-posterior")
LATERAL = Code("399067008", "SCT", "lateral")

MEAN = Code("373098007", "SCT", "Mean")
STANDARD_DEVIATION = Code("386136009", "SCT", "Standard Deviation")
MAXIMUM = Code("56851009", "SCT", "Maximum")
TOTAL = Code("255619001", "SCT", "Total")
VOLUME = Code("118565006", "SCT", "Volume")
PROBABILITY = Code("122157", "DCM", "Probability")
NM_TOMOGRAPHIC_ACTIVITY = Code("110821", "DCM", "Nuclear Medicine Tomographic Activity")
ADMINISTERED_ACTIVITY = Code("113507", "DCM", "Administered activity")
ATTENUATION_COEFFICIENT = Code("112031", "DCM", "Attenuation Coefficient")
ARTIFICIAL_INTELLIGENCE = Code("123110", "DCM", "Artificial Intelligence")
PROCESSING_EQUIPMENT = Code("109102", "DCM", "Processing Equipment")
COMMENT = Code("121106", "DCM", "Comment")
QUALITATIVE_EVALUATIONS = Code("C0034375", "UMLS", "Qualitative Evaluations")
IMAGING_MEASUREMENT_REPORT = Code("126000", "DCM", "Imaging Measurement Report")

MILLILITRE = Code("cm3", "UCUM", "cubic centimeter")
RATIO = Code("{ratio}", "UCUM", "ratio")
PERCENT = Code("%", "UCUM", "Percent")
COUNTS = Code("{counts}", "UCUM", "Counts")
PROPORTIONAL_TO_COUNTS = Code("{propcounts}", "UCUM", "Proportional to counts")
NO_UNITS = Code("1", "UCUM", "no units")
MEGABECQUEREL = Code("MBq", "UCUM", "megabecquerel")
MINUTE = Code("min", "UCUM", "minute")
HOUR = Code("h", "UCUM", "hour")
KILOGRAM = Code("kg", "UCUM", "kilogram")
HOUNSFIELD = Code("[hnsf'U]", "UCUM", "Hounsfield unit")
MILLIMETRE = Code("mm", "UCUM", "mm")


_UNITS = {
    unit.value: unit
    for unit in (
        MILLILITRE,
        RATIO,
        PERCENT,
        COUNTS,
        PROPORTIONAL_TO_COUNTS,
        NO_UNITS,
        MEGABECQUEREL,
        MINUTE,
        HOUR,
        KILOGRAM,
        HOUNSFIELD,
        MILLIMETRE,
    )
} | {"mL": MILLILITRE, "ml": MILLILITRE}


def unit_code(unit: str) -> Code:
    """The coded unit of a UCUM symbol; millilitres become the ``cm3`` that PS3.16 lists.

    >>> unit_code("{ratio}").meaning, unit_code("mL").value
    ('ratio', 'cm3')
    """
    return _UNITS.get(unit) or Code(unit, "UCUM", unit)


def code(value: str, scheme: str, meaning: str) -> Code:
    """A code of any scheme; of SNOMED CT only those that PS3.16 lists."""
    return Code(value, scheme, meaning)


def private(value: str, meaning: str) -> Code:
    """A code of the private scheme.

    Raises:
        ValueError: The value is empty or longer than a Code Value may be.

    >>> private("HMR_RAW", "Heart to mediastinum ratio").scheme_designator
    '99DAIN'
    """
    if not 0 < len(value) <= CODE_VALUE_LIMIT:
        raise ValueError(f"code value {value!r} must have 1 to {CODE_VALUE_LIMIT} characters")
    return Code(value, PRIVATE_SCHEME, meaning)


AI_CLASSIFICATION = private("AI_CLASS", "AI classification")
NO_FRACTURE = private("NO_FRACTURE", "No fracture detected")


def private_coding_scheme() -> Dataset:
    """Item that declares the private scheme (PS3.3 C.12.1.1.10).

    >>> private_coding_scheme().CodingSchemeDesignator
    '99DAIN'
    """
    item = Dataset()
    item.CodingSchemeDesignator, item.CodingSchemeUID = PRIVATE_SCHEME, PRIVATE_SCHEME_UID
    item.CodingSchemeName = PRIVATE_SCHEME_NAME
    item.CodingSchemeResponsibleOrganization = MANUFACTURER
    return item


def coded(code: Code) -> Dataset:
    """A code as an item of a code sequence (PS3.3 8.8).

    >>> coded(LIVER).CodeMeaning
    'Liver'
    """
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = (
        code.value,
        code.scheme_designator,
        code.meaning,
    )
    return item


def add_equivalents(item: Dataset, equivalents: Sequence[Code]) -> None:
    """Add the same concept in other schemes to a code (Equivalent Code Sequence, PS3.3 8.8).

    >>> heart = coded(HEART)
    >>> add_equivalents(heart, [Code("7088", "FMA", "Heart")])
    >>> heart.EquivalentCodeSequence[0].CodingSchemeDesignator
    'FMA'
    """
    if equivalents:
        item.EquivalentCodeSequence = [coded(code) for code in equivalents]
