"""What is printed shows names that others have chosen, and does not let them act.

The name of a file, a key in a checkpoint, or an attribute may hold characters that a terminal obeys: sequences that
clear the screen or change its title, or marks that reverse the order of the letters. Errors and tables show them as
`repr` does. This is the only place that decides which characters those are.
"""

__all__ = ["printable"]


def printable(text: object) -> str:
    r"""Write characters that cannot be seen as escapes: control characters, marks of direction, invisible spaces.

    Args:
        text: str() of it is shown. Line breaks stay.

    Returns:
        The text; what `str.isprintable` holds printable, and a line break, is unchanged.

    >>> printable("layers\x1b[2J.0")
    'layers\\x1b[2J.0'
    """
    return "".join(
        character
        if character.isprintable() or character == "\n"
        else character.encode("unicode_escape").decode("ascii")
        for character in str(text)
    )
