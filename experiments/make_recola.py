r"""Writes the corpus of a config in AVEC's layout of RECOLA.

    python experiments/make_recola.py --config=configs/synthetic_continuous.py \
        --folder=data/recola

A synthetic corpus of RECOLA's size, 27 recordings that configs/recola.py reads, takes
two minutes and 1.8 GB:

    --config.corpus.recordings="(9, 9, 9)" --config.corpus.frames=7501 \
    --config.corpus.features="(88, 632)" --config.corpus.raters=6
"""

import early  # noqa: F401

from absl import flags

from ifusion.launch.flags import define_config, define_path
from ifusion.launch.program import run
from ifusion.terminal import print_result

CONFIG = define_config()
FOLDER = define_path("folder", "Folder to make.", required=True)
LABELS = flags.DEFINE_bool("test_labels", False, "Write the labels of test as well.")


def main() -> None:
    """Opens the corpus and writes it."""
    from ifusion.corpora.readers import open_corpus
    from ifusion.corpora.sources.recola import FRAME_STEP, RecolaFiles, write_recola

    source, patterns = CONFIG.value.corpus.to_dict(), RecolaFiles().features
    corpus = open_corpus(source.pop("kind"), source)
    files = RecolaFiles(
        {m: patterns.get(m, f"features_{m}/{{recording}}") for m in corpus.modalities}
    )
    files = write_recola(corpus, FOLDER.value, files, LABELS.value)
    flags_to_read = [
        "--config=configs/recola.py",
        f"--config.corpus.path={FOLDER.value}",
        f"--config.corpus.recordings={files.recordings}",
    ]
    if corpus.frame_step != FRAME_STEP:
        flags_to_read.append(f"--config.corpus.frame_step={corpus.frame_step}")
    if files.features != patterns:
        flags_to_read.append(f'--config.corpus.features="{files.features}"')
    print_result(
        f"written: {FOLDER.value}, {corpus.num_recordings} recordings; read it with "
        f"{' '.join(flags_to_read)}"
    )


if __name__ == "__main__":
    run(main, "stopped; partly written; remove --folder before you run it again")
