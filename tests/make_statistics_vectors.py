"""Writes data/statistics_vectors.csv: intervals and quantiles as SciPy computes them.

    pip install scipy
    python make_statistics_vectors.py > data/statistics_vectors.csv
"""
import scipy
from scipy.stats import binomtest, norm

COUNTS = [(0, 1), (1, 1), (0, 10), (3, 10), (10, 10), (1, 30), (4, 100), (5, 100), (50, 100),
          (96, 100), (0, 1024), (1, 1024), (7, 1024), (0, 4096), (4, 4096), (5, 4096), (41, 4096),
          (2048, 4096), (4091, 4096), (4096, 4096), (3, 1000000), (123456, 1000000),
          (999999, 1000000), (17, 100000000)]

print(f'# Written by tests/make_statistics_vectors.py with SciPy {scipy.__version__}')
print('kind,events,trials,confidence,low,high')
for confidence in (0.5, 0.9, 0.95, 0.99, 0.998, 0.999999):
    quantile = norm.isf((1 - confidence) / 2)
    print(f'quantile,0,0,{confidence!r},{float(-quantile)!r},{float(quantile)!r}')
    for k, n in COUNTS:
        for kind, method in (('wilson', 'wilson'), ('clopper-pearson', 'exact')):
            interval = binomtest(k, n).proportion_ci(confidence, method)
            print(f'{kind},{k},{n},{confidence!r},{float(interval.low)!r},{float(interval.high)!r}')
