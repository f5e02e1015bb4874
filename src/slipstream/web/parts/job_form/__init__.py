"""The parts of the New job page."""
