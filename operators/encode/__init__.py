"""Results as DICOM objects: SEG, SR, Secondary Capture, Encapsulated PDF.

====================  ==========================================================
``identity``          who made it: UIDs, equipment, algorithm, statement
``codes``             codes that apps share, and the private scheme
``context``           patient and study, copied unaltered from the source
``segmentation``      label volume to SEG, with the NM stand-in
``report``            measurement groups to a TID 1500 Comprehensive 3D SR
``secondary_capture``  RGB picture to Secondary Capture
``pdf``               one page for a person, and its Encapsulated PDF
``colormap``          SPECT colours and organ outlines for pictures
``result``            ``result.json``, the table of contents of an analysis
``write_*``           the operators: receive, call, write, emit
====================  ==========================================================

Every builder returns a valid object that is not changed afterwards.
"""
