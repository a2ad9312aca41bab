"""Results as DICOM objects: SEG, Parametric Map, SR, Secondary Capture, Encapsulated PDF.

======================  ==========================================================
``identity``            who made it: UIDs, equipment, algorithm, statement
``codes``               codes that apps share, and the private scheme
``colours``             colours of many structures, for SEG and pictures
``context``             patient and study, copied unaltered from the source
``planes``              slices and frames of the source, where highdicom can see them
``segmentation``        label volume to SEG
``parametric_map``      a quantity in each voxel to a Parametric Map
``marks``               boxes and points in an image
``classification``      probabilities and decision of a classifier as measurement groups
``report``              measurement groups to a TID 1500 Comprehensive 3D SR
``secondary_capture``   RGB picture to Secondary Capture
``pdf``                 one page for a person, and its Encapsulated PDF
``pictures``            planes, colours and outlines for key images
``presentation_state``  marks over images to presentation states
``heat_map``            key image of a classifier: what it saw and where its evidence lay
``result``              ``result.json``, the table of contents of an analysis
``messages``            what an app hands to the operators
``encode_*``            the operators: receive, encode, emit
``write_results``       the operator that ends a graph
======================  ==========================================================

Every builder returns a valid object that is not changed afterwards. The operators run in
any `operators.graph.Graph`; the builders need no graph.
"""
