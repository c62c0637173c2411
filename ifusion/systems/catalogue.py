"""All systems, in the order of the tables. A new one is a file and a line here."""

from ifusion.systems import constant, implicit_fusion, svm, svr
from ifusion.systems.system import System

SYSTEMS: tuple[System, ...] = (
    constant.CONSTANT,
    svm.SVM,
    svr.SVR,
    implicit_fusion.BASELINE,
    implicit_fusion.IMPLICIT_FUSION,
)
