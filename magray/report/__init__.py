"""Show results to people: figures as PNG, tables, and self-contained HTML pages."""
