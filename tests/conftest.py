"""Tests run in as many processes as there are cores (-n auto), so each of them gets one thread for its products."""

import os

for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
