"""What trainers share: augmentation, patient-wise splits and the loop itself."""
