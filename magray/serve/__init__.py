"""Answer pictures by HTTP: the page and the service of `magray serve`, which needs the extra magray[serve]."""
