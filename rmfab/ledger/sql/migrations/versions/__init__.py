"""One script per revision, named by its number."""
