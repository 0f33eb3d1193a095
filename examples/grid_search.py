# pyright: basic
"""A grid search of scikit-learn, on processes that Ctrl-C ends at once.

`N` times `N` settings of a classifier are each tried on five parts of 1,797 handwritten digits.
`--backend=loky` is joblib's own, to compare.
"""

import argparse

import joblib
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from sklearn.svm import SVC

import asyncrun.joblib


def main() -> None:
    """Search, and print the best setting."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("n", metavar="N", type=int, nargs="?", default=4)
    parser.add_argument("--backend", default="asyncrun", help="of joblib; by default %(default)s")
    options = parser.parse_args()
    asyncrun.joblib.register()
    images, digits = load_digits(return_X_y=True)
    settings = {
        "C": [10.0**power for power in range(options.n)],
        "gamma": [10.0**-power for power in range(2, 2 + options.n)],
    }
    search = GridSearchCV(SVC(), settings, cv=5, verbose=1)
    with joblib.parallel_config(backend=options.backend, n_jobs=-1):
        search.fit(images, digits)
    print(f"{search.best_params_}: {search.best_score_:.3f}")


if __name__ == "__main__":
    main()
