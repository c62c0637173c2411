"""Writes the corpus of a config in the layout that AVEC distributes RECOLA in.

    python experiments/make_recola.py --config=configs/synthetic_continuous.py \
        --folder=data/recola

A synthetic corpus of RECOLA's size, 27 recordings that configs/recola.py reads, takes
two minutes and 1.8 GB:

    --config.corpus.recordings="(9, 9, 9)" --config.corpus.frames=7501 \
    --config.corpus.features="(88, 632)" --config.corpus.raters=6
"""

from pathlib import Path

from absl import flags

from launch import define_config, run

CONFIG = define_config()
FOLDER = flags.DEFINE_string("folder", None, "Folder to make.", required=True)
LABELS = flags.DEFINE_bool("test_labels", False, "Write the labels of test as well.")


def main() -> None:
    """Opens the corpus and writes it."""
    from ifusion.corpora import open_corpus
    from ifusion.corpora.recola import write_recola_like

    source = CONFIG.value.corpus.to_dict()
    corpus = open_corpus(source.pop("kind"), source)
    print(write_recola_like(corpus, Path(FOLDER.value), LABELS.value))


if __name__ == "__main__":
    run(main, "stopped; files written so far are left, remove --folder first")
