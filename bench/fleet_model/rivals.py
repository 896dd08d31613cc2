"""What people use to find the odd one out, from scikit-learn, on the same inputs: deviations from the pool's median.

Each learns from (rows, features) and gives back what scores others, higher is odder. Parameters are usual ones, set
once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from sklearn.covariance import LedoitWolf, MinCovDet
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import NearestNeighbors

from telemetry.layout import Floats

Scorer = Callable[[Floats], Floats]


def isolation_forest(z: Floats) -> Scorer:
    """100 trees of 256 rows, as scikit-learn makes them."""
    model = IsolationForest(n_estimators=100, random_state=0).fit(z)
    return lambda x: -model.score_samples(x)


def large_isolation_forest(z: Floats) -> Scorer:
    """300 trees of 4,096 rows: leaves that hold less."""
    model = IsolationForest(n_estimators=300, max_samples=min(4096, len(z)), random_state=0).fit(z)
    return lambda x: -model.score_samples(x)


def mahalanobis(z: Floats) -> Scorer:
    """Distance by a shrunk covariance."""
    return LedoitWolf().fit(z).mahalanobis


def robust_covariance(z: Floats) -> Scorer:
    """Distance by the covariance of the most central half; with a little noise, since some features never move."""
    noisy = z + np.random.default_rng(0).normal(0.0, 0.05, z.shape)
    chosen = noisy[:: max(len(z) // 5_000, 1)]
    return MinCovDet(random_state=0, support_fraction=0.9).fit(chosen).mahalanobis


def pca_residual(z: Floats) -> Scorer:
    """What is left beside the components of 90 % of the variance."""
    model = PCA(0.9, svd_solver="full").fit(z)

    def score(x: Floats) -> Floats:
        return np.asarray(np.square(x - model.inverse_transform(model.transform(x))).sum(axis=1))

    return score


def nearest_neighbours(z: Floats) -> Scorer:
    """Distance to the fifth nearest of 4,000 rows."""
    chosen = z[np.random.default_rng(0).choice(len(z), min(4_000, len(z)), replace=False)]
    model = NearestNeighbors(n_neighbors=5, algorithm="brute").fit(chosen)
    return lambda x: np.asarray(model.kneighbors(x)[0][:, -1])


def largest_deviation(z: Floats) -> Scorer:
    """The largest of a window's deviations, in units of the longest of each feature: half of the shipped score."""
    longest = np.maximum(np.quantile(np.abs(z), 0.9995, axis=0), 3.3)
    return lambda x: np.asarray((np.abs(x) / longest).max(axis=1))


RIVALS: Mapping[str, Callable[[Any], Scorer]] = {
    "isolation_forest": isolation_forest,
    "isolation_forest_large": large_isolation_forest,
    "pca_residual": pca_residual,
    "mahalanobis": mahalanobis,
    "robust_covariance": robust_covariance,
    "knn": nearest_neighbours,
    "largest_deviation": largest_deviation,
}
