"""boto 2.49, the client of 2012: by signature 2 and by signature 4 with the odd scope that it makes."""

import boto.ec2.connection
import boto.exception
import boto.regioninfo
import pytest

pytestmark = pytest.mark.lab


class OldConnection(boto.ec2.connection.EC2Connection):
    """Signs as boto did before 2.49: by version 2."""

    def _required_auth_capability(self):
        return ["ec2"]


@pytest.fixture(params=[OldConnection, boto.ec2.connection.EC2Connection], ids=["signature 2", "signature 4"])
def connection(request, cloud):
    settings = cloud.environment
    return request.param(
        aws_access_key_id=settings["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=settings["AWS_SECRET_ACCESS_KEY"],
        is_secure=False,
        port=int(cloud.endpoint.rpartition(":")[2]),
        path="/services/Cloud/",
        region=boto.regioninfo.RegionInfo(name="old", endpoint="127.0.0.1"),
    )


def test_the_whole_story(connection, cloud, nothing_left, wait_until):
    group = connection.create_security_group("web", "web servers")
    assert group.authorize("tcp", 80, 80, "0.0.0.0/0")
    assert group.authorize(src_group=group)
    key = connection.create_key_pair("boto")
    assert "PRIVATE KEY" in key.material
    image = connection.get_all_images()[0]
    instance = image.run(instance_type="m1.small", key_name="boto", security_groups=["web"]).instances[0]
    assert wait_until(lambda: instance.update() == "running", 20)
    assert [member.id for member in instance.groups] == [group.id]
    address = connection.allocate_address()
    assert address.associate(instance.id)
    instance.update()
    assert instance.ip_address == address.public_ip
    assert cloud.outside.fetch(address.public_ip)
    instance.add_tag("Name", "boto's")
    found = connection.get_only_instances(filters={"tag:Name": "boto?s", "instance-state-name": "running"})
    assert [one.id for one in found] == [instance.id]
    assert [one.public_ip for one in connection.get_all_addresses([address.public_ip])] == [address.public_ip]
    with pytest.raises(boto.exception.EC2ResponseError) as caught:
        connection.get_all_security_groups(group_ids=["sg-00000000"])
    assert (caught.value.status, caught.value.error_code) == (400, "InvalidGroup.NotFound")

    assert group.revoke("tcp", 80, 80, "0.0.0.0/0")
    assert address.disassociate()
    assert address.release()
    instance.terminate()
    assert wait_until(lambda: instance.update() == "terminated", 20)
    assert group.delete()
    assert key.delete()
