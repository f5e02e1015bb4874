"""Drawings: what was asked for outside of a training, and the process that draws it. The contract between both."""
