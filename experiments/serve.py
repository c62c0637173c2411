"""Starts a local page to try a model that export.py wrote.

    python experiments/serve.py --model=model.ifusion

Binds to 127.0.0.1, so that only this machine can reach it, and keeps no files. From
another program:

    curl --data-binary @features.csv 'http://127.0.0.1:8000/predict?name=features.csv'

With the extra [features] the page takes clips, too, if the model names its extractor.
"""

import early  # noqa: F401

from absl import flags

from ifusion.launch.flags import define_path
from ifusion.launch.program import run
from ifusion.terminal import note

MODEL = define_path("model", "File ending in .ifusion.", required=True)
HOST = flags.DEFINE_string("host", "127.0.0.1", "Address to bind to.")
PORT = flags.DEFINE_integer("port", 8000, "Port.", lower_bound=1, upper_bound=65535)
LIMIT = flags.DEFINE_float("limit_mb", 20, "Size of an upload [MB].", lower_bound=0.001)
AUDIO = flags.DEFINE_string("audio", None, "Extractor of sound, see extract.py.")
VIDEO = flags.DEFINE_string("video", None, "Extractor of pictures.")
SECONDS = flags.DEFINE_float("seconds", 60, "Time of a request [s].", lower_bound=0.1)


def main() -> None:
    """Reads the model, and serves until Ctrl-C."""
    from ifusion.inference.bundle import read_bundle

    predictor = read_bundle(MODEL.value).with_extractors(
        {"audio": AUDIO.value, "video": VIDEO.value}
    )
    try:
        from ifusion.inference.clips import why_no_clips
        from ifusion.inference.service import make_app, serve
    except ImportError:
        raise ValueError(
            'serving needs starlette and uvicorn: pip install -e ".[serve]"'
        ) from None
    names = {HOST.value, "127.0.0.1", "localhost"}
    app = make_app(
        predictor,
        limit=round(1e6 * LIMIT.value),
        seconds=SECONDS.value,
        hosts=["*"] if HOST.value in ("0.0.0.0", "::") else sorted(names),
    )
    if reason := why_no_clips(predictor):
        note(f"the page takes tables, no clips: {reason}")
    serve(app, HOST.value, PORT.value)


if __name__ == "__main__":
    run(main)
