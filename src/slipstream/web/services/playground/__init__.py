"""Trying LoRAs out: what can be drawn with, asking for drawings, and what was drawn."""
