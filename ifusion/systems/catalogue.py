"""All systems, in the order of the tables. A new one is a file and a line here."""

from ifusion.systems import implicit_fusion
from ifusion.systems.system import System

SYSTEMS: tuple[System, ...] = (
    implicit_fusion.BASELINE,
    implicit_fusion.IMPLICIT_FUSION,
)
