"""Which series of a study is which input of an app: declarative, torch-free, no eval.

===================  ====================================================================
``manifest.py``      the typed model of ``app.toml`` (`load_manifest`)
``predicates.py``    one predicate: attribute path, operator, and how it explains itself
``attributes.py``    keyword paths through sequences, values as plain Python, what may be shown
``facts.py``         the table of derived facts ``@...`` that a predicate may name
``clinical.py``      the facts of one instance: time after injection, view, side, weighting
``stack.py``         the facts of a series' geometry: spacing, gaps, tilt, orientation
``headers.py``       files to headers without their pixels (`read_series`)
``required.py``      what every app needs, whatever its app.toml says (PS3.3)
``envelope.py``      what of an envelope is false, in a sentence
``choose.py``        `choose_inputs`: taken, not for this app, or outside the envelope
``every.py``         inputs made of every instance that fits, not of one series
``digests.py``       digests of the inputs and of a model bundle
===================  ====================================================================

In come headers, out comes a verdict with a sentence that names the attribute. Nothing here
prints the value of an attribute that could identify a patient, decodes a pixel, or imports
torch, MONAI, highdicom or SimpleITK. Of ``operators`` the service imports this, and the writing
of video objects (`operators.video.photographic`).
"""
