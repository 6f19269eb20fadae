"""Makes mpipipe/data/sets/digits.h5. Needs scikit-learn, which the project itself does not: use a throw-away venv.

python3 -m venv /tmp/record && /tmp/record/bin/pip install scikit-learn h5py
/tmp/record/bin/python tests/data/record_digits.py mpipipe/data/sets/digits.h5
"""

import sys

import h5py
import numpy as np
from sklearn.datasets import load_digits

NOTES = {
    "source": "Optical Recognition of Handwritten Digits, test part; UCI Machine Learning Repository; "
    "by way of scikit-learn's load_digits",
    "licence": "CC BY 4.0, https://creativecommons.org/licenses/by/4.0/",
    "citation": "E. Alpaydin and C. Kaynak (1998). Optical Recognition of Handwritten Digits. "
    "UCI Machine Learning Repository. https://doi.org/10.24432/C50P49",
}


def main(path: str) -> None:
    digits = load_digits()
    pixels, labels = digits.data.astype(np.uint8), digits.target.astype(np.uint8)
    assert pixels.shape == (1797, 64) and np.array_equal(pixels, digits.data) and pixels.max() == 16
    with h5py.File(path, "w", libver="earliest") as file:
        for name, array in (("x", pixels), ("y", labels)):
            file.create_dataset(name, data=array, chunks=array.shape, compression="gzip", compression_opts=9)
        file.attrs.update(NOTES)


if __name__ == "__main__":
    main(sys.argv[1])
