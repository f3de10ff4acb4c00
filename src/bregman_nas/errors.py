"""The one kind of error that is shown to the user without a traceback."""


class UserError(Exception):
    """Something that the user can mend; the message says what is wrong, where, and what to do."""
