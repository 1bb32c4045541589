"""What a VM's ``STATE`` and ``LCM_STATE`` mean to us: pure ("Virtual Machine States Reference" of OpenNebula)."""

from __future__ import annotations

from enum import StrEnum

ACTIVE, DONE = 3, 6
PENDING, HOLD, POWEROFF = 1, 2, 8
LCM_RUNNING = 3
HOTPLUG_NIC = 25


class Phase(StrEnum):
    """Where a VM is in its life."""

    PENDING = "pending"
    RUNNING = "running"
    """It has its place on a host: it runs there, is being moved from there, or was lost with it."""
    STOPPING = "stopping"
    STOPPED = "stopped"
    """It has its leases and can be started again."""
    ENDING = "shutting-down"
    ENDED = "terminated"
    FAILED = "failed"
    """It waits for somebody to recover or delete it."""


_BY_STATE = {
    0: Phase.PENDING,  # INIT
    PENDING: Phase.PENDING,
    HOLD: Phase.PENDING,
    4: Phase.STOPPED,
    5: Phase.STOPPED,  # SUSPENDED
    DONE: Phase.ENDED,
    7: Phase.FAILED,
    POWEROFF: Phase.STOPPED,
    9: Phase.STOPPED,  # UNDEPLOYED
    10: Phase.PENDING,  # CLONING
    11: Phase.FAILED,  # CLONING_FAILURE
}

LCM_NAMES = (
    *("LCM_INIT", "PROLOG", "BOOT", "RUNNING", "MIGRATE", "SAVE_STOP", "SAVE_SUSPEND", "SAVE_MIGRATE"),
    *("PROLOG_MIGRATE", "PROLOG_RESUME", "EPILOG_STOP", "EPILOG", "SHUTDOWN", "CANCEL", "FAILURE"),
    *("CLEANUP_RESUBMIT", "UNKNOWN", "HOTPLUG", "SHUTDOWN_POWEROFF", "BOOT_UNKNOWN", "BOOT_POWEROFF"),
    *("BOOT_SUSPENDED", "BOOT_STOPPED", "CLEANUP_DELETE", "HOTPLUG_SNAPSHOT", "HOTPLUG_NIC", "HOTPLUG_SAVEAS"),
    *("HOTPLUG_SAVEAS_POWEROFF", "HOTPLUG_SAVEAS_SUSPENDED", "SHUTDOWN_UNDEPLOY", "EPILOG_UNDEPLOY"),
    *("PROLOG_UNDEPLOY", "BOOT_UNDEPLOY", "HOTPLUG_PROLOG_POWEROFF", "HOTPLUG_EPILOG_POWEROFF", "BOOT_MIGRATE"),
    *("BOOT_FAILURE", "BOOT_MIGRATE_FAILURE", "PROLOG_MIGRATE_FAILURE", "PROLOG_FAILURE", "EPILOG_FAILURE"),
    *("EPILOG_STOP_FAILURE", "EPILOG_UNDEPLOY_FAILURE", "PROLOG_MIGRATE_POWEROFF"),
    *("PROLOG_MIGRATE_POWEROFF_FAILURE", "PROLOG_MIGRATE_SUSPEND", "PROLOG_MIGRATE_SUSPEND_FAILURE"),
    *("BOOT_UNDEPLOY_FAILURE", "BOOT_STOPPED_FAILURE", "PROLOG_RESUME_FAILURE", "PROLOG_UNDEPLOY_FAILURE"),
    *("DISK_SNAPSHOT_POWEROFF", "DISK_SNAPSHOT_REVERT_POWEROFF", "DISK_SNAPSHOT_DELETE_POWEROFF"),
    *("DISK_SNAPSHOT_SUSPENDED", "DISK_SNAPSHOT_REVERT_SUSPENDED", "DISK_SNAPSHOT_DELETE_SUSPENDED"),
    *("DISK_SNAPSHOT", "DISK_SNAPSHOT_REVERT", "DISK_SNAPSHOT_DELETE", "PROLOG_MIGRATE_UNKNOWN"),
    *("PROLOG_MIGRATE_UNKNOWN_FAILURE", "DISK_RESIZE", "DISK_RESIZE_POWEROFF", "DISK_RESIZE_UNDEPLOYED"),
    *("HOTPLUG_NIC_POWEROFF", "HOTPLUG_RESIZE", "HOTPLUG_SAVEAS_UNDEPLOYED", "HOTPLUG_SAVEAS_STOPPED"),
    *("BACKUP", "BACKUP_POWEROFF", "RESTORE"),
)
"""What oned calls each ``LCM_STATE``, by its number."""

_STATE_NAMES = (
    *("INIT", "PENDING", "HOLD", "ACTIVE", "STOPPED", "SUSPENDED", "DONE", "FAILED", "POWEROFF", "UNDEPLOYED"),
    *("CLONING", "CLONING_FAILURE"),
)
_PHASES = {
    Phase.PENDING: (
        *("LCM_INIT", "PROLOG", "BOOT", "PROLOG_RESUME", "CLEANUP_RESUBMIT", "BOOT_POWEROFF", "BOOT_SUSPENDED"),
        *("BOOT_STOPPED", "PROLOG_UNDEPLOY", "BOOT_UNDEPLOY"),
    ),
    Phase.STOPPING: (
        *("SAVE_STOP", "SAVE_SUSPEND", "EPILOG_STOP", "SHUTDOWN_POWEROFF", "SHUTDOWN_UNDEPLOY", "EPILOG_UNDEPLOY"),
    ),
    Phase.ENDING: ("EPILOG", "SHUTDOWN", "CANCEL", "CLEANUP_DELETE"),
    Phase.STOPPED: (
        *("HOTPLUG_SAVEAS_POWEROFF", "HOTPLUG_SAVEAS_SUSPENDED", "HOTPLUG_PROLOG_POWEROFF", "HOTPLUG_EPILOG_POWEROFF"),
        *("PROLOG_MIGRATE_POWEROFF", "PROLOG_MIGRATE_POWEROFF_FAILURE", "PROLOG_MIGRATE_SUSPEND"),
        *("PROLOG_MIGRATE_SUSPEND_FAILURE", "DISK_SNAPSHOT_POWEROFF", "DISK_SNAPSHOT_REVERT_POWEROFF"),
        *("DISK_SNAPSHOT_DELETE_POWEROFF", "DISK_SNAPSHOT_SUSPENDED", "DISK_SNAPSHOT_REVERT_SUSPENDED"),
        *("DISK_SNAPSHOT_DELETE_SUSPENDED", "DISK_RESIZE_POWEROFF", "DISK_RESIZE_UNDEPLOYED", "HOTPLUG_NIC_POWEROFF"),
        *("HOTPLUG_SAVEAS_UNDEPLOYED", "HOTPLUG_SAVEAS_STOPPED", "BACKUP_POWEROFF", "RESTORE"),
    ),
    Phase.FAILED: (
        *("FAILURE", "BOOT_FAILURE", "BOOT_MIGRATE_FAILURE", "PROLOG_MIGRATE_FAILURE", "PROLOG_FAILURE"),
        *("EPILOG_FAILURE", "EPILOG_STOP_FAILURE", "EPILOG_UNDEPLOY_FAILURE", "BOOT_UNDEPLOY_FAILURE"),
        *("BOOT_STOPPED_FAILURE", "PROLOG_RESUME_FAILURE", "PROLOG_UNDEPLOY_FAILURE"),
        "PROLOG_MIGRATE_UNKNOWN_FAILURE",
    ),
}
_BY_LCM = {LCM_NAMES.index(name): phase for phase, names in _PHASES.items() for name in names}


def phase(state: int, lcm_state: int) -> Phase | None:
    """Return the phase of a VM; None for a state that this version does not know, which is then no reason for anything.

    While ACTIVE a VM counts as running unless its ``LCM_STATE`` says otherwise: moves, hot-plugging, snapshots, backups
    and a lost host leave it its place and its addresses.
    """
    if state != ACTIVE:
        return _BY_STATE.get(state)
    if not 0 <= lcm_state < len(LCM_NAMES):
        return None
    return _BY_LCM.get(lcm_state, Phase.RUNNING)


def name(state: int, lcm_state: int) -> str:
    """Return what oned calls the state, such as "POWEROFF" or "BOOT_FAILURE"."""
    names, number = (LCM_NAMES, lcm_state) if state == ACTIVE else (_STATE_NAMES, state)
    return names[number] if 0 <= number < len(names) else f"state {state}/{lcm_state}"
