"""Which architectures of other projects a benchmark times."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from builders.errors import UserError
from builders.problems import near_miss
from evaluation.peer_process import PROJECTS, MissingPeerError, PeerProcess, projects_of
from evaluation.peers import Peer, choose_peers


@contextmanager
def started_peers(names: Sequence[str], threads: int) -> Iterator[list[Peer]]:
    """The architectures that were asked for, in processes that end with the context.

    Args:
        names: as --peers takes them.
        threads: most that each may take.

    Raises:
        UserError: there is no such project or architecture, or it is not installed.
    """
    try:
        projects = projects_of(names)
    except KeyError as error:
        known = [project.name for project in PROJECTS]
        raise UserError(
            f"--peers {error.args[0]}: no such project{near_miss(error.args[0], known)}"
        ) from None
    with ExitStack() as stack:
        try:
            processes = [stack.enter_context(PeerProcess(project)) for project in projects]
            peers = choose_peers(names, processes, threads)
        except (MissingPeerError, KeyError) as error:
            raise UserError(f"--peers {error.args[0]}") from None
        yield peers
