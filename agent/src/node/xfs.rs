//! XFS: counters of each mounted file system, in lines whose first word says what the numbers behind it count.

use crate::host::Root;
use crate::samples::Samples;

const FOLDER: &str = "sys/fs/xfs";

/// Line, what its numbers are called one after the other, and what they are.
type Line = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

const LINES: &[Line] = &[
    (
        "extent_alloc",
        "extent_allocation_",
        &[
            ("extents_allocated", "Number of extents allocated for a filesystem."),
            ("blocks_allocated", "Number of blocks allocated for a filesystem."),
            ("extents_freed", "Number of extents freed for a filesystem."),
            ("blocks_freed", "Number of blocks freed for a filesystem."),
        ],
    ),
    (
        "abt",
        "allocation_btree_",
        &[
            ("lookups", "Number of allocation B-tree lookups for a filesystem."),
            ("compares", "Number of allocation B-tree compares for a filesystem."),
            ("records_inserted", "Number of allocation B-tree records inserted for a filesystem."),
            ("records_deleted", "Number of allocation B-tree records deleted for a filesystem."),
        ],
    ),
    (
        "blk_map",
        "block_mapping_",
        &[
            ("reads", "Number of block map for read operations for a filesystem."),
            ("writes", "Number of block map for write operations for a filesystem."),
            ("unmaps", "Number of block unmaps (deletes) for a filesystem."),
            ("extent_list_insertions", "Number of extent list insertions for a filesystem."),
            ("extent_list_deletions", "Number of extent list deletions for a filesystem."),
            ("extent_list_lookups", "Number of extent list lookups for a filesystem."),
            ("extent_list_compares", "Number of extent list compares for a filesystem."),
        ],
    ),
    (
        "bmbt",
        "block_map_btree_",
        &[
            ("lookups", "Number of block map B-tree lookups for a filesystem."),
            ("compares", "Number of block map B-tree compares for a filesystem."),
            ("records_inserted", "Number of block map B-tree records inserted for a filesystem."),
            ("records_deleted", "Number of block map B-tree records deleted for a filesystem."),
        ],
    ),
    (
        "dir",
        "directory_operation_",
        &[
            (
                "lookup",
                "Number of file name directory lookups which miss the operating systems directory name lookup cache.",
            ),
            ("create", "Number of times a new directory entry was created for a filesystem."),
            ("remove", "Number of times an existing directory entry was created for a filesystem."),
            ("getdents", "Number of times the directory getdents operation was performed for a filesystem."),
        ],
    ),
    (
        "ig",
        "inode_operation_",
        &[
            ("attempts", "Number of times the OS looked for an XFS inode in the inode cache."),
            ("found", "Number of times the OS looked for and found an XFS inode in the inode cache."),
            (
                "recycled",
                "Number of times the OS found an XFS inode in the cache, but could not use it as it was being recycled.",
            ),
            ("missed", "Number of times the OS looked for an XFS inode in the cache, but did not find it."),
            (
                "duplicates",
                "Number of times the OS tried to add a missing XFS inode to the inode cache, but found it had already been added by another process.",
            ),
            (
                "reclaims",
                "Number of times the OS reclaimed an XFS inode from the inode cache to free memory for another purpose.",
            ),
            (
                "attribute_changes",
                "Number of times the OS explicitly changed the attributes of an XFS inode.",
            ),
        ],
    ),
    (
        "rw",
        "",
        &[
            ("write_calls", "Number of write(2) system calls made to files in a filesystem."),
            ("read_calls", "Number of read(2) system calls made to files in a filesystem."),
        ],
    ),
    (
        "vnodes",
        "vnode_",
        &[
            ("active", "Number of vnodes not on free lists for a filesystem."),
            ("allocate", "Number of times vn_alloc called for a filesystem."),
            ("get", "Number of times vn_get called for a filesystem."),
            ("hold", "Number of times vn_hold called for a filesystem."),
            ("release", "Number of times vn_rele called for a filesystem."),
            ("reclaim", "Number of times vn_reclaim called for a filesystem."),
            ("remove", "Number of times vn_remove called for a filesystem."),
        ],
    ),
];

pub fn xfs(root: &Root, out: &mut Samples) -> Option<()> {
    if !root.path(FOLDER).is_dir() {
        return None;
    }
    for device in root.names(FOLDER) {
        let Some(text) = root.text(&format!("{FOLDER}/{device}/stats/stats")) else { continue };
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let first = words.next().unwrap_or_default();
            let Some((_, prefix, names)) = LINES.iter().find(|(name, ..)| *name == first) else { continue };
            for ((name, help), value) in names.iter().zip(words.filter_map(|word| word.parse().ok())) {
                out.counter(&format!("node_xfs_{prefix}{name}_total"), help, &[("device", &device)], value);
            }
        }
    }
    Some(())
}
