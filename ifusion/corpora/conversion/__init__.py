"""Converts files of other toolkits: frames with one label per recording.

Axes: N recordings, T steps as a file pads them, R rows (steps of all recordings, one
recording after another), F features of a modality, K targets, S labelled segments.

    mmsa     feature files of MMSA: a pickled dict of train, valid and test
    csd      computational sequences of the CMU MultimodalSDK: HDF5, one per modality
    arrays   npz or npy of padded arrays (N, T, F), with or without their lengths

Each reader makes a `Corpus` in which every modality keeps its own frames, and
`write_corpus` writes it as a folder. `unpickling` reads a pickle without unpickling it,
`padding` tells steps from padding, `values` checks the contents of arrays, `frames`
makes the corpus, and `options` has the user's options. Written from public descriptions
of these formats, and not run on the corpora themselves. Not in the paper.
"""

from ifusion.corpora.conversion.arrays import read_padded
from ifusion.corpora.conversion.csd import read_csd
from ifusion.corpora.conversion.mmsa import read_mmsa
from ifusion.corpora.conversion.options import ConversionOptions

READERS = {"mmsa": read_mmsa, "csd": read_csd, "arrays": read_padded}

__all__ = ["READERS", "ConversionOptions", "read_csd", "read_mmsa", "read_padded"]
