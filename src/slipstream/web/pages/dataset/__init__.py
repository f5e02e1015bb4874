"""The page of one dataset, part by part."""
