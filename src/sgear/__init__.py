"""Egocentric action anticipation: S-GEAR and its peers, from video to trusted numbers."""

__version__ = "0.1.0"
