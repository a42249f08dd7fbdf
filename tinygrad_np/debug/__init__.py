"""Tools for finding out what is wrong: anomalies, diagnoses, profiles, summaries and checks of derivatives."""

__docformat__ = "google"

from tinygrad_np.debug.anomaly import detect_anomaly
from tinygrad_np.debug.diagnosis import Diagnosis, Finding, diagnose
from tinygrad_np.debug.gradcheck import gradcheck, gradgradcheck
from tinygrad_np.debug.profile import profile
from tinygrad_np.debug.summary import summary
from tinygrad_np.debug.trace import trace

__all__ = [
    "Diagnosis",
    "Finding",
    "detect_anomaly",
    "diagnose",
    "gradcheck",
    "gradgradcheck",
    "profile",
    "summary",
    "trace",
]
