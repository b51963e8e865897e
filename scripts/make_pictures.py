"""Remakes the pictures in docs/ with the tool itself: ``make pictures``."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

DOCS = Path(__file__).resolve().parents[1] / "docs"
#: Voxels of the sample whose middle section is shown.
SHAPE = (96, 320, 480)


def magneton(*arguments: str) -> None:
    """Run a command of this project."""
    subprocess.run([sys.executable, "-m", "magneton_tasks", *arguments], check=True)


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        sample = Path(directory) / "sample"
        magneton("sample", str(sample), "--shape", *map(str, SHAPE))
        magneton("run", str(sample / "volume.yaml"))
        (preview,) = sample.glob("work/runs/*/*/preview.png")
        with Image.open(preview) as picture:
            _, height, width = SHAPE
            middle = picture.crop((0, height, 2 * width, 2 * height))
            middle.convert("P", palette=Image.Palette.ADAPTIVE, colors=128).save(
                DOCS / "sample.png", optimize=True
            )


if __name__ == "__main__":
    main()
