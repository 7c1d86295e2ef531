"""Fuzz targets for atheris; see README.md for how to run them."""
