"""Clouds: the files that register units, and the checks of what units use to connect.

Start at `node`, which is what a cloud learns about a unit; `registration_files` writes it in the form of each cloud.
"""
