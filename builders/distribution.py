"""`--distribute=data`: the start of data-parallel training over devices, processes and hosts."""

import argparse
import os
import sys
import traceback
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import sleep
from typing import TYPE_CHECKING, Any

from builders.cli import Parser, natural, positive
from builders.errors import RunError, UserError
from builders.link import Place, end_process
from builders.team import Team
from constants.distribution import JAX_SECONDS, JOIN_SECONDS, VERDICT_SECONDS

if TYPE_CHECKING:
    from builders.meeting import Meeting

_VARIABLES = {
    "coordinator_address": "JAX_COORDINATOR_ADDRESS",
    "num_processes": "JAX_NUM_PROCESSES",
    "process_id": "JAX_PROCESS_ID",
}
_DIRECT = "no_grpc_proxy"
"""gRPC's variable, in small letters, for hosts that no proxy leads to."""


def add_distribution_flags(parser: Parser) -> None:
    """Adds the flags to `train.py`."""
    add = parser.add_argument
    add(
        "--distribute",
        choices=("none", "data"),
        default="none",
        help="data: share each batch out among all devices, and processes if there are several "
        "(KERAS_BACKEND=jax)",
    )
    add(
        "--coordinator_address",
        metavar="HOST:PORT",
        help="where process 0 is, in all processes (JAX_COORDINATOR_ADDRESS, or the cluster's)",
    )
    add(
        "--num_processes",
        type=positive,
        help="how many processes train together (JAX_NUM_PROCESSES, or the cluster's; else 1)",
    )
    add(
        "--process_id",
        type=natural,
        help="which of them this is, from 0 (JAX_PROCESS_ID, or the cluster's)",
    )


@contextmanager
def joined(flags: argparse.Namespace) -> Iterator[Team]:
    """The team of this command. To be entered before anything is computed, and for a whole run.

    Whatever ends one of several processes ends the others, and they say why.

    Args:
        flags: parsed; see `add_distribution_flags`.

    Raises:
        UserError: flags don't go together, or not with the backend.
        RunError: another process did not come.
    """
    if flags.distribute == "none":
        _refuse_alone(flags)
        yield Team()
        return
    if os.environ.get("KERAS_BACKEND") != "jax":
        # Tried with Keras 3.15 and TensorFlow 2.21: MirroredStrategy on two devices makes the loss
        # of `compute_loss` and its gradients twice as large, and noise and batch statistics are
        # each device's own, so that the curve is another one.
        raise UserError(
            "--distribute=data: not under TensorFlow, where a loss comes out otherwise on several "
            "devices; set KERAS_BACKEND=jax (pip install -r requirements-jax.txt)"
        )
    place, device_ids = find_place(flags, os.environ)
    if place is None:
        with _shared_out(None) as team:
            yield team
        return
    from builders.meeting import Meeting  # asyncio: a tenth of a second that others don't need

    meeting = Meeting(place)
    port = meeting.start()
    try:
        _start_jax(place, port, device_ids)
        with _shared_out(meeting) as team:
            yield team
        meeting.finish()
    except BaseException as error:  # noqa: BLE001 - it ends all processes, whatever it is
        _leave(meeting, error)
    _stop_jax()
    meeting.close()


def find_place(
    flags: argparse.Namespace, environment: Mapping[str, str]
) -> tuple[Place | None, list[int] | None]:
    """Where the processes meet: flags, else environment variables, else what the cluster says.

    Args:
        flags: parsed.
        environment: variables.

    Returns:
        The place, None for one process alone; and numbers of the devices of this process, where the
        cluster gives each process its own.

    Raises:
        UserError: something is missing or malformed.
    """
    told = {name: getattr(flags, name) for name in _VARIABLES}
    for name, variable in _VARIABLES.items():
        if told[name] is None and environment.get(variable):
            told[name] = _from_environment(name, variable, environment[variable])
    devices = None
    if told["num_processes"] == 1 and told["process_id"] in (None, 0):
        return None, None
    if None in told.values():
        found, devices = _from_cluster()
        told = {name: found.get(name) if value is None else value for name, value in told.items()}
    if all(value is None for value in told.values()) or told["num_processes"] == 1:
        return None, None
    missing = [f"--{name} (or {_VARIABLES[name]})" for name in told if told[name] is None]
    if missing:
        raise UserError(f"several processes need {' and '.join(missing)} too")
    if told["process_id"] >= told["num_processes"]:
        raise UserError(
            f"--process_id {told['process_id']}: there are --num_processes "
            f"{told['num_processes']}, numbered from 0"
        )
    host, port = _host_and_port(told["coordinator_address"])
    return Place(host, port, told["num_processes"], told["process_id"]), devices


def _refuse_alone(flags: argparse.Namespace) -> None:
    given = [f"--{name}" for name in _VARIABLES if getattr(flags, name) is not None]
    if given:
        raise UserError(f"{given[0]} is for several processes: add --distribute=data")


def _from_environment(name: str, variable: str, text: str) -> str | int:
    if name == "coordinator_address":
        return text
    try:
        return (positive if name == "num_processes" else natural)(text)
    except argparse.ArgumentTypeError as error:
        raise UserError(f"{variable}: {error}") from None


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 1 << 16:
        raise UserError(f'--coordinator_address: found "{address}", expected HOST:PORT')
    return host.strip("[]"), int(port)


def _from_cluster() -> tuple[dict[str, Any], list[int] | None]:
    """What JAX finds out by itself: from Slurm, Open MPI, Kubernetes, a cloud's TPUs."""
    from jax._src.clusters import ClusterEnv  # jax.distributed shows it to nobody

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of clusters that it can't look into
        try:
            address, count, index, devices = ClusterEnv.auto_detect_unset_distributed_params(
                None, None, None, None, None, round(JOIN_SECONDS)
            )
        except Exception as error:  # noqa: BLE001 - a cluster's client may raise anything
            raise UserError(
                f"JAX can't find out this cluster's processes ({error}); say them with "
                "--coordinator_address, --num_processes and --process_id, or --num_processes=1"
            ) from None
    found = {"coordinator_address": address, "num_processes": count, "process_id": index}
    return found, None if devices is None else list(devices)


def _start_jax(place: Place, port: int, device_ids: list[int] | None) -> None:
    """JAX's own service and clients, which never see a connection break; see `builders.relay`."""
    import jax
    from jax.experimental import multihost_utils

    from builders.relay import LOOPBACK

    # The way leads no further than this machine, which gRPC would still take a proxy for.
    jax.config.update("jax_check_proxy_envs", False)
    direct = os.environ.get(_DIRECT) or os.environ.get("no_proxy")
    os.environ[_DIRECT] = f"{direct},{LOOPBACK}" if direct else LOOPBACK
    with _nothing_printed():
        jax.distributed.initialize(
            coordinator_address=f"{LOOPBACK}:{port}",
            coordinator_bind_address=f"{LOOPBACK}:{port}",
            num_processes=place.count,
            process_id=place.index,
            local_device_ids=device_ids,
            cluster_detection_method="deactivate",
            initialization_timeout=round(JOIN_SECONDS),
            heartbeat_timeout_seconds=JAX_SECONDS,
            shutdown_timeout_seconds=round(JOIN_SECONDS),
        )
        multihost_utils.sync_global_devices("codecsmith")


@contextmanager
def _nothing_printed() -> Iterator[None]:
    """Without what Gloo prints about its connections, past Python, when the first are made."""
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


def _stop_jax() -> None:
    import jax

    jax.distributed.shutdown()


@contextmanager
def _shared_out(meeting: "Meeting | None") -> Iterator[Team]:
    """Has Keras keep a copy of all variables on every device."""
    import jax
    import keras

    devices, local = jax.device_count(), jax.local_device_count()
    index, count = jax.process_index(), jax.process_count()
    if local * count != devices:
        raise UserError(
            f"process {index} has {local} of {devices} devices: each of the {count} processes "
            "needs as many as the others"
        )
    before = keras.distribution.distribution()
    keras.distribution.set_distribution(keras.distribution.DataParallel(auto_shard_dataset=False))
    try:
        yield Team(index, count, devices, jax.default_backend(), meeting, shared=True)
    finally:
        keras.distribution.set_distribution(before)


def _leave(meeting: "Meeting", error: BaseException) -> None:
    """Ends this process and tells the others why; does not return."""
    index = meeting.place.index
    if isinstance(error, SystemExit):
        status = error.code if isinstance(error.code, int) else 1
        text = "was stopped by its user" if status == 130 else f"ended with status {status}"
        meeting.leave(text, status)
        sys.stdout.flush()
        os._exit(status)
    if isinstance(error, KeyboardInterrupt):
        meeting.leave("was interrupted", 130)
        end_process("interrupted", 130)
    if isinstance(error, UserError | RunError):
        meeting.leave(f"ended: {error}", 1)
        end_process(str(error), 2 if isinstance(error, UserError) else 1)
    # A computation over all processes fails where one of them is gone: then the meeting knows of
    # that, or will soon, and ends this process with a reason.
    sleep(VERDICT_SECONDS)
    traceback.print_exception(error)
    meeting.leave(f"ended: {type(error).__name__}: {error}", 1)
    end_process(f"process {index} failed, see above", 1)
