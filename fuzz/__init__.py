"""Fuzz targets for atheris; README.md says how to run them."""
