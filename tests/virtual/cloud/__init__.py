"""Tests of the virtual clouds."""
