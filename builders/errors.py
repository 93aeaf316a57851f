"""The two ways a command can end other than well."""


class UserError(Exception):
    """A mistake in what the user gave: a flag, a spec, a data set, a checkpoint. Exit status 2."""


class RunError(Exception):
    """Something failed on the way although the input was in order. Exit status 1."""
