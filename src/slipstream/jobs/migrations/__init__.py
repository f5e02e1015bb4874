"""Alembic's scripts, one per change of the tables, shipped with the package."""
