"""spine_metastasis: osteoporotic or malignant vertebral fracture on sagittal T1 and STIR."""
