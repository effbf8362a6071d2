"""Checks the HDF5 file with the weights of a network before anything in it is read.

HDF5 can do more than store arrays: a dataset may lie in another file or be assembled from other
datasets, a name may lead elsewhere, and a filter may turn few bytes into many. Keras uses none of
these, so a file that does is refused. Then every weight lies in the file itself, once, and takes as
much memory as it has bytes there.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import prod

import numpy as np
from h5py import h5, h5d, h5f, h5g, h5l, h5o, h5s, h5t

from app.network.functions import Array
from app.process_tuning import function_of_library

# Frees what HDF5 keeps for the next file: 5 MB after the published ensemble.
_free_memory = function_of_library(h5.__file__, "H5garbage_collect")
MAX_OBJECTS = 100_000  # groups and datasets; the largest published network has 734


class WeightsFile:
    """The datasets of a checked weights file.

    Attributes:
        groups: Datasets by name, of each group by its path, such as `layers/conv2d/vars`.
    """

    def __init__(self, groups: Mapping[str, Mapping[str, h5d.DatasetID]]) -> None:
        """Take the datasets."""
        self.groups = groups

    def count(self, group: str) -> int:
        """Return the number of values in a group; 0 if there is no such group."""
        return sum(prod(dataset.shape) for dataset in self.groups.get(group, {}).values())

    def read(self, group: str, name: str) -> Array:
        """Return a dataset as float32."""
        dataset = self.groups[group][name]
        values = np.empty(dataset.shape, np.float32)
        dataset.read(h5s.ALL, h5s.ALL, values)
        return values


@contextmanager
def open_weights(content: bytes) -> Iterator[WeightsFile]:
    """Open a weights file and check it.

    Args:
        content: The file.

    Raises:
        ValueError: It is no HDF5 file, or it uses more of HDF5 than Keras does.
    """
    try:
        file = h5f.open_file_image(content)
        groups: dict[str, dict[str, h5d.DatasetID]] = {}
        try:
            groups |= _check(h5g.open(file, b"/"), len(content))
            yield WeightsFile(groups)
        finally:
            groups.clear()  # HDF5 keeps a file open as long as a dataset is
            file.close()
            with h5.phil:  # the lock of h5py around every call of HDF5
                _free_memory()
    except (OSError, RuntimeError, KeyError) as error:  # of a damaged file
        raise ValueError(f"no readable HDF5 file: {error}") from error


def _check(root: h5g.GroupID, size: int) -> dict[str, dict[str, h5d.DatasetID]]:
    """Check every object of a file of `size` bytes; return the datasets by group and name."""
    groups, found = [("", root)], dict[str, dict[str, h5d.DatasetID]]()
    seen, stored = {_address(root)}, 0
    while groups:
        path, group = groups.pop()
        datasets = found[path] = {}
        for name, child in _children(path, group):
            where = f"{path}/{name}" if path else name
            if _address(child) in seen or len(seen) > MAX_OBJECTS:
                raise ValueError(
                    f"{where} is another name for an object, or one of more than {MAX_OBJECTS}"
                )
            seen.add(_address(child))
            if isinstance(child, h5g.GroupID):
                groups.append((where, child))
                continue
            stored += _check_dataset(where, child, size)
            if stored > size:
                raise ValueError(f"its datasets declare more than the {size} bytes of the file")
            datasets[name] = child
    return found


def _children(path: str, group: h5g.GroupID) -> Iterator[tuple[str, h5g.GroupID | h5d.DatasetID]]:
    """Yield the objects of a group; look at each link before it is followed."""
    for index in range(group.get_num_objs()):
        key = group.get_objname_by_idx(index)
        name = key.decode(errors="replace")
        if group.links.get_info(key).type != h5l.TYPE_HARD:
            raise ValueError(f"{path}/{name} is a link to elsewhere; expected the weights here")
        child = h5o.open(group, key)
        if not isinstance(child, (h5g.GroupID, h5d.DatasetID)):
            raise ValueError(f"{path}/{name} is neither a group nor a dataset")
        yield name, child


def _address(item: h5g.GroupID | h5d.DatasetID) -> int:
    return int(h5o.get_info(item).addr)


def _check_dataset(name: str, dataset: h5d.DatasetID, size: int) -> int:
    """Check that a dataset is an array of numbers within a file of `size` bytes; return its bytes.

    The shape may declare more than is stored: HDF5 fills the rest when it is read.
    """
    created = dataset.get_create_plist()
    if created.get_layout() == h5d.VIRTUAL or created.get_external_count():
        raise ValueError(f"{name} takes its values from elsewhere; expected them in the file")
    if created.get_nfilters() or created.get_layout() not in (h5d.CONTIGUOUS, h5d.COMPACT):
        raise ValueError(f"{name} is compressed or stored in pieces; Keras stores weights whole")
    kind = dataset.get_type()
    if kind.get_class() not in (h5t.INTEGER, h5t.FLOAT):
        raise ValueError(f"{name} holds no numbers")
    shape = dataset.shape
    values = dataset.get_space().get_simple_extent_npoints()
    declared, stored = values * kind.get_size(), dataset.get_storage_size()
    offset = dataset.get_offset() or 0  # None for a compact dataset
    if declared != stored or declared + offset > size:
        raise ValueError(
            f"{name} declares {list(shape)}, {declared} bytes, but the file holds"
            f" {max(0, min(stored, size - offset))} of them"
        )
    return int(declared)
