"""Tools for finding out what is wrong: checks of derivatives, and the detection of anomalies."""

from tinygrad_np.debug.anomaly import detect_anomaly
from tinygrad_np.debug.gradcheck import gradcheck, gradgradcheck
from tinygrad_np.debug.profile import profile
from tinygrad_np.debug.summary import summary
from tinygrad_np.debug.trace import trace

__all__ = [
    "detect_anomaly",
    "gradcheck",
    "gradgradcheck",
    "profile",
    "summary",
    "trace",
]
