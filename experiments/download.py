r"""Downloads the speech of RAVDESS, to extract features from.

    python experiments/download.py --out=data/ravdess_media --actors=1,2,8
    python experiments/download.py --out=data/ravdess_media --sound_only
    python experiments/extract.py --media=data/ravdess_media --corpus=ravdess \
        --out=data/ravdess

24 actors, about 0.5 GB of video each; CC BY-NC-SA 4.0. Run it again to continue.
"""

import early  # noqa: F401

from absl import flags

from ifusion.launch.flags import define_path
from ifusion.launch.program import run
from ifusion.terminal import print_result

OUT = define_path("out", "Folder of the media.", required=True)
ACTORS = flags.DEFINE_list("actors", [], "1 to 24; all by default.")
SOUND_ONLY = flags.DEFINE_bool("sound_only", False, "Only sound, of all actors.")
RECORD = flags.DEFINE_string("record", "", "Another address of the record.")


def main() -> None:
    """Downloads, checks and unpacks."""
    from ifusion.features.download import RECORD as ZENODO
    from ifusion.features.download import download_ravdess, parse_actors

    folders = download_ravdess(
        OUT.value, parse_actors(ACTORS.value), SOUND_ONLY.value, RECORD.value or ZENODO
    )
    print_result(f"unpacked: {len(folders)} folders in {OUT.value}")


if __name__ == "__main__":
    run(main, "stopped; run it again to continue")
