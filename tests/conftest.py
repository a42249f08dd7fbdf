"""The README's command starts one process of tests for each core, so matrix products get one thread in each."""

import os

for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

collect_ignore = ["array_api_functions.py"]  # a script for a process of its own, which needs scikit-learn
