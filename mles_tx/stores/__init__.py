"""Histories that outlive the process: `IHistory` on what disks and other machines keep."""
