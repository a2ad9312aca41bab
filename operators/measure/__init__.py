"""Numbers out of masks and images. Pure functions; arrays in, values with units out."""
