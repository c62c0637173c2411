"""Train on several modalities, deploy on one.

The data goes one way, from room to room: `corpora` (files to a `Corpus`),
`preprocessing` (a corpus to arrays), `models` and `losses` (what is trained),
`training` (all lanes of a sweep as one program), `systems` (what implicit fusion is
compared with), `inference` (one modality in, predictions out), `evaluation` (scores,
selection, significance) and `reporting` (tables, figures, the HTML report). Below them
all lie `concordance`, the one formula that several rooms share, and `storage`, by which
all that is kept reaches the disk.
"""

__version__ = "0.1.0"
