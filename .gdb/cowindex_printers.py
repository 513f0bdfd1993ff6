"""Shows snapshots, views and writers of CowIndex in gdb: version, size, and the shards by id.

Load it with `source <where CowIndex is>/.gdb/cowindex_printers.py`, or put that line into ~/.gdbinit.
Needs debug information of the program, nothing of the library's.
"""

import gdb
import gdb.printing


def shards_of(tree, shard_type):
    """Yields (id, shard) in id order. Reads no more of the tree than is asked for."""
    # A leaf is a node with an array of children behind it, as an inner node is; its own type, and
    # that of a shard with its header, may be missing from the debug information.
    inner_type = gdb.lookup_type("cowindex::detail::Inner")
    node_type = gdb.lookup_type("cowindex::detail::Node")
    header_size = gdb.lookup_type("cowindex::detail::Object").sizeof
    low, high = inner_type["child"].type.range()
    inner_bits = (high - low).bit_length()
    leaf_bits = 6
    align = max(shard_type.alignof, 1)
    shard_offset = (header_size + align - 1) // align * align

    def walk(node, level, first):
        inner = node.cast(inner_type.pointer())
        children = inner["child"].address.cast(node_type.pointer().pointer())
        shift = leaf_bits + inner_bits * (level - 1) if level else 0
        for index in range(int(node["extent"])):
            child = (children + index).dereference()
            if not child:
                continue
            at = first | (index << shift)
            if level:
                yield from walk(child, level - 1, at)
            else:
                shard = gdb.Value(int(child) + shard_offset).cast(shard_type.pointer())
                yield at, shard.dereference()

    if tree["root"]:
        yield from walk(tree["root"], int(tree["height"]), 0)


class TreePrinter:
    """What has a tree; the others say where it is."""

    def __init__(self, value):
        self.value = value

    def shard_type(self):
        return self.value.type.strip_typedefs().template_argument(0)

    def describe(self, version):
        size = int(self.tree()["size"])
        return "version %d, %d %s" % (int(version), size, "shard" if size == 1 else "shards")

    def children(self):
        tree = self.tree()
        if tree is None:
            return
        for shard_id, shard in shards_of(tree, self.shard_type()):
            yield "[%d]" % shard_id, shard


class SnapshotPrinter(TreePrinter):
    def record(self):
        owner = self.value["record_"]
        for name in ("_M_ptr", "__ptr_"):  # libstdc++, libc++
            try:
                return owner[name]
            except gdb.error:
                continue
        raise gdb.error("cowindex: what is inside a std::shared_ptr here?")

    def tree(self):
        record = self.record()
        return record["tree"] if record else None

    def to_string(self):
        record = self.record()
        return "cowindex::Snapshot: " + (self.describe(record["version"]) if record else "empty")


class ViewPrinter(TreePrinter):
    def tree(self):
        return self.value["record_"]["tree"] if self.value["slot_"] else None

    def to_string(self):
        if not self.value["slot_"]:
            return "cowindex::View: moved from"
        return "cowindex::View: " + self.describe(self.value["record_"]["version"])


class WriterPrinter(TreePrinter):
    """Shows the writer's own edits, as reading through it does."""

    def tree(self):
        batch = self.value["batch_"]
        return batch["builder"]["tree_"] if batch else None

    def to_string(self):
        batch = self.value["batch_"]
        if not batch:
            return "cowindex::IndexWriter: moved from"
        return "cowindex::IndexWriter: based on " + self.describe(batch["base"]["version"])


def printers():
    collection = gdb.printing.RegexpCollectionPrettyPrinter("cowindex")
    for name, printer in (
        ("Snapshot", SnapshotPrinter),
        ("View", ViewPrinter),
        ("IndexWriter", WriterPrinter),
    ):
        collection.add_printer(name, "^cowindex::%s<.*>$" % name, printer)
    return collection


gdb.printing.register_pretty_printer(gdb.current_objfile(), printers(), replace=True)
