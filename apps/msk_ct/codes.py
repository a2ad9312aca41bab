"""Codes of the 22 structures and of what is said about them.

Muscles are coded with the Foundational Model of Anatomy (FMA), one scheme for all of them;
bones with the SNOMED CT codes that PS3.16 lists. Where both schemes name a structure, the
other one is an equivalent code. Merged muscles have a private code and name their parts.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydicom.sr.coding import Code

from apps.msk_ct.structures import Side, Structure
from operators.encode import codes


@dataclass(frozen=True, kw_only=True)
class StructureCodes:
    """How a structure is coded.

    Args:
        primary: What it is.
        equivalents: The same in another scheme.
        parts: The structures that are merged in it.
    """

    primary: Code
    equivalents: tuple[Code, ...] = ()
    parts: tuple[Code, ...] = ()


def _fma(value: str, meaning: str, sct: tuple[str, str] | None = None) -> StructureCodes:
    equivalents = () if sct is None else (Code(sct[0], "SCT", sct[1]),)
    return StructureCodes(primary=Code(value, "FMA", meaning), equivalents=equivalents)


def _bone(value: str, meaning: str, fma: tuple[str, str]) -> StructureCodes:
    return StructureCodes(primary=Code(value, "SCT", meaning), equivalents=(Code(fma[0], "FMA", fma[1]),))


CODES: dict[str, StructureCodes] = {
    "pelvis": _bone("118645006", "Pelvis", ("16580", "Bony pelvis")),
    "femur": _bone("71341001", "Femur", ("9611", "Femur")),
    "adductor_muscles": StructureCodes(
        primary=codes.private("ADDUCTORS", "Adductor muscles of thigh"),
        parts=(
            Code("22442", "FMA", "Adductor brevis"),
            Code("22441", "FMA", "Adductor longus"),
            Code("22443", "FMA", "Adductor magnus"),
        ),
    ),
    "biceps_femoris": _fma("22356", "Biceps femoris"),
    "gluteus_maximus": _fma("22314", "Gluteus maximus", ("206007", "Gluteus maximus muscle")),
    "gluteus_medius": _fma("22315", "Gluteus medius", ("78333006", "Gluteus medius muscle")),
    "gluteus_minimus": _fma("22317", "Gluteus minimus", ("75297007", "Gluteus minimus muscle")),
    "gracilis": _fma("43882", "Gracilis"),
    "iliacus": _fma("22310", "Iliacus"),
    "obturator_externus": _fma("22299", "Obturator externus"),
    "obturator_internus": _fma("22298", "Obturator internus"),
    "pectineus": _fma("22440", "Pectineus"),
    "piriformis": _fma("19082", "Piriformis"),
    "psoas_major": _fma("18060", "Psoas major"),
    "rectus_femoris": _fma("22430", "Rectus femoris"),
    "sartorius": _fma("22353", "Sartorius"),
    "semimembranosus": _fma("22438", "Semimembranosus"),
    "semitendinosus": _fma("22357", "Semitendinosus"),
    "tensor_fasciae_latae": _fma("22423", "Tensor fasciae latae"),
    "vastus_lateralis_and_vastus_intermedius": StructureCodes(
        primary=codes.private("VASTUS_LAT_INT", "Vastus lateralis and vastus intermedius"),
        parts=(Code("22431", "FMA", "Vastus lateralis"), Code("22433", "FMA", "Vastus intermedius")),
    ),
    "vastus_medialis": _fma("22432", "Vastus medialis"),
    "sacrum": _bone("54735007", "Sacrum", ("16202", "Sacrum")),
}
"""By the structure's name. The FMA number of obturator internus is that of the BodyParts3D part list."""

LATERALITY: dict[Side | None, Code | None] = {Side.RIGHT: codes.RIGHT, Side.LEFT: codes.LEFT, None: None}

JAPANESE: dict[str, str] = {
    "pelvis": "寛骨",
    "femur": "大腿骨",
    "adductor_muscles": "内転筋群",
    "biceps_femoris": "大腿二頭筋",
    "gluteus_maximus": "大殿筋",
    "gluteus_medius": "中殿筋",
    "gluteus_minimus": "小殿筋",
    "gracilis": "薄筋",
    "iliacus": "腸骨筋",
    "obturator_externus": "外閉鎖筋",
    "obturator_internus": "内閉鎖筋",
    "pectineus": "恥骨筋",
    "piriformis": "梨状筋",
    "psoas_major": "大腰筋",
    "rectus_femoris": "大腿直筋",
    "sartorius": "縫工筋",
    "semimembranosus": "半膜様筋",
    "semitendinosus": "半腱様筋",
    "tensor_fasciae_latae": "大腿筋膜張筋",
    "vastus_lateralis_and_vastus_intermedius": "外側広筋・中間広筋",
    "vastus_medialis": "内側広筋",
    "sacrum": "仙骨",
}

PROCEDURE = codes.private("CT_HIP_THIGH", "Computed tomography of hip and thigh")
FAT_FRACTION = codes.private("FAT_FRACTION", "Fat fraction of muscle by attenuation")
LEAN_MASS = codes.private("LEAN_MASS", "Lean muscle mass")
BONE_DENSITY = codes.private("VBMD", "Volumetric bone mineral density")
STRUCTURE_VARIANCE = codes.private("PSV", "Predictive structure-wise variance")
PREDICTIVE_DICE = codes.private("PDC", "Predictive Dice coefficient")
PASSES = codes.private("MC_SAMPLES", "Stochastic passes of the model")
ATROPHY = codes.private("ATROPHY_RATIO", "Volume deficit relative to the other side")
FATTY_DEGENERATION = codes.private("FATTY_DEGEN_HU", "Attenuation deficit relative to the other side")
VOXEL_VARIANCE = codes.private("VOXEL_VARIANCE", "Predictive variance, mean over classes")
UNCALIBRATED = codes.private("UNCALIBRATED", "Attenuation times 0.8, not calibrated")
CALIBRATED = codes.private("SITE_CALIBRATED", "Calibration line of the site")
TRUNCATED = codes.private("TRUNCATED", "Structure cut off by the edge of the scan")
LOW_ACCURACY = codes.private("LOW_ACCURACY", "Low expected accuracy of the segmentation")
PRESENT = Code("52101004", "SCT", "Present")
ABSENT = Code("272519000", "SCT", "Absent")
GRAM = Code("g", "UCUM", "gram")
MILLIGRAM_PER_CM3 = Code("mg/cm3", "UCUM", "mg/cm^3")


def codes_of(structure: Structure) -> StructureCodes:
    """How this structure is coded.

    >>> codes_of(Structure(name="gluteus_maximus", title="Gluteus maximus")).primary.value
    '22314'
    """
    return CODES[structure.name]
