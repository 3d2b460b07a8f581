"""What is there before a document begins: its own files, and small sets in the place of the published ones."""

from __future__ import annotations

import hashlib
import io
import shutil
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "tests" / "data"))
import published_files as files  # noqa: E402

from acaikit.data import celeba, cifar10, mnist, svhn  # noqa: E402
from acaikit.data.fetch import Remote  # noqa: E402

COUNTS = {"train": 200, "test": 50}
FACES = 40
LEFT_OUT = shutil.ignore_patterns("__pycache__", ".*")


def checkout(document: str, folder: Path) -> None:
    """Copy what a clone of the repository has and the document's commands need."""
    for name in ("acaikit", "gin", "plugins"):
        shutil.copytree(ROOT / name, folder / name, ignore=LEFT_OUT)
    for name in ("LICENSE", document, "constraints.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)


def its_folder(document: str, folder: Path) -> None:
    """Copy the folder that the document is in."""
    shutil.copytree((ROOT / document).parent, folder, ignore=LEFT_OUT, dirs_exist_ok=True)


def own_data(document: str, folder: Path) -> None:
    """Write photos.zip (PNG files in two folders) and vectors.npz (values from 0 to 255)."""
    with zipfile.ZipFile(folder / "photos.zip", "w") as archive:
        for number, image in enumerate(files.images(100, (36, 48, 3))):
            archive.writestr(f"{'ab'[number % 2]}/{number:02d}.png", _encoded(image, "PNG"))
    vectors = np.random.default_rng(0).uniform(0, 255, (200, 12)).astype(np.float32)
    np.savez(folder / "vectors.npz", x=vectors, y=np.arange(200) % 4)


BEFORE: dict[str, tuple[Callable[[str, Path], None], ...]] = {
    "README.md": (checkout, own_data),
    "plugins/*/README.md": (its_folder,),
}
"""What is in the folder in which a document's commands begin; nothing is where no pattern fits its name."""


def prepare(document: str, folder: Path) -> None:
    """Put into `folder` what the document of that name takes for granted."""
    for pattern, makers in BEFORE.items():
        if fnmatch(document, pattern):
            for make in makers:
                make(document, folder)


def publish(folder: Path) -> None:
    """Write small sets, a folder each, and make them what acaikit takes for the published ones in this process."""
    for number, kind in enumerate((mnist.MNIST, mnist.FashionMNIST, mnist.KMNIST)):
        files.write_mnist(folder / kind.folder, COUNTS, seed=number)
        kind.counts = COUNTS
    svhn.SVHN.counts = {svhn.TRAIN: 120, svhn.EXTRA: 80, svhn.TEST: 50}
    for name, count in svhn.SVHN.counts.items():
        x = files.svhn_axes(files.images(count))
        files.write_svhn_mat(folder / "svhn" / name, x, np.arange(count)[:, None] % 10 + 1)
    members = {}
    for split, names in cifar10.BATCHES.items():
        for name in names:
            count = COUNTS[split] // len(names)
            batch = files.cifar_batch(files.images(count), np.arange(count, dtype=np.uint8) % 10)
            members[f"{cifar10.FOLDER}/{name}"] = batch
    files.write_cifar_tar(folder / "cifar10" / cifar10.ARCHIVE, members)
    cifar10.CIFAR10.counts = COUNTS
    celeba.CelebA.counts = {"train": FACES}
    (folder / "celeba").mkdir()
    with zipfile.ZipFile(folder / "celeba" / celeba.ARCHIVE, "w") as archive:
        for number, image in enumerate(files.images(FACES, (218, 178, 3)), 1):
            archive.writestr(f"img_align_celeba/{number:06d}.jpg", _encoded(image, "JPEG"))
    for kind in (mnist.MNIST, mnist.FashionMNIST, mnist.KMNIST, svhn.SVHN, cifar10.CIFAR10, celeba.CelebA):
        kind.files = tuple(_known(remote, folder / kind.folder / remote.name) for remote in kind.files)


def _known(remote: Remote, file: Path) -> Remote:
    content = file.read_bytes()
    return replace(remote, md5=hashlib.md5(content).hexdigest(), size=len(content), content=None)


def _encoded(image: files.Pixels, form: str) -> bytes:
    content = io.BytesIO()
    Image.fromarray(image).save(content, form)
    return content.getvalue()
