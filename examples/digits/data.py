"""Write real data to train on: ``python examples/digits/data.py FOLDER``.

``holdout.npz`` for the operator, and one file for each of four owners who have five of the ten
digits: scikit-learn's handwritten scans. Needs what `make install` installs.
"""

import sys
from pathlib import Path

import numpy as np

from rondo_local.demo.data import load


def main(folder: Path) -> None:
    """Write five files of pictures ``x`` (n, 8, 8, 1) and digits ``y`` (n,)."""
    digits = load()
    folder.mkdir(parents=True, exist_ok=True)
    for name, part in {"holdout": digits.holdout, **digits.owners}.items():
        np.savez(folder / f"{name}.npz", x=part.x, y=part.y)
        print(f"{folder / name}.npz: {len(part.y)} pictures of {sorted({*part.y.tolist()})}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
