"""Answer with a film's parameters and their error bars for a picture of its domains."""
