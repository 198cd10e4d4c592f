"""Names: what one signs in with is kept in one spelling, so that those that differ by letter case or Unicode form are
one.

The store holds the name in that spelling, and its unique index says what is taken: whoever signs in is found by a
lookup. Names from before are kept as they are, and found as they are written.
"""

import unicodedata


def address_spelled(name: str) -> str:
    """The spelling of an address: lower case, NFC. Not more of it is alike: mail for others goes to other mailboxes."""
    return _nfc(_nfc(name).lower())


def name_spelled(name: str) -> str:
    """The spelling of any other name: characters that stand for the same and letters of both cases are one (caseless
    matching for identifiers: Unicode, section 3.13, D146), in NFKC."""
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFD", name).casefold()).casefold()
    return unicodedata.normalize("NFKC", folded)


def _nfc(name: str) -> str:
    return unicodedata.normalize("NFC", name)
