"""Every visible text, in English and Spanish: TOML files with the same keys."""
