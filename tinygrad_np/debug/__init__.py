"""Tools for finding out what is wrong: checks of derivatives."""

from tinygrad_np.debug.gradcheck import gradcheck, gradgradcheck

__all__ = ["gradcheck", "gradgradcheck"]
