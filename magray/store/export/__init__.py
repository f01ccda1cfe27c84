"""Copy what is in a store to other formats."""
