"""Write files atomically, read JSON records and plain Parquet strictly, and check paths and URIs."""
