"""RECOLA (Sec. 4.1.2) as AVEC 2015, 2016 and 2018 distribute it.

27 recordings of five minutes, `train_1` to `train_9`, `dev_1` to `dev_9`, `test_1` to
`test_9`, with a row every 40 ms (7501 of them); arousal and valence by six raters. The
corpus may not be redistributed, and the labels of test are not public. By default the
folder holds (one file per recording; ARFF, or CSV with `;` or `,`):

    features_audio/train_1.arff                   [name,] frameTime, features
    features_video_geometric/train_1.arff         likewise
    ratings_gold_standard/arousal/train_1.arff    Instance_name, frameTime, GoldStandard
    ratings_individual/arousal/train_1.csv        time;FM1 ;FM2 ;FM3 ;FF1 ;FF2 ;FF3

`RecolaFiles` names other places. AVEC 2016 tuned the windows of the features to each
target and has them in sub-folders: `features_audio/{target}/{recording}` reads these,
for one target at a time, and `features_audio/arousal/{recording}` uses one of them for
both. AVEC 2018: `features/audio/eGeMAPSfunct/{recording}`,
`labels/gs_1/{target}/{recording}` and `labels/individual/{target}/{recording}`.

Columns called name, Instance_name, time, frameTime or timestamp, in upper or lower
case, are not features, nor are openSMILE's class and frame numbers (frame, frameIndex),
which may start anywhere and must go up by one if there are no times; for others, see
`ifusion.corpora.columns`. A file without times is assumed to begin where the gold
standard does, which `Corpus.notes` says.

A recording that lacks a file of features, or of dev one that labels are made of, is
left out entirely, in test too: one that lacks video is not predicted from audio either.
`Corpus.files` and `Corpus.notes` list them. Labels of train may be missing, whole files
or frames (`?`); recordings outside the split are called `unlabelled_1`, ..., as
many as there are, and need features only. Files of a recording that begin or end at
different times are cut to their common frames; `Corpus.files` says where these are.

`layout` says which file is where, `tracks` reads and checks the files, `joining` joins
their common frames, `reading` makes the corpus, `writing` writes one, and `series`
reads the gold standards or predictions of one target.
"""

from ifusion.corpora.sources.recola.layout import FRAME_STEP, RATERS, RecolaFiles
from ifusion.corpora.sources.recola.reading import read_recola
from ifusion.corpora.sources.recola.series import Series, read_series
from ifusion.corpora.sources.recola.writing import write_recola

__all__ = [
    "FRAME_STEP",
    "RATERS",
    "RecolaFiles",
    "Series",
    "read_recola",
    "read_series",
    "write_recola",
]
