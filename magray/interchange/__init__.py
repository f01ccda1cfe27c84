"""Films that other programs made: the output of mumax3 and of Ubermag's drives, into a store."""

from magray.interchange.films import Imported, import_films
from magray.interchange.known import Known, known_from_texts

__all__ = ["Imported", "Known", "import_films", "known_from_texts"]
