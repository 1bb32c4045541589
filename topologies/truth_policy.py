"""A random policy for the truth table, made through the EC2 API by two tenants whose VPCs have the same addresses.

Rules sit at the edges where compilers go wrong: ranges that begin or end at a power of two or beside one, single ports,
types with and without code, protocols without ports, prefixes of odd length, references to other groups and to the
group itself, several groups per instance, some of them mute.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from botocore.exceptions import ClientError

from topologies.errors import LabError

#: A service that everybody may use with everybody, so that a probe has something to be compared with: UDP echo.
MARKER_PORT = 7
#: Hosts outside; the first is the lab's own, the second lives beside it.
STRANGERS = ("203.0.113.10", "203.0.113.77")

_EDGES = (0, 1, 21, 22, 79, 80, 81, 443, 1023, 1024, 3389, 8079, 8191, 8192, 8193, 32767, 32768, 49151, 65534, 65535)
_OTHERS = (47, 50, 112, 132)  # GRE, ESP, VRRP, SCTP: protocols without ports
_GROUPS = 6
_FULL = 4  # security groups beside the marker's: five are the most that an interface has
_START = 60.0
_DUPLICATE = "InvalidPermission.Duplicate"


@dataclass(slots=True)
class Tenant:
    """One account: its client, groups, instances (id, private addresses) and allocations."""

    ec2: Any
    groups: list[str] = field(default_factory=list)
    instances: list[str] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)
    allocations: list[str] = field(default_factory=list)
    public: list[str] = field(default_factory=list)

    def build(self, rng: Random, instances: int) -> None:
        """Make groups, instances and elastic IPs, then the rules between them; LabError when no instance comes up."""
        marker = self._marker_group()
        for number in range(_GROUPS):
            made = self.ec2.create_security_group(GroupName=f"g{number}", Description="truth")["GroupId"]
            self.groups.append(made)
            if number % 3:  # two of three say themselves what may leave
                self._change("revoke", "egress", made, _permission("-1", None, None, "0.0.0.0/0"))
                self._change("revoke", "egress", made, _permission("-1", None, None, "::/0"))
        image = self.ec2.describe_images()["Images"][0]["ImageId"]
        for _ in range(instances):
            groups = [marker, *rng.sample(self.groups, rng.randint(1, _FULL))]
            made = self.ec2.run_instances(
                ImageId=image,
                InstanceType="t3.micro",
                MinCount=1,
                MaxCount=1,
                SecurityGroupIds=groups,
                Ipv6AddressCount=1,
            )
            self.instances.append(made["Instances"][0]["InstanceId"])
        self._await_running()
        for instance in self.instances[: (instances * 2 + 2) // 3]:
            made = self.ec2.allocate_address(Domain="vpc")
            self.allocations.append(made["AllocationId"])
            self.public.append(made["PublicIp"])
            self.ec2.associate_address(AllocationId=made["AllocationId"], InstanceId=instance)
        for group in self.groups:
            for _ in range(rng.randint(3, 6)):
                self.permit(rng, group, "ingress")
            for _ in range(rng.randint(1, 4)):
                self.permit(rng, group, "egress")

    def disturb(self, rng: Random) -> None:
        """Change something of every kind: rules, who is a member of which group, and where elastic IPs are."""
        for group in self.groups:
            found = self.ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]
            for direction, name in (("ingress", "IpPermissions"), ("egress", "IpPermissionsEgress")):
                if found[name]:
                    self._change("revoke", direction, group, rng.choice(sorted(found[name], key=_without_ids)))
                self.permit(rng, group, direction)
        marker, *_ = self._groups_of(self.instances[0])
        for instance in rng.sample(self.instances, 2):
            groups = [marker, *rng.sample(self.groups, rng.randint(1, _FULL))]
            self.ec2.modify_instance_attribute(InstanceId=instance, Groups=groups)
        moved, target = rng.choice(self.allocations), rng.choice(self.instances)
        self.ec2.associate_address(AllocationId=moved, InstanceId=target, AllowReassociation=True)

    def permit(self, rng: Random, group: str, direction: str) -> None:
        """One more random rule; one that is there already is fine."""
        version = 6 if rng.random() < 0.3 else 4
        remotes = [
            *(["::/0", "fd00::/8", "2001:db8::/32"] if version == 6 else ["0.0.0.0/0", "203.0.113.0/24"]),
            *(f"{rng.choice(self._own(version))}/{length}" for length in (_bits(version), _bits(version) - 1)),
        ]
        if version == 4:
            remotes += ["172.31.0.0/16", f"{STRANGERS[1]}/32", f"{rng.choice(self.public)}/32", "198.51.100.64/26"]
        remote = rng.choice([*remotes, *rng.sample(self.groups, 3), group])
        self._change("authorize", direction, group, _permission(*_service(rng, version), remote))

    def _own(self, version: int) -> list[str]:
        return [address for address in self.addresses if (":" in address) is (version == 6)]

    def _groups_of(self, instance: str) -> list[str]:
        found = self.ec2.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"][0]
        ids = sorted(group["GroupId"] for group in found["SecurityGroups"])
        return sorted(ids, key=lambda group: group in self.groups)  # the marker's first

    def _marker_group(self) -> str:
        made: str = self.ec2.create_security_group(GroupName="marker", Description="truth")["GroupId"]
        for remote in ("0.0.0.0/0", "::/0"):
            self._change("revoke", "egress", made, _permission("-1", None, None, remote))
            for direction in ("ingress", "egress"):
                self._change("authorize", direction, made, _permission("udp", MARKER_PORT, MARKER_PORT, remote))
        return made

    def _change(self, verb: str, direction: str, group: str, permission: dict[str, Any]) -> None:
        call = getattr(self.ec2, f"{verb}_security_group_{direction}")
        try:
            call(GroupId=group, IpPermissions=[permission])
        except ClientError as error:
            expected = _DUPLICATE if verb == "authorize" else "InvalidPermission.NotFound"
            if error.response["Error"]["Code"] != expected:
                raise

    def _await_running(self) -> None:
        deadline = time.monotonic() + _START
        while True:
            found = self.ec2.describe_instances(InstanceIds=self.instances)["Reservations"]
            each = [instance for reservation in found for instance in reservation["Instances"]]
            if all(instance["State"]["Name"] == "running" for instance in each):
                break
            if time.monotonic() > deadline:
                raise LabError(f"of {len(each)} instances not all were running within {_START:g} s")
            time.sleep(0.1)
        for instance in sorted(each, key=lambda one: self.instances.index(one["InstanceId"])):
            self.addresses.append(instance["PrivateIpAddress"])
            self.addresses += [
                found["Ipv6Address"] for link in instance["NetworkInterfaces"] for found in link["Ipv6Addresses"]
            ]


def _without_ids(permission: dict[str, Any]) -> tuple[str, ...]:
    """What stays the same from run to run: groups have other ids each time, interfaces other IPv6 addresses."""
    return tuple(str(permission.get(name, "")) for name in ("IpProtocol", "FromPort", "ToPort", "IpRanges"))


def _bits(version: int) -> int:
    return 128 if version == 6 else 32


def _service(rng: Random, version: int) -> tuple[str, int | None, int | None]:
    """Protocol, and first and last port or type and code."""
    kind = rng.choice(("tcp", "tcp", "udp", "udp", "icmp", "other", "any"))
    if kind in ("tcp", "udp"):
        first, last = sorted(rng.choices(_EDGES, k=2)) if rng.random() < 0.7 else [rng.choice(_EDGES)] * 2
        return kind, first, last
    if kind == "icmp":
        echo = (8, 13) if version == 4 else (128,)
        chosen = rng.choice(((-1, -1), (rng.choice(echo), -1), (rng.choice(echo), 0)))
        return ("icmp" if version == 4 else "icmpv6"), *chosen
    return ("-1", None, None) if kind == "any" and rng.random() < 0.4 else (str(rng.choice(_OTHERS)), None, None)


def _permission(protocol: str, first: int | None, last: int | None, remote: str) -> dict[str, Any]:
    permission: dict[str, Any] = {"IpProtocol": protocol}
    if first is not None:
        permission |= {"FromPort": first, "ToPort": last}
    if remote.startswith("sg-"):
        permission["UserIdGroupPairs"] = [{"GroupId": remote}]
    elif ":" in remote:
        permission["Ipv6Ranges"] = [{"CidrIpv6": remote}]
    else:
        permission["IpRanges"] = [{"CidrIp": remote}]
    return permission


def build(clients: Sequence[Any], rng: Random, instances: int) -> list[Tenant]:
    """Let each client's account have ``instances`` instances and a random policy."""
    tenants = [Tenant(client) for client in clients]
    for tenant in tenants:
        tenant.build(rng, instances)
    return tenants
