"""Hostile files and run directories, each with a right hash: all must be refused at once, with nothing else opened."""

from __future__ import annotations

import json
import os
import struct
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from acaikit.artifacts.checkpoints import Checkpoints
from acaikit.artifacts.evaluations import read_evaluation, write_evaluation
from acaikit.artifacts.header import HEADER_SIZE, make_header
from acaikit.artifacts.parts import part_path, read_part, write_part
from acaikit.artifacts.rundir import RunDir
from acaikit.artifacts.text import write_text
from acaikit.artifacts.tree import write_tree
from acaikit.config import build
from acaikit.config.read import read_bindings
from acaikit.engine import Trainer
from acaikit.errors import ConfigError, RunError
from acaikit.runs.opened import open_run
from acaikit.runs.provenance import describe
from acaikit.runs.session import open_session

from .isolated import isolated
from .memory import most_resident, resident
from .report import Report

Read = Callable[[], object]
SECRET = b"the secret of this machine " * 40
MOST_SECONDS, MOST_GROWTH = 1.0, 300e6
CONFIG = [
    "Experiment.dataset = @Lines()",
    "Experiment.encoder = @ConvEncoder()",
    "Experiment.decoder = @ConvDecoder()",
    "Lines.height = 8",
    "Lines.width = 8",
    "Lines.test_size = 4",
    "ConvEncoder.depth = 2",
    "ConvEncoder.scales = 1",
    "ConvEncoder.latent = 2",
    "ConvDecoder.depth = 2",
    "ConvDecoder.scales = 1",
]


class Place:
    """A folder for one attack, with a secret and a FIFO beside it that nobody may open."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "hostile"
        self.folder.mkdir()
        self.secret, self.fifo, self.plugins = folder / "secret.txt", folder / "fifo.h5", folder / "plugins"
        self.secret.write_bytes(SECRET)
        os.mkfifo(self.fifo)
        self.plugins.mkdir()
        (self.plugins / "libevil.so").write_bytes(b"\x7fELF" + SECRET)
        self.path = self.folder / "step-000000001.h5"

    @property
    def bait(self) -> list[str]:
        """What nobody may open."""
        return [str(self.secret), str(self.fifo), str(self.plugins), "/etc/passwd", "/dev/zero"]

    def load(self) -> object:
        """Peek at the checkpoint and load it."""
        checkpoints = Checkpoints(self.folder, "r")
        with suppress(RunError):  # loading must refuse it all the same
            checkpoints.peek(1)
        return checkpoints.load(1)

    def checkpoint(self, change: Callable[[h5py.File], object], libver: str = "earliest") -> Read:
        """Make a sound checkpoint, but for a change."""
        with h5py.File(self.path, "w", userblock_size=HEADER_SIZE, libver=libver) as file:
            for name, value in {"format": b"checkpoint", "min_reader_version": b"0.1.0", "run_id": b"r"}.items():
                file.attrs[name] = np.bytes_(value)
            file.attrs["format_version"] = file.attrs["step"] = np.int64(1)
            write_tree(file.create_group("state"), {"a": torch.arange(100.0), "samples": 1})
            change(file)
        return self.sealed(lambda payload: payload)

    def skeleton(self, text: str) -> Read:
        """Make a sound checkpoint, but for its skeleton."""

        def change(file: h5py.File) -> None:
            del file["state/skeleton"]
            write_text(file["state"], "skeleton", text)

        return self.checkpoint(change)

    def sealed(self, change: Callable[[bytes], bytes]) -> Read:
        """Change the bytes of the checkpoint and give them a right header."""
        payload = change(self.path.read_bytes()[HEADER_SIZE:])
        self.path.write_bytes(make_header(payload) + payload)
        return self.load

    def patched(self, old: bytes, new: bytes) -> Read:
        """Make a sound checkpoint and replace the first of some bytes in it."""
        self.checkpoint(lambda file: None)
        assert old in self.path.read_bytes()[HEADER_SIZE:]
        return self.sealed(lambda payload: payload.replace(old, new, 1))

    def run(self, config: list[str] = CONFIG, **info: Any) -> Read:
        """Make a run that has taken no step, whose run.h5 says something else of it."""
        directory = RunDir(self.folder / "run")
        described, state = new_run()
        directory.write_run({**described, "resolved": "\n".join(config), **info})
        Checkpoints(directory.checkpoints, described["run_id"]).save(0, state)
        return lambda: open_run(directory.path).model


@cache
def new_run() -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what a small run's run.h5 says, and its state before the first step."""
    config = read_bindings(CONFIG)
    return describe(config, [], 0, torch.device("cpu"), {}), Trainer(build(config)).state_dict()


def dataset(place: Place, **how: Any) -> Read:
    """Make a sound checkpoint with one more dataset."""
    return place.checkpoint(lambda file: file.create_dataset("x", **how))


def raw_chunk(place: Place, data: bytes, shape: int, chunk: int) -> Read:
    """Make a checkpoint with one more dataset, whose only chunk holds the given bytes."""

    def change(file: h5py.File) -> None:
        made = file.create_dataset("x", (shape,), "u1", chunks=(chunk,), compression="gzip")
        made.id.write_direct_chunk((0,), data)

    return place.checkpoint(change)


def external_link(place: Place) -> Read:
    return place.checkpoint(lambda file: file.__setitem__("x", h5py.ExternalLink(str(place.secret), "/x")))


def external_link_to_a_fifo(place: Place) -> Read:
    return place.checkpoint(lambda file: file.__setitem__("state/000001", h5py.ExternalLink(str(place.fifo), "/x")))


def soft_link(place: Place) -> Read:
    return place.checkpoint(lambda file: file.__setitem__("x", h5py.SoftLink("/state/000000")))


def dangling_soft_link(place: Place) -> Read:
    return place.checkpoint(lambda file: file.__setitem__("x", h5py.SoftLink("/nowhere")))


def two_links_to_one_array(place: Place) -> Read:
    return place.checkpoint(lambda file: file.__setitem__("state/000001", file["state/000000"]))


def cycle_of_groups(place: Place) -> Read:
    return place.checkpoint(lambda file: file.__setitem__("state/again", file["state"]))


def cycle_to_the_root(place: Place) -> Read:
    return place.checkpoint(lambda file: file.__setitem__("state/root", file["/"]))


def cycle_without_a_count(place: Place) -> Read:
    """Two links to one group, while its header says that there is one."""
    place.checkpoint(lambda file: file.__setitem__("state/again", file["state"]))
    return place.sealed(lambda payload: payload.replace(struct.pack("<HHI", 1, 1, 2), struct.pack("<HHI", 1, 1, 1)))


def external_storage(place: Place) -> Read:
    return dataset(place, shape=(100,), dtype="u1", external=[(str(place.secret), 0, 100)])


def external_storage_in_a_fifo(place: Place) -> Read:
    return dataset(place, shape=(100,), dtype="u1", external=[(str(place.fifo), 0, 100)])


def virtual_dataset(place: Place) -> Read:
    source = h5py.VirtualSource(str(place.secret), "x", (10,), "f4")
    layout = h5py.VirtualLayout((10,), "f4")
    layout[:] = source
    return place.checkpoint(lambda file: file.create_virtual_dataset("x", layout), libver="latest")


def newest_format(place: Place) -> Read:
    return place.checkpoint(lambda file: None, libver="latest")


def plugin_filter(place: Place) -> Read:
    """A filter that only a plugin has, in a folder where libhdf5 would look for one."""
    place.checkpoint(lambda file: file.create_dataset("x", data=np.zeros(64, "u1"), chunks=(64,), compression="gzip"))
    os.environ["HDF5_PLUGIN_PATH"] = str(place.plugins)
    return place.sealed(lambda payload: payload.replace(struct.pack("<HH", 1, 8), struct.pack("<HH", 32001, 8)))


def unknown_filter(place: Place) -> Read:
    place.checkpoint(lambda file: file.create_dataset("x", data=np.zeros(64, "u1"), chunks=(64,), shuffle=True))
    return place.sealed(
        lambda payload: payload.replace(b"\x02\0\x08\0\x01\0\x01\0shuffle", b"\xff\0\x08\0\x01\0\x01\0shuffle")
    )


def lzf_filter(place: Place) -> Read:
    return dataset(place, data=np.zeros(640, "u1"), compression="lzf")


def gzip_bomb_of_many_chunks(place: Place) -> Read:
    packed = zlib.compress(bytes(2**20), 9)

    def change(file: h5py.File) -> None:
        made = file.create_dataset("x", (2**32,), "u1", chunks=(2**20,), compression="gzip")
        for start in range(0, 2**32, 2**20):
            made.id.write_direct_chunk((start,), packed)

    return place.checkpoint(change)


def gzip_bomb_in_one_chunk(place: Place) -> Read:
    packing = zlib.compressobj(1)
    packed = b"".join([*(packing.compress(bytes(2**20)) for _ in range(400)), packing.flush()])
    return raw_chunk(place, packed, 100, 100)


def torn_gzip(place: Place) -> Read:
    return raw_chunk(place, zlib.compress(os.urandom(90))[:-9], 100, 100)


def shape_bomb(place: Place) -> Read:
    """An array whose bytes were never written: reading it gives terabytes of zeros."""
    return dataset(place, shape=(2**42,), dtype="u1")


def shape_bomb_in_chunks(place: Place) -> Read:
    return dataset(place, shape=(2**42,), dtype="u1", chunks=(2**20,))


def huge_chunk(place: Place) -> Read:
    return raw_chunk(place, zlib.compress(bytes(2**26)), 2**26, 2**26)


def many_tiny_chunks(place: Place) -> Read:
    return dataset(place, shape=(2**18,), dtype="u1", chunks=(1,))


def lying_shape(place: Place) -> Read:
    """A shape larger than the bytes that are there."""
    return place.patched(struct.pack("<QQ", 100, 100), struct.pack("<QQ", 2**40, 2**40))


def deep_groups(place: Place) -> Read:
    return place.checkpoint(lambda file: file.create_group("/".join("g" * 2000)))


def many_links(place: Place) -> Read:
    return place.checkpoint(lambda file: [file.create_group(f"g{index}") for index in range(1100)])


def many_arrays(place: Place) -> Read:
    def change(file: h5py.File) -> None:
        space = h5py.h5s.create_simple((0,))
        for index in range(17_000):
            h5py.h5d.create(file.id, b"d%d" % index, h5py.h5t.STD_U8LE, space)

    return place.checkpoint(change)


def many_attributes(place: Place) -> Read:
    return place.checkpoint(lambda file: [file["state"].attrs.__setitem__(f"a{index}", 1) for index in range(3000)])


def variable_text(place: Place) -> Read:
    return dataset(place, data=["one", "two"], dtype=h5py.string_dtype())


def variable_array(place: Place) -> Read:
    return dataset(place, shape=(3,), dtype=h5py.vlen_dtype(np.int32))


def variable_attribute(place: Place) -> Read:
    return place.checkpoint(lambda file: file.attrs.__setitem__("note", "a text of any length"))


def object_reference(place: Place) -> Read:
    return place.checkpoint(lambda file: file.create_dataset("x", data=file["state"].ref, dtype=h5py.ref_dtype))


def region_reference(place: Place) -> Read:
    return place.checkpoint(
        lambda file: file.create_dataset("x", data=file["state/000000"].regionref[:3], dtype=h5py.regionref_dtype)
    )


def compound_with_text(place: Place) -> Read:
    return dataset(place, shape=(3,), dtype=np.dtype([("n", "i4"), ("s", h5py.string_dtype())]))


def opaque(place: Place) -> Read:
    return dataset(place, data=np.zeros(3, "V16"))


def named_type(place: Place) -> Read:
    return place.checkpoint(lambda file: file.__setitem__("x", np.dtype("f4")))


def shared_type(place: Place) -> Read:
    def change(file: h5py.File) -> None:
        file["t"] = np.dtype("f4")
        file.create_dataset("x", data=np.zeros(3, "f4"), dtype=file["t"])

    return place.checkpoint(change)


def fill_value(place: Place) -> Read:
    return dataset(place, data=np.zeros(3), fillvalue=7.0)


def compact_storage(place: Place) -> Read:
    def change(file: h5py.File) -> None:
        plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plan.set_obj_track_times(False)
        plan.set_layout(h5py.h5d.COMPACT)
        h5py.h5d.create(file.id, b"x", h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple((3,)), plan)

    return place.checkpoint(change)


def renamed(place: Place, name: bytes) -> Read:
    place.checkpoint(lambda file: file.create_group("name"))
    return place.sealed(lambda payload: payload.replace(b"name\0", name.ljust(5, b"\0")))


def name_of_two_dots(place: Place) -> Read:
    return renamed(place, b"..")


def name_of_one_dot(place: Place) -> Read:
    return renamed(place, b".")


def name_with_a_slash(place: Place) -> Read:
    return renamed(place, b"n/me")


def name_in_utf8(place: Place) -> Read:
    return place.checkpoint(lambda file: file.create_group("n\N{LATIN SMALL LETTER A WITH DIAERESIS}me"))


def name_with_control_characters(place: Place) -> Read:
    return renamed(place, b"n\x1b[m")


def empty_name(place: Place) -> Read:
    return renamed(place, b"")


def endless_name(place: Place) -> Read:
    return place.checkpoint(lambda file: file.create_group("n" * 60_000))


def symbolic_link(place: Place) -> Read:
    place.checkpoint(lambda file: None)
    place.path.rename(place.secret)
    place.path.symlink_to(place.secret)
    return place.load


def fifo(place: Place) -> Read:
    os.mkfifo(place.path)
    return place.load


def device(place: Place) -> Read:
    place.path.symlink_to("/dev/zero")
    return place.load


def folder(place: Place) -> Read:
    place.path.mkdir()
    return place.load


def sparse_giant(place: Place) -> Read:
    size = 100 * 2**30
    place.path.write_bytes(f"acaikit-h5 1\nlength {size - 512}\nsha256 {'0' * 64}\n".encode().ljust(511) + b"\n")
    os.truncate(place.path, size)
    return place.load


def sparse_giant_of_another_length(place: Place) -> Read:
    place.checkpoint(lambda file: None)
    os.truncate(place.path, 7 * 2**30)
    return place.load


def lying_length(place: Place) -> Read:
    place.checkpoint(lambda file: None)
    data = place.path.read_bytes()
    place.path.write_bytes(data.replace(b"length ", b"length 9", 1)[:512] + data[512:])
    return place.load


def trailing_bytes(place: Place) -> Read:
    place.checkpoint(lambda file: None)
    return place.sealed(lambda payload: payload + SECRET)


def second_file_behind(place: Place) -> Read:
    """A user block of 1024 bytes, so that readers may disagree on where HDF5 begins."""
    place.checkpoint(lambda file: None)
    return place.sealed(lambda payload: bytes(512) + payload)


def reader_of_a_million_digits(place: Place) -> Read:
    return place.checkpoint(lambda file: file.attrs.__setitem__("min_reader_version", np.bytes_(b"9" * 60_000)))


def reader_of_a_negative_version(place: Place) -> Read:
    return place.checkpoint(lambda file: file.attrs.__setitem__("min_reader_version", np.bytes_(b"-1.0")))


def reader_of_letters(place: Place) -> Read:
    return place.checkpoint(lambda file: file.attrs.__setitem__("min_reader_version", np.bytes_(b"a.b' && rm")))


def reader_of_numbers(place: Place) -> Read:
    return place.checkpoint(lambda file: file.attrs.__setitem__("min_reader_version", 7))


def deep_skeleton(place: Place) -> Read:
    return place.skeleton("[" * 10**6 + "]" * 10**6)


def skeleton_of_a_huge_number(place: Place) -> Read:
    return place.skeleton("9" * 10**6)


def skeleton_not_a_number(place: Place) -> Read:
    return place.skeleton("[NaN]")


def skeleton_with_a_key_twice(place: Place) -> Read:
    return place.skeleton('{"tensor": 0, "tensor": 0}')


def skeleton_with_a_dict_key_twice(place: Place) -> Read:
    return place.skeleton('{"dict": [["a", {"tensor": 0}], ["a", 1]]}')


def skeleton_out_of_range(place: Place) -> Read:
    return place.skeleton('[{"tensor": 0}, {"tensor": 1}]')


def skeleton_with_a_negative_index(place: Place) -> Read:
    return place.skeleton('{"tensor": -1}')


def skeleton_of_many_laughs(place: Place) -> Read:
    return place.skeleton(json.dumps([{"tensor": 0}] * 10**5))


def skeleton_of_nothing(place: Place) -> Read:
    return place.skeleton("null")


def skeleton_no_text(place: Place) -> Read:
    return place.skeleton("\x00\x01")


def lying_torch_type(place: Place) -> Read:
    return place.checkpoint(lambda file: file["state/000000"].attrs.__setitem__("torch_dtype", np.bytes_(b"bfloat16")))


def foreign_torch_type(place: Place) -> Read:
    return place.checkpoint(lambda file: file["state/000000"].attrs.__setitem__("torch_dtype", np.bytes_(b"nn.Module")))


def other_run(place: Place) -> Read:
    return place.checkpoint(lambda file: file.attrs.__setitem__("run_id", np.bytes_(b"q")))


def other_step(place: Place) -> Read:
    return place.checkpoint(lambda file: file.attrs.__setitem__("step", np.int64(2)))


def steps_that_fall(place: Place) -> Read:
    path = part_path(place.folder, 0)
    write_part(path, np.array([3, 2, 1]), {}, run_id="r")
    return lambda: read_part(path)


def columns_of_another_length(place: Place) -> Read:
    path = part_path(place.folder, 0)
    write_part(path, np.array([1, 2, 3]), {"loss": np.zeros(2)}, run_id="r")
    return lambda: read_part(path)


def protocol_that_is_not_its_hash(place: Place) -> Read:
    place.path = write_evaluation(place.folder, "e", 1, "r", {"a": 1.0}, {"k": 0.25}, {})
    place.sealed(lambda payload: payload.replace(b"0.25", b"NaN "))
    return lambda: read_evaluation(place.path)


def config_that_imports(place: Place) -> Read:
    return place.run(["import os", *CONFIG])


def config_that_includes(place: Place) -> Read:
    return place.run(["include '/etc/passwd'", *CONFIG])


def config_of_macros(place: Place) -> Read:
    bomb = ["m0 = [1, 1]", *(f"m{index + 1} = [%m{index}, %m{index}]" for index in range(40))]
    return place.run([*CONFIG, *bomb, "Experiment.seed = %m40"])


def config_of_an_absent_plugin(place: Place) -> Read:
    return place.run(plugins={"acaikit-evil": "1.0"})


def config_of_an_absent_part(place: Place) -> Read:
    return place.run([*CONFIG, "Experiment.regularizers = [@Evil()]"])


def config_of_python(place: Place) -> Read:
    return place.run(["Experiment.seed = __import__('os').system('true')", *CONFIG])


def config_of_a_giant_model(place: Place) -> Read:
    giant = [line.replace("depth = 2", "depth = 300000") for line in CONFIG]
    return place.run(giant)


def config_of_another_model(place: Place) -> Read:
    return place.run([line.replace("latent = 2", "latent = 3") for line in CONFIG])


def config_of_another_kind(place: Place) -> Read:
    return place.run(plugins=3)


def linked(place: Place, name: str) -> Read:
    """A run of which one folder is a link to a folder of somebody else's, whose files would do."""
    read, folder = place.run(), place.folder / "run" / name
    target = place.plugins / name
    folder.rename(target) if folder.exists() else target.mkdir()
    folder.symlink_to(target)
    return read


def linked_checkpoints(place: Place) -> Read:
    return linked(place, "checkpoints")


def linked_metrics(place: Place) -> Read:
    return linked(place, "metrics")


def linked_evaluations(place: Place) -> Read:
    return linked(place, "eval")


def linked_figures(place: Place) -> Read:
    return linked(place, "figures")


def linked_quarantine(place: Place) -> Read:
    return linked(place, "quarantine")


def linked_checkpoints_to_go_on_from(place: Place) -> Read:
    """What a resume can't read it moves: here it would be what lies elsewhere."""
    linked(place, "checkpoints")
    return resumed(place)


def linked_lock(place: Place) -> Read:
    """Older filelocks empty the file that the lock is a link to."""
    place.run()
    (place.folder / "run" / ".lock").symlink_to(place.secret)
    return resumed(place)


def resumed(place: Place) -> Read:
    def read() -> object:
        with open_session(place.folder / "run", say=lambda line: None) as session:
            return session.state

    return read


NOT_ATTACKS = {"dataset", "raw_chunk", "renamed", "resumed", "run"}


def corpus() -> dict[str, Callable[[Place], Read]]:
    """Return the attacks by name."""
    return {
        name: function
        for name, function in globals().items()
        if getattr(function, "__annotations__", {}) == {"place": "Place", "return": "Read"} and name not in NOT_ATTACKS
    }


def attempt(attack: Callable[[Place], Read], folder: Path) -> str:
    """Build an attack and read it; return how it was refused, or what is wrong with how it was."""
    place = Place(folder)
    read = attack(place)
    os.utime(place.secret, (1, time.time()))
    opened: list[str] = []
    sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
    # Processor time: a machine that is busy with something else is no fault.
    before, begun = resident(), time.process_time()
    try:
        found = read()
    except (RunError, ConfigError) as error:
        said = str(error)
    else:
        return f"accepted: {str(found)[:80]}"
    seconds, grown = time.process_time() - begun, most_resident() - before
    if "secret of this machine" in said:
        return "the secret is in the message"
    if foreign := [path for path in opened if path.startswith(tuple(place.bait))]:
        return f"opened {foreign}"
    if not place.path.is_symlink() and place.secret.stat().st_atime != 1:
        return "the secret was read"
    if seconds > MOST_SECONDS or grown > MOST_GROWTH:
        return f"took {seconds:.2f} s and {grown / 1e6:.0f} MB"
    return "refused"


def run(count: int | None = None, seed: int = 0) -> Report:
    """Read the attacks, all or the first `count`, each in a process of its own; there is no chance in it."""
    begun = time.perf_counter()
    new_run()
    report = Report("attacks", 0, "Hostile files with a right hash: each must be refused in 1 s, nothing else opened.")
    for name, attack in list(corpus().items())[:count]:
        with tempfile.TemporaryDirectory() as folder:
            outcome = isolated(lambda attack=attack, folder=folder: attempt(attack, Path(folder)))
        report.did += 1
        report.found[outcome] = report.found.get(outcome, 0) + 1
        if outcome != "refused":
            report.faults.append(f"{name}: {outcome}")
    report.seconds = time.perf_counter() - begun
    return report
