"""The studio: NiceGUI pages and a REST API on one FastAPI app."""
