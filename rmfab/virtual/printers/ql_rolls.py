"""The rolls that a virtual Brother QL can hold, as the printer's own sensors and firmware know them.

Source: Brother, "Software Developer's Manual: Raster Command Reference", chapter "Page size".
"""

from __future__ import annotations

ROLL_AREAS = {
    (12, 0): (106, 0, 29),
    (29, 0): (306, 0, 6),
    (38, 0): (413, 0, 12),
    (50, 0): (554, 0, 12),
    (62, 0): (696, 0, 12),
    (17, 54): (165, 566, 0),
    (23, 23): (202, 202, 42),
    (24, 24): (236, 236, 42),
    (29, 42): (306, 425, 6),
    (29, 90): (306, 991, 6),
    (39, 48): (425, 495, 6),
    (52, 29): (578, 271, 0),
    (62, 29): (696, 271, 12),
    (62, 100): (696, 1109, 12),
}
"""Width and length in mm (0: continuous) → dots that can be printed, across and along, and dots right of them."""
