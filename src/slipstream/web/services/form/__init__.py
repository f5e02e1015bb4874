"""The form of a config without its looks: what stands in it, read from the schema, and how its YAML changes."""
