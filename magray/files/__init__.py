"""Files that appear whole, and files that are read strictly: JSON records and plain Parquet. Paths and URIs."""
