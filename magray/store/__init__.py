"""The store of a campaign: a folder or bucket prefix of Parquet files, one row a film. Independent of Ray."""

from magray.store.compact import Compaction, compact, delete_failed
from magray.store.export.pictures import export_pictures
from magray.store.rows import rows_of
from magray.store.schema import STORE_SCHEMA
from magray.store.store import Store, create_store, open_store
from magray.store.verify import Report, verify

__all__ = [
    "STORE_SCHEMA",
    "Compaction",
    "Report",
    "Store",
    "compact",
    "create_store",
    "delete_failed",
    "export_pictures",
    "open_store",
    "rows_of",
    "verify",
]
