"""The smallest whole app: copy this folder, write its name into app.toml, and it runs.

It measures the volume of the body inside the slices of a CT. Imports of its own modules
are relative, so that a copy needs no edit; everything else comes from `operators`.
"""
