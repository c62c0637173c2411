"""Configuration for openSMILE to summarise a long sound in little memory.

For functionals of a whole, openSMILE keeps ten levels of descriptors, with two time
stamps of 64 bytes for each frame of a level. Here it first writes the levels to files,
and then reads them for one part of the functionals after another: a level that is read
from a file has no time stamps. Only where levels come from is said here; openSMILE's
own configuration computes everything, so the values are the same to the last bit.
"""

import os
from pathlib import Path

import numpy as np

HEADER = 12  # bytes of an HTK file before its frames
EMPTY = bytes.fromhex("00000000 000186a0 0004 0009")  # no frames, 10 ms, 4 bytes each
SINK = """[componentInstances:cComponentManager]
instance[{level}_sink].type = cHtkSink
[{level}_sink:cHtkSink]
reader.dmLevel = {level}
filename = {path}
"""
# one level is kept as always: its part, which covers all of it, shows how long it is
WRITING = r"""\{{{configs}/shared/standard_external_data_output_single.conf.inc}}
{sinks}[egemaps{version}_smoSpectralZ:cContourSmoother]
writer.levelconf.growDyn = 1
writer.levelconf.isRb = 0
"""
SOURCE = r"""[componentInstances:cComponentManager]
instance[{level}_source].type = cHtkSource
[{level}_source:cHtkSource]
\{{\cm[bufferModeRbConf{{?}}:of functionals]}}
\{{\cm[bufferModeConf{{?}}:of smoothed levels]}}
writer.dmLevel = {level}
writer.levelconf.isRb = 0
writer.levelconf.nT = {frames}
filename = {path}
featureName = {name}
"""
# files have the two levels that are smoothed here, so the smoothers write elsewhere
READING = r"""[componentInstances:cComponentManager]
instance[dataMemory].type = cDataMemory
\{{\cm[source{{?}}:of no sound]}}
{sources}\{{{configs}/gemaps/{basis}/GeMAPS{basis}_core.func.conf.inc}}
\{{{configs}/egemaps/{version}/eGeMAPS{version}_core.func.conf.inc}}
[gemaps{basis}_smoF0:cContourSmoother]
reader.dmLevel = egemaps{version}_energyRMS
writer.dmLevel = unused_F0
[gemaps{basis}_smoLoudness:cContourSmoother]
reader.dmLevel = egemaps{version}_energyRMS
writer.dmLevel = unused_loudness
\{{\cm[sink{{?}}:of functionals]}}
"""


def _basis(version: str) -> str:
    """Returns the version of GeMAPS that a version of eGeMAPS extends."""
    return "v01a" if version == "v01a" else "v01b"


def _count(path: Path) -> int:
    """Returns the number of frames that were written to a file."""
    return int(np.fromfile(path, ">u4", 1)[0])


def list_parts(version: str) -> dict[str, list[str]]:
    """Lists the parts of the functionals, in order, and the levels that each needs."""
    gemaps, egemaps = f"gemaps{_basis(version)}", f"egemaps{version}"
    pitch, loudness = f"{gemaps}_lld_single_logF0_smo", f"{gemaps}_loudness_smo"
    voiced = [f"{egemaps}_lldSet{s}Nz_smo" for s in ("NoF0AndLoudness", "Spectral")]
    return {
        f"{gemaps}_functionalsF0": [pitch],
        f"{gemaps}_functionalsLoudness": [loudness],
        f"{egemaps}_functionalsMeanStddevZ": [f"{egemaps}_lldSetNoF0AndLoudnessZ_smo"],
        f"{egemaps}_functionalsMeanStddevVoiced": voiced,
        f"{egemaps}_functionalsMeanUnvoiced": [f"{egemaps}_lldSetSpectralZ_smo"],
        f"{gemaps}_temporalSet": [pitch, loudness],
        f"{egemaps}_leq": [f"{egemaps}_energyRMS"],
    }


def configure_writing(version: str, folder: Path, configs: Path) -> tuple[str, str]:
    """Configures a run that writes the levels of all parts into a folder.

    `configs` is the folder of openSMILE's own configuration.

    Returns:
      The part that the run computes as always, and the text that replaces the sink.
    """
    levels = sorted(set().union(*list_parts(version).values()))
    sinks = "".join(SINK.format(level=n, path=folder / f"{n}.htk") for n in levels)
    text = WRITING.format(configs=configs, sinks=sinks, version=version)
    return f"egemaps{version}_functionalsMeanUnvoiced", text


def cut_levels(version: str, folder: Path, voiced: int) -> None:
    """Cuts off the last frames, which openSMILE adds after it computes functionals.

    `voiced` frames are kept of each level that depends on the pitch; of the others, as
    many as there are of the energy, to which no frame is added.

    Raises:
      OSError: a level is incomplete, since the disk is full.
    """
    steady = _count(folder / f"egemaps{version}_energyRMS.htk")
    for path in folder.glob("*.htk"):
        has_pitch = not path.stem.endswith(("loudness_smo", "LoudnessZ_smo", "RMS"))
        width = int(np.fromfile(path, ">u2", 5)[4])  # bytes of a frame
        size = HEADER + width * (voiced if has_pitch else steady)
        if path.stat().st_size < size:
            raise OSError(f"{path} is incomplete; is there no space on the disk?")
        os.truncate(path, size)


def configure_reading(
    version: str, needed: list[str], folder: Path, configs: Path
) -> str:
    """Configures a run that computes functionals of the needed levels in a folder.

    All other levels are empty. Returns the whole configuration.
    """
    basis = _basis(version)
    names = {  # the temporal set chooses by name, all else by place
        f"gemaps{basis}_lld_single_logF0_smo": "F0semitoneFrom27.5Hz_sma3nz",
        f"gemaps{basis}_loudness_smo": "loudness_sma3",
    }
    unused = [  # GeMAPS summarises them; eGeMAPS has its own instead
        f"gemaps{basis}_lldSet{s}_smo"
        for s in ("NoF0AndLoudnessNz", "SpectralNz", "SpectralZ")
    ]
    empty = folder / "empty"
    empty.write_bytes(EMPTY)
    sources = ""
    for level in sorted(set(unused).union(*list_parts(version).values())):
        path = folder / f"{level}.htk" if level in needed else empty
        frames = _count(path) + 1  # so that it is never full
        name = names.get(level, level)
        sources += SOURCE.format(level=level, frames=frames, path=path, name=name)
    return READING.format(
        sources=sources, configs=configs, basis=basis, version=version
    )
