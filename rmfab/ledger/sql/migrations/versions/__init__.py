"""One script per revision, named after its number."""
