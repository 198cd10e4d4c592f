"""What our own runner adds to uvicorn: protocol classes that let hot reads and frames take the short way."""
