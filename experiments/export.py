"""Exports one system of a run, for one modality, as a file to predict with.

    python experiments/export.py --run=runs/ravdess --main=audio --out=model.ifusion

The ending chooses the format: .ifusion (a bundle, for `predict.py`, `serve.py` and
`ifn.read_bundle`), .onnx (for ONNX Runtime) or .stablehlo (for `jax.export`).
docs/deployment.md shows each.
"""

import early  # noqa: F401

from absl import flags

from ifusion.launch.flags import define_path
from ifusion.launch.program import run
from ifusion.terminal import print_result

RUN = define_path("run", "Run directory.", required=True)
MAIN = flags.DEFINE_string("main", None, "Modality to predict from.", required=True)
SYSTEM = flags.DEFINE_string("system", "implicit_fusion", "Key of the system.")
TARGET = flags.DEFINE_string("target", None, "One of several targets; all if none.")
SEEDS = flags.DEFINE_list("seeds", None, "Seeds to average; all if none.")
OUT = define_path("out", "File to write.", required=True)
STREAM = flags.DEFINE_bool("stream", False, "ONNX whose state goes in and out.")


def main() -> None:
    """Writes the file, and says what is in it."""
    from ifusion.inference.exporting import export_model

    lines = export_model(
        RUN.value,
        MAIN.value,
        SYSTEM.value,
        OUT.value,
        target=TARGET.value,
        seeds=SEEDS.value,
        stream=STREAM.value,
    )
    for line in lines:
        print_result(line)


if __name__ == "__main__":
    run(main, "stopped; nothing is written")
