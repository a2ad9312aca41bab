"""Makes the sample studies anew: ``.venv/bin/python sample_dicom/make_samples.py``.

The seeds are fixed, so the files come out the same. None of them is a training seed.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from pydicom import dcmread
from pydicom.uid import JPEGLSLossless

from apps.dat_spect.phantom import generate as generate_dat
from apps.gait_ataxia.phantom import generate as generate_gait
from apps.hip_fracture.phantom import generate as generate_hip
from apps.mibg_spect.phantom import generate as generate_mibg
from apps.msk_ct.phantom import generate as generate_msk
from apps.spine_metastasis.phantom import generate as generate_spine

HERE = Path(__file__).resolve().parent
MIBG_SEED = 702
"""A patient of hospital A: low-energy collimator, preserved heart, moderate washout."""
GAIT_SEED = 900_007
"""A walker of hospital A, seen from the side, moderately ataxic."""

MSK_SEED = 900_024
"""A patient of hospital A from pelvis to knee, slices every 4 mm, muscles of the left side wasted."""

DAT_SEED = 1000
"""A patient of hospital A: Parkinson's disease, worse on the right; uptake hardly low, dot-like."""


SPINE_SEED = 910_003
"""A patient of hospital A, T5 to S1 on T1 and STIR: L3 broken by a metastasis, T8 with one but unbroken."""

HIP_SEED = 910_012
"""A patient of hospital A, AP of the pelvis and cross-table lateral: neck of the right femur broken."""


def main() -> None:
    """Writes the DICOM objects of each sample study into its folder beside this script."""
    with tempfile.TemporaryDirectory() as scratch:
        generate_mibg(MIBG_SEED, Path(scratch) / "mibg_spect")
        generate_gait(GAIT_SEED, Path(scratch) / "gait_ataxia")
        generate_msk(MSK_SEED, Path(scratch) / "msk_ct")
        compress(Path(scratch) / "msk_ct" / "dicom")
        generate_dat(DAT_SEED, Path(scratch) / "dat_spect")
        generate_spine(SPINE_SEED, Path(scratch) / "spine_metastasis")
        generate_hip(HIP_SEED, Path(scratch) / "hip_fracture")
        for series in (Path(scratch) / "spine_metastasis" / "dicom").iterdir():
            compress(series)
        for study in sorted(Path(scratch).iterdir()):
            folder = HERE / study.name
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(study / "dicom", folder)


def compress(folder: Path) -> None:
    """Stores the pixels of each file as lossless JPEG-LS, in place."""
    for path in folder.iterdir():
        dataset = dcmread(path)
        dataset.compress(JPEGLSLossless, generate_instance_uid=False)
        dataset.save_as(path)


if __name__ == "__main__":
    main()
