"""Examine a training set-up for the mistakes that are made most often."""

from tinygrad_np.debug.diagnosis.diagnose import diagnose
from tinygrad_np.debug.diagnosis.report import Diagnosis, Finding

__all__ = ["Diagnosis", "Finding", "diagnose"]
