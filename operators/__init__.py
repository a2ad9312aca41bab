"""What apps are built from: MONAI Deploy operators and the pure functions under them.

=============  =========================================================
``select/``    declarative rules: which series of a study is which input
``read/``      DICOM instances to volumes with a geometry
``preprocess/``  resampling, alignment, normalisation
``infer/``     networks and how they are applied
``measure/``   numbers out of masks and images
``encode/``    SEG, SR, Secondary Capture, PDF
``phantom/``   physics and DICOM writers that phantoms share
``train/``     what trainers share
``evaluate/``  metrics, bootstrap intervals
=============  =========================================================

No sockets, no database, no import of the service or of an app.
"""

import warnings

# The graph engine, which monai imports, warns of the default stack limit. `operators.host` and
# `operators.package` start apps with the stack that it asks for; elsewhere graphs are small.
warnings.filterwarnings("ignore", message="Current stack size", category=RuntimeWarning)
