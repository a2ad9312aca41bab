"""Makes the sample studies anew: ``.venv/bin/python sample_dicom/make_samples.py``.

The seeds are fixed, so the files come out the same. None of them is a training seed.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from apps.gait_ataxia.phantom import generate as generate_gait
from apps.mibg_spect.phantom import generate as generate_mibg

HERE = Path(__file__).resolve().parent
MIBG_SEED = 702
"""A patient of hospital A: low-energy collimator, preserved heart, moderate washout."""
GAIT_SEED = 900_007
"""A walker of hospital A, seen from the side, moderately ataxic."""


def main() -> None:
    """Writes the DICOM objects of each sample study into its folder beside this script."""
    with tempfile.TemporaryDirectory() as scratch:
        generate_mibg(MIBG_SEED, Path(scratch) / "mibg_spect")
        generate_gait(GAIT_SEED, Path(scratch) / "gait_ataxia")
        for study in sorted(Path(scratch).iterdir()):
            folder = HERE / study.name
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(study / "dicom", folder)


if __name__ == "__main__":
    main()
