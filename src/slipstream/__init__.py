"""slipstream: train LoRAs for Z-Image, above all Z-Image Turbo, and keep Turbo turbo."""

__version__ = "0.1.0"
